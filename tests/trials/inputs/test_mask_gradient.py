"""The gradient with respect to a mask, against that of a float64 copy whose weights are multiplied by hand."""

import copy

import pytest
import torch

from nmlab.trials.contract.errors import DivergedError
from nmlab.trials.inputs.mask_gradient import mask_gradient
from nmlab.trials.measure.cost import Bill, Cost
from nmlab.trials.models import MaskedModel

ARCHITECTURES = ["llama", "gemma2", "opt", "gpt_neox"]


@pytest.fixture(scope="module")
def batches():
    tokens = torch.randint(1, 500, (6, 12), generator=torch.Generator().manual_seed(0))
    return list(torch.split(tokens, 2))


def masks_of(frozen):
    """Return a mask of real numbers for every layer, some of them 0 and 1."""
    draw = torch.Generator().manual_seed(1)
    shapes = {layer.name: (layer.out_features, layer.in_features) for layer in frozen.layers}
    return {name: torch.rand(shape, generator=draw).mul(1.4).sub(0.2).clamp(0, 1) for name, shape in shapes.items()}


def by_hand(module, masks, batches):
    """Return dL/dm as float64 autograd has it, L the mean loss of the minibatches."""
    module = copy.deepcopy(module).double()
    leaves = {name: mask.double().requires_grad_() for name, mask in masks.items()}
    weights = {
        f"{name}.weight": module.get_parameter(f"{name}.weight").detach() * leaf for name, leaf in leaves.items()
    }
    losses = []
    for tokens in batches:
        call = {"input_ids": tokens, "labels": tokens}
        losses.append(torch.func.functional_call(module, weights, kwargs=call).loss)
    found = torch.autograd.grad(sum(losses) / len(losses), list(leaves.values()))
    return dict(zip(leaves, found, strict=True))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_is_the_gradient_of_the_librarys_own_loss(random_model, freeze, batches, architecture):
    frozen = freeze(random_model(architecture))
    masks = masks_of(frozen)
    found = mask_gradient(MaskedModel(frozen), masks.items(), batches, cost=Cost())
    expected = by_hand(frozen.module, masks, batches)
    assert found.keys() == expected.keys() == {layer.name for layer in frozen.layers}
    for name, gradient in found.items():
        assert gradient.dtype == torch.float32
        near = 1e-4 * float(expected[name].abs().max())
        torch.testing.assert_close(gradient.double(), expected[name], rtol=1e-3, atol=near)


def test_each_minibatch_is_a_forward_and_a_backward(random_model, freeze, batches):
    frozen, cost = freeze(random_model("llama")), Cost()
    mask_gradient(MaskedModel(frozen), masks_of(frozen).items(), batches, cost=cost)
    assert cost.bill == Bill(forwards=3, backwards=3, tokens=6 * 12)


def test_micro_batches_change_the_rounding_only(random_model, freeze, batches):
    frozen = freeze(random_model("llama"))
    model, masks = MaskedModel(frozen), masks_of(frozen)
    whole = mask_gradient(model, masks.items(), batches, cost=Cost())
    model.micro_batch = 1
    for name, gradient in mask_gradient(model, masks.items(), batches, cost=Cost()).items():
        torch.testing.assert_close(gradient, whole[name], rtol=1e-4, atol=1e-6)


def test_shared_weights_never_see_a_gradient(random_model, freeze, batches):
    frozen = freeze(random_model("llama"))
    mask_gradient(MaskedModel(frozen), masks_of(frozen).items(), batches, cost=Cost())
    assert all(p.grad is None and not p.requires_grad for p in frozen.module.parameters())
    assert frozen.unchanged()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused(random_model, freeze, batches, value):
    frozen = freeze(random_model("llama"))
    masks = masks_of(frozen)
    masks[frozen.layers[-1].name][0, 0] = value
    with pytest.raises(DivergedError, match=r"^the mask has the loss nan on calibration minibatch 0$"):
        mask_gradient(MaskedModel(frozen), masks.items(), batches, cost=Cost())


def test_a_gradient_that_is_not_finite_is_refused(random_model, freeze, batches, monkeypatch):
    """The root of 0 is finite, and has no derivative."""
    frozen = freeze(random_model("llama"))
    masks = masks_of(frozen)
    monkeypatch.setattr(
        MaskedModel, "loss_under", lambda _, weights, tokens: sum(w.sum() for w in weights.values()).mul(0).sqrt()
    )
    with pytest.raises(DivergedError, match=r"^the gradient of the loss .* is not finite in \d+ layers$"):
        mask_gradient(MaskedModel(frozen), masks.items(), batches, cost=Cost())
