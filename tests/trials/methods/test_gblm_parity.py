"""GBLM-Pruner, and the gradients it shares with Pruner-Zero, against golden files made by the authors' code."""

import pytest
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.inputs.gradients import collect_gradient_norms
from nmlab.trials.masks.topn import topn
from nmlab.trials.methods import gblm, wanda

PATTERNS = {"2of4": Pattern(2, 4), "4of8": Pattern(4, 8), "2of8": Pattern(2, 8), "1of4": Pattern(1, 4)}
FC = "model.layers.0.fc"


@pytest.mark.parametrize("name", PATTERNS)
def test_masks_of_one_layer(load_parity, name):
    golden = load_parity(f"gblm/unit_{name}_seed0")
    scores = gblm.scores(golden[f"w0/{FC}"], golden[f"scaler_row/{FC}"], golden[f"grad/{FC}"])
    assert torch.equal(topn(scores, PATTERNS[name]), golden[f"mask/{FC}"].bool())


@pytest.mark.parametrize("name", ["2of4", "4of8"])
def test_gradient_norms(load_parity, golden_model, name):
    """The golden ones are stored in float16, which carries eleven bits."""
    golden = load_parity(f"gblm/e2e_{name}_seed0")
    norms = collect_gradient_norms(golden_model(golden), list(torch.split(golden["ids"], 2)))
    assert len(norms) == 14
    for layer, norm in norms.items():
        torch.testing.assert_close(norm, golden[f"grad/{layer}"].float(), rtol=2**-11, atol=2e-7)


@pytest.mark.parametrize("name", ["2of4", "4of8"])
def test_two_blocks(load_parity, golden_context, name):
    golden = load_parity(f"gblm/e2e_{name}_seed0")
    context, method = golden_context(golden, PATTERNS[name]), gblm.METHOD
    masks = method.start(context, method.configure({"compat": "official"})).masks()
    assert len(masks) == 14
    assert all(torch.equal(masks[layer], golden[f"mask/{layer}"].bool()) for layer in masks)
    in_float32 = method.start(context, method.configure({})).masks()
    changed = [(in_float32[layer] != masks[layer]).view(-1, PATTERNS[name].m).any(1) for layer in masks]
    assert torch.cat(changed).sum() <= 2  # groups that are undecided within float16's eleven bits


def test_without_gradients_it_is_wanda(make_context):
    """A gradient scale of zero gives Wanda's masks, a large one gives others in every layer."""
    expected = wanda.METHOD.start(make_context(), wanda.METHOD.configure({})).masks()
    none, much = (
        gblm.METHOD.start(make_context(), gblm.METHOD.configure({"gradient_scale": scale})).masks()
        for scale in (0.0, 1e5)
    )
    assert all(torch.equal(none[name], expected[name]) for name in expected)
    assert not any(torch.equal(much[name], expected[name]) for name in expected)
