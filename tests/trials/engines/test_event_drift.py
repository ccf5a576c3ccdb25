"""Skipped steps, made up for later, against the steps themselves in float64."""

from itertools import pairwise

import pytest
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import GroupLayout, ReferenceEngine
from nmlab.trials.engines.engine import MaskKey
from nmlab.trials.engines.event import EventEngine
from nmlab.trials.engines.event.drift import DriftHistory, drifted
from nmlab.trials.engines.logits import store_of
from nmlab.trials.masks.deviation import Race
from nmlab.trials.models import PrunableLayer


@pytest.mark.parametrize("text", ["1:4", "2:4", "4:8"])
def test_what_is_left_out_is_of_the_third_order(text):
    """Halving all steps divides the error by eight."""
    pattern = Pattern.parse(text)
    mode_GM = (torch.arange(pattern.m) < pattern.n).expand(20, -1)
    noise_GM = torch.rand(20, pattern.m, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    start_Mg = (4.0 * mode_GM + noise_GM).t().contiguous()
    sizes = torch.randn(40, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.5
    errors = []
    for scale in (0.2, 0.1, 0.05):
        history, eager_Mg = DriftHistory(device=start_Mg.device), start_Mg.clone()
        for size in (scale * sizes).tolist():
            eager_Mg += size * Race.of(eager_Mg, n=pattern.n).mode_score()
            history.append(size)
        since = history.since(torch.zeros(20, dtype=torch.int32))
        errors.append((drifted(start_Mg, n=pattern.n, since=since) - eager_Mg).abs().max().item())
    assert errors[0] > 1e-6
    for larger, smaller in pairwise(errors):
        assert 5.5 < larger / smaller < 12


def test_one_skipped_step_is_exact():
    start_Mg = torch.tensor([[5.0, 4.0, 0.0, -1.0]], dtype=torch.float64).t().contiguous()
    history = DriftHistory(device=start_Mg.device)
    history.append(300.0)
    wanted_Mg = start_Mg + 300.0 * Race.of(start_Mg, n=2).mode_score()
    since = history.since(torch.zeros(1, dtype=torch.int32))
    torch.testing.assert_close(drifted(start_Mg, n=2, since=since), wanted_Mg, rtol=1e-15, atol=1e-15)


def test_history_goes_on_from_its_state_and_grows():
    history, other = DriftHistory(device=torch.device("cpu")), DriftHistory(device=torch.device("cpu"))
    for step in range(3000):
        history.append(0.1 * step)
    other.load_state(history.state())
    for one in (history, other):
        one.append(1.0)
    stamp_g = torch.tensor([0, 17, 2999, 3001], dtype=torch.int32)
    assert all(torch.equal(a, b) for a, b in zip(history.since(stamp_g), other.since(stamp_g), strict=True))
    assert history.since(stamp_g)[0][-1] == 0


def _eager(layout, logits_GM, *, dtype):
    return ReferenceEngine(layout, logits_GM=logits_GM, dtype=dtype)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "lead", "size"), [("2:4", 8.5, 0.05), pytest.param("4:8", 9.5, 0.5, marks=pytest.mark.thorough)]
)
def test_lazy_logits_are_no_further_from_float64_than_eager_float32(text, lead, size):
    """1000 steps of noise residuals with the event engine's masks, which the others take with all groups at once."""
    pattern, groups = Pattern.parse(text), 256
    layout = GroupLayout([PrunableLayer("a", 0, groups, pattern.m)], pattern=pattern)
    generator = torch.Generator().manual_seed(0)
    kept_GM = torch.rand(groups, pattern.m, generator=generator).argsort(1) < pattern.n
    logits_GM = lead * kept_GM + 0.5 * torch.randn(groups, pattern.m, generator=generator)
    lazy = EventEngine(layout, store=store_of(layout, logits_GM))
    exact, eager = (_eager(layout, logits_GM, dtype=dtype) for dtype in (torch.float64, torch.float32))
    deviations = 0
    for step, residual in enumerate(torch.randn(1000, generator=generator, dtype=torch.float64).tolist()):
        draw = lazy.sample(MaskKey(0, step))
        deviations += len(draw.groups_g)
        for engine in (lazy, exact, eager):
            engine.descend([draw], weights=[residual], rate=size)
    wanted_GM = exact.wide_logits()
    lazy_rms, eager_rms = (
        (engine.logits().double() - wanted_GM).square().mean().sqrt().item() for engine in (lazy, eager)
    )
    assert deviations > 100
    assert (wanted_GM - logits_GM).abs().max() > size
    assert lazy_rms <= eager_rms
