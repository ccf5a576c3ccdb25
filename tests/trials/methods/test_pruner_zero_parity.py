"""Pruner-Zero against golden files made by the authors' code, and where its formula would divide by zero."""

import pytest
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.masks.topn import topn
from nmlab.trials.methods import pruner_zero

PATTERNS = {"2of4": Pattern(2, 4), "4of8": Pattern(4, 8), "2of8": Pattern(2, 8), "1of4": Pattern(1, 4)}
FC = "model.layers.0.fc"


@pytest.mark.parametrize("name", PATTERNS)
def test_masks_of_one_layer(load_parity, name):
    golden = load_parity(f"pruner_zero/unit_{name}_seed0")
    mask = topn(pruner_zero.scores(golden[f"w0/{FC}"], golden[f"grad/{FC}"]), PATTERNS[name])
    assert torch.equal(mask, golden[f"mask/{FC}"].bool())


@pytest.mark.parametrize("name", ["2of4", "4of8"])
def test_two_blocks(load_parity, golden_context, name):
    golden = load_parity(f"pruner_zero/e2e_{name}_seed0")
    context, method = golden_context(golden, PATTERNS[name]), pruner_zero.METHOD
    masks = method.start(context, method.configure({"compat": "official"})).masks()
    assert len(masks) == 14
    assert all(torch.equal(masks[layer], golden[f"mask/{layer}"].bool()) for layer in masks)
    in_float32 = method.start(context, method.configure({})).masks()
    changed = [(in_float32[layer] != masks[layer]).view(-1, PATTERNS[name].m).any(1) for layer in masks]
    assert torch.cat(changed).sum() <= 2  # groups that are undecided within float16's eleven bits


@pytest.mark.parametrize("gradient", [0.0, 3.0])
def test_a_gradient_that_is_one_number_leaves_the_weights_to_decide(gradient):
    weight = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(pruner_zero.scores(weight, torch.full((4, 8), gradient)), weight.square())


def test_the_scale_of_the_gradient_does_not_matter_but_its_offset_does():
    draw = torch.Generator().manual_seed(0)
    weight, norm = torch.randn(16, 16, generator=draw), torch.rand(16, 16, generator=draw)
    scores = pruner_zero.scores(weight, norm)
    assert scores.flatten()[norm.argmin()] == 0
    torch.testing.assert_close(pruner_zero.scores(weight, 8 * norm), scores)
    torch.testing.assert_close(pruner_zero.scores(weight, norm + 5), scores, rtol=1e-3, atol=1e-5)
    assert not torch.allclose(scores, weight.square() * norm, rtol=1e-3)
