"""Magnitude and Wanda against golden files made by the authors' code."""

import pytest
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.inputs.calibration import prune_blocks
from nmlab.trials.inputs.statistics import SquareMean
from nmlab.trials.masks.topn import topn
from nmlab.trials.measure.cost import Cost
from nmlab.trials.methods import magnitude, wanda
from nmlab.trials.models import MaskedModel

PATTERNS = {"2of4": Pattern(2, 4), "4of8": Pattern(4, 8), "2of8": Pattern(2, 8), "1of4": Pattern(1, 4)}
FC = "model.layers.0.fc"


@pytest.mark.parametrize("name", PATTERNS)
def test_magnitude_masks(load_parity, name):
    golden = load_parity(f"magnitude/unit_{name}_seed0")
    mask = topn(magnitude.scores(golden[f"w0/{FC}"]), PATTERNS[name])
    assert torch.equal(mask, golden[f"mask/{FC}"].bool())
    assert torch.equal(golden[f"w0/{FC}"] * mask, golden[f"w1/{FC}"])


@pytest.mark.parametrize("name", PATTERNS)
def test_wanda_masks_of_one_layer(load_parity, name):
    golden = load_parity(f"wanda/unit_{name}_seed0")
    square_mean = golden[f"scaler_row/{FC}"]
    torch.testing.assert_close(
        golden["embed"][golden["ids"]].square().sum((0, 1)) / len(golden["ids"]), square_mean, rtol=1e-6, atol=0
    )
    mask = topn(wanda.scores(golden[f"w0/{FC}"], square_mean), PATTERNS[name])
    assert torch.equal(mask, golden[f"mask/{FC}"].bool())


@pytest.mark.parametrize("name", ["2of4", "4of8"])
def test_magnitude_through_two_blocks(load_parity, golden_context, name):
    golden = load_parity(f"magnitude/e2e_{name}_seed0")
    masks = magnitude.METHOD.start(golden_context(golden, PATTERNS[name]), magnitude.METHOD.configure({})).masks()
    assert len(masks) == 14
    assert all(torch.equal(masks[layer], golden[f"mask/{layer}"].bool()) for layer in masks)


@pytest.mark.parametrize("name", ["2of4", "4of8"])
def test_wanda_through_two_blocks(load_parity, golden_model, name):
    golden, seen = load_parity(f"wanda/e2e_{name}_seed0"), {}
    frozen = golden_model(golden)

    def mask_of(layer, statistic):
        seen[layer.name] = statistic.mean_I
        return topn(wanda.scores(golden[f"w0/{layer.name}"], statistic.mean_I), PATTERNS[name])

    masks = prune_blocks(
        MaskedModel(frozen),
        list(torch.split(golden["ids"], 2)),
        statistic=lambda layer: SquareMean(layer, device=torch.device("cpu")),
        mask_of=mask_of,
        cost=Cost(),
    )
    assert len(masks) == 14
    for layer in masks:
        torch.testing.assert_close(seen[layer], golden[f"scaler_row/{layer}"], rtol=5e-6, atol=0)
        assert torch.equal(masks[layer], golden[f"mask/{layer}"].bool())
