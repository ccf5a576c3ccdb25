"""The loss under replaced weights: its value, its gradient, and the parameters that get none."""

import copy

import pytest
import torch

from nmlab.trials.models import MaskedModel


@pytest.fixture
def tokens_BT():
    return torch.randint(1, 500, (3, 12), generator=torch.Generator().manual_seed(0))


def _soft_masks(frozen):
    draw = torch.Generator().manual_seed(1)
    return {
        layer.name: torch.rand(layer.out_features, layer.in_features, generator=draw).requires_grad_()
        for layer in frozen.layers
    }


@pytest.mark.parametrize("architecture", ["llama", "gemma2", "opt", "gpt_neox"])
def test_value_and_gradient_are_those_of_a_model_trained_by_hand(random_model, freeze, architecture, tokens_BT):
    """The gradient of a mask entry is that of its weight, times the dense weight."""
    frozen = freeze(random_model(architecture))
    model, masks = MaskedModel(frozen), _soft_masks(frozen)
    loss = model.loss_under(model.masked_weights(masks), tokens_BT)
    loss.backward()
    by_hand = copy.deepcopy(frozen.module).requires_grad_()
    for name, mask in masks.items():
        by_hand.get_parameter(f"{name}.weight").data.mul_(mask.detach())
    expected = by_hand(input_ids=tokens_BT, labels=tokens_BT).loss
    expected.backward()
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-6)
    for name, mask in masks.items():
        of_weight = by_hand.get_parameter(f"{name}.weight").grad
        dense = frozen.module.get_parameter(f"{name}.weight")
        torch.testing.assert_close(mask.grad, of_weight * dense, rtol=1e-4, atol=1e-7)


def test_a_tied_weight_is_replaced_wherever_it_stands(random_model, freeze, tokens_BT):
    frozen = freeze(random_model("llama", tie_word_embeddings=True))
    names = dict(frozen.module.named_parameters())
    assert "lm_head.weight" not in names
    own = {name: (tensor * 1.1).requires_grad_() for name, tensor in names.items()}
    MaskedModel(frozen).loss_under(own, tokens_BT).backward()
    by_hand = copy.deepcopy(frozen.module).requires_grad_()
    with torch.no_grad():
        for parameter in by_hand.parameters():
            parameter.mul_(1.1)
    by_hand(input_ids=tokens_BT, labels=tokens_BT).loss.backward()
    for name, parameter in by_hand.named_parameters():
        torch.testing.assert_close(own[name].grad, parameter.grad, rtol=1e-4, atol=1e-6)


def test_nothing_but_the_given_weights_gets_a_gradient(random_model, freeze, tokens_BT):
    frozen = freeze(random_model("llama"))
    model, masks = MaskedModel(frozen), _soft_masks(frozen)
    model.loss_under(model.masked_weights(masks), tokens_BT).backward()
    for parameter in [*frozen.module.parameters(), *model.module.parameters()]:
        assert parameter.grad is None
        assert not parameter.requires_grad
    assert all(mask.grad is not None for mask in masks.values())
    assert all(
        mine is theirs for mine, theirs in zip(model.module.parameters(), frozen.module.parameters(), strict=True)
    )
    assert frozen.unchanged()


def test_applied_masks_stay_applied(random_model, freeze, tokens_BT):
    frozen = freeze(random_model("llama"))
    model = MaskedModel(frozen)
    hard = {name: mask.detach() > 0.5 for name, mask in _soft_masks(frozen).items()}
    model.apply_masks(hard)
    masked = model.loss(tokens_BT)
    assert float(model.loss_under({}, tokens_BT)) == masked
    ones = {name: torch.ones_like(mask, dtype=torch.float32) for name, mask in hard.items()}
    assert float(model.loss_under(model.masked_weights(ones), tokens_BT)) != masked
    assert model.loss(tokens_BT) == masked


def test_in_bfloat16_masks_and_their_gradients_are_float32(random_model, freeze, tokens_BT):
    frozen = freeze(random_model("llama").to(torch.bfloat16))
    model, masks = MaskedModel(frozen), _soft_masks(frozen)
    weights = model.masked_weights(masks)
    for name, mask in masks.items():
        dense = frozen.module.get_parameter(f"{name}.weight")
        assert torch.equal(weights[f"{name}.weight"], (dense.float() * mask).bfloat16())
    loss = model.loss_under(weights, tokens_BT)
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(mask.grad.dtype == torch.float32 and bool(mask.grad.isfinite().all()) for mask in masks.values())
