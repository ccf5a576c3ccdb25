"""Noise by layer: the right distribution, and the same numbers for a layer whatever other layers there are."""

import pytest
import torch
from scipy import stats

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import GroupLayout
from nmlab.trials.engines.noise import gumbel, logistic, normal
from nmlab.trials.models import PrunableLayer

FIRST, SECOND = PrunableLayer("first", 0, 40, 128), PrunableLayer("second", 0, 64, 256)


def _layout(*layers):
    return GroupLayout(layers, pattern=Pattern(2, 4))


@pytest.mark.parametrize(("draw", "distribution"), [(gumbel, "gumbel_r"), (normal, "norm"), (logistic, "logistic")])
@pytest.mark.parametrize("width", [4, 6])
def test_the_distribution_is_the_one_named(draw, distribution, width):
    drawn_GW = draw(_layout(FIRST, SECOND), width=width, key=(0, 7))
    assert drawn_GW.shape == ((FIRST.numel + SECOND.numel) // 4, width)
    assert drawn_GW.dtype == torch.float32
    assert stats.kstest(drawn_GW.flatten().numpy(), distribution).pvalue > 1e-4


@pytest.mark.parametrize("draw", [gumbel, normal, logistic])
def test_a_layer_draws_its_own_numbers_on_every_stage(draw):
    whole = draw(_layout(FIRST, SECOND), width=4, key=(3, 1))
    alone = draw(_layout(SECOND), width=4, key=(3, 1))
    assert torch.equal(whole[FIRST.numel // 4 :], alone)
    for other in [(3, 2), (4, 1), (3, "1", 0)]:
        assert not torch.equal(draw(_layout(SECOND), width=4, key=other), alone)
