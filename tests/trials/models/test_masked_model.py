"""A masked model: its weights are dense times mask, its loss is the one that transformers computes."""

import pytest
import torch

from nmlab.trials.models import MaskedModel

ARCHITECTURES = ["llama", "gemma2", "opt", "gpt_neox"]


def _masks(frozen, *, share=0.5):
    draw = torch.Generator().manual_seed(0)
    return {
        layer.name: torch.rand(layer.out_features, layer.in_features, generator=draw) < share for layer in frozen.layers
    }


@pytest.fixture
def tokens_BT():
    return torch.randint(1, 500, (3, 12), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_loss_is_that_of_the_library(random_model, freeze, architecture, tokens_BT):
    module = random_model(architecture)
    model = MaskedModel(freeze(module))
    with torch.no_grad():
        expected = float(module(input_ids=tokens_BT, labels=tokens_BT).loss)
    assert model.loss(tokens_BT) == pytest.approx(expected, rel=1e-6)
    losses_BT = model.token_losses(tokens_BT)
    assert losses_BT.shape == (3, 11)
    assert losses_BT.dtype == torch.float32
    assert float(losses_BT.mean()) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_masked_loss_is_that_of_weights_masked_by_hand(random_model, freeze, architecture, tokens_BT):
    frozen = freeze(random_model(architecture))
    model, masks = MaskedModel(frozen), _masks(frozen)
    model.apply_masks(masks)
    by_hand = random_model(architecture)
    for name, mask in masks.items():
        by_hand.get_parameter(f"{name}.weight").data.mul_(mask)
    with torch.no_grad():
        expected = float(by_hand(input_ids=tokens_BT, labels=tokens_BT).loss)
    assert model.loss(tokens_BT) == pytest.approx(expected, rel=1e-6)
    assert abs(MaskedModel(frozen).loss(tokens_BT) - expected) > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_masked_weights_are_dense_times_mask(random_model, freeze, dtype, tokens_BT):
    frozen = freeze(random_model("llama").to(dtype))
    model, masks = MaskedModel(frozen), _masks(frozen)
    model.apply_masks(masks)
    for name, mask in masks.items():
        masked = model.module.get_parameter(f"{name}.weight")
        assert masked.dtype == dtype
        assert torch.equal(masked, frozen.module.get_parameter(f"{name}.weight") * mask)
    assert model.token_losses(tokens_BT).dtype == torch.float32
    assert frozen.unchanged()


def test_masks_can_be_applied_to_other_weights(random_model, freeze):
    """A method that updates weights gives them for the layers it changed; the others are dense times mask."""
    frozen = freeze(random_model("llama"))
    model, masks = MaskedModel(frozen), _masks(frozen)
    changed, *others = masks
    weight = torch.randn(masks[changed].shape, generator=torch.Generator().manual_seed(1))
    model.apply_masks(masks, weights_OI={changed: weight})
    assert torch.equal(model.module.get_parameter(f"{changed}.weight"), weight * masks[changed])
    for name in others:
        dense = frozen.module.get_parameter(f"{name}.weight")
        assert torch.equal(model.module.get_parameter(f"{name}.weight"), dense * masks[name])
    assert frozen.unchanged()


def test_a_second_mask_replaces_the_first(random_model, freeze):
    frozen = freeze(random_model("llama"))
    model, masks = MaskedModel(frozen), _masks(frozen)
    model.apply_masks(masks)
    model.apply_masks({name: ~mask for name, mask in masks.items()})
    for name, mask in masks.items():
        assert torch.equal(
            model.module.get_parameter(f"{name}.weight"), frozen.module.get_parameter(f"{name}.weight") * ~mask
        )


def test_only_the_named_layers_are_masked_and_paid_for(random_model, freeze):
    frozen = freeze(random_model("llama"))
    model, (name, mask) = MaskedModel(frozen), next(iter(_masks(frozen).items()))
    assert model.bytes == 0
    model.apply_masks({name: mask})
    assert model.bytes == mask.numel() * 4
    others = [layer.name for layer in frozen.layers if layer.name != name]
    assert all(model.module.get_parameter(f"{n}.weight") is frozen.module.get_parameter(f"{n}.weight") for n in others)


def test_remove_masks_restores_the_dense_model_and_frees_memory(random_model, freeze, tokens_BT):
    frozen = freeze(random_model("llama"))
    model = MaskedModel(frozen)
    dense = model.token_losses(tokens_BT)
    model.apply_masks(_masks(frozen))
    assert not torch.equal(model.token_losses(tokens_BT), dense)
    model.remove_masks()
    assert torch.equal(model.token_losses(tokens_BT), dense)
    assert model.bytes == 0


def test_in_bfloat16_the_loss_is_taken_in_float32(random_model, freeze, tokens_BT):
    """Near log(vocabulary) bfloat16 has steps of 0.03; the mean of the same logits in float32 does not."""
    frozen = freeze(random_model("llama").to(torch.bfloat16))
    logits = frozen.module(input_ids=tokens_BT).logits[:, :-1]
    assert logits.dtype == torch.bfloat16
    expected = -logits.float().log_softmax(-1).gather(-1, tokens_BT[:, 1:, None]).mean()
    assert MaskedModel(frozen).loss(tokens_BT) == pytest.approx(float(expected), rel=1e-6)
