"""A frozen model: views share every tensor and have their own masks, and one changed byte is noticed."""

import threading

import pytest
import torch

from nmlab.trials.models import FrozenModel, MaskedModel, ModelSource

ARCHITECTURES = ["llama", "gemma2", "gemma3_text", "qwen3", "opt", "gpt_neox"]


def _tensors(module):
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _random_masks(frozen, *, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return {
        layer.name: torch.rand(layer.out_features, layer.in_features, generator=draw) < 0.5 for layer in frozen.layers
    }


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_view_shares_the_storage_of_every_tensor(random_model, freeze, architecture):
    frozen = freeze(random_model(architecture))
    view = frozen.view()
    mine, shared = _tensors(view), _tensors(frozen.module)
    assert mine.keys() == shared.keys()
    assert all(mine[name].data_ptr() == shared[name].data_ptr() for name in shared)
    assert not {id(module) for module in view.modules()} & {id(module) for module in frozen.module.modules()}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_applying_a_mask_changes_neither_the_frozen_model_nor_other_views(random_model, freeze, architecture):
    frozen = freeze(random_model(architecture))
    tokens_BT = torch.arange(24).view(2, 12) + 5
    one, other = MaskedModel(frozen), MaskedModel(frozen)
    dense = one.token_losses(tokens_BT)
    other.apply_masks(_random_masks(frozen, seed=1))
    masked = other.token_losses(tokens_BT)
    one.apply_masks(_random_masks(frozen))
    assert not torch.equal(one.token_losses(tokens_BT), dense)
    assert torch.equal(other.token_losses(tokens_BT), masked)
    assert torch.equal(MaskedModel(frozen).token_losses(tokens_BT), dense)
    assert frozen.unchanged()


@pytest.mark.parametrize("name", ["model.layers.1.mlp.up_proj.weight", "model.norm.weight", "lm_head.weight"])
def test_one_write_in_place_is_noticed(random_model, freeze, name):
    frozen = freeze(random_model("llama"))
    assert frozen.unchanged()
    flat = frozen.module.get_parameter(name).data.view(-1)
    before = flat[-1].item()
    flat[-1] = torch.nextafter(flat[-1], torch.tensor(torch.inf))
    assert not frozen.unchanged()
    flat[-1] = before
    assert frozen.unchanged()


def test_a_write_through_a_view_is_noticed(random_model, freeze):
    frozen = freeze(random_model("llama"))
    frozen.view().get_parameter("model.embed_tokens.weight").data[0, 0] += 1
    assert not frozen.unchanged()


def test_a_changed_buffer_is_noticed(random_model, freeze):
    frozen = freeze(random_model("llama"))
    next(frozen.module.buffers()).mul_(0.5)
    assert not frozen.unchanged()


def test_tied_embeddings_stay_tied_and_are_counted_once(random_model, freeze):
    tied = freeze(random_model("llama", tie_word_embeddings=True))
    untied = freeze(random_model("llama", tie_word_embeddings=False))
    view = tied.view()
    assert view.lm_head.weight is view.model.embed_tokens.weight
    assert view.lm_head.weight is tied.module.lm_head.weight
    assert untied.bytes - tied.bytes == tied.module.lm_head.weight.numel() * 4


def test_views_made_by_many_threads_are_whole(random_model, freeze):
    frozen = freeze(random_model("llama"))
    tokens_BT = torch.arange(24).view(2, 12)
    expected, losses = MaskedModel(frozen).token_losses(tokens_BT), []

    def make():
        losses.extend(MaskedModel(frozen).token_losses(tokens_BT) for _ in range(5))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(losses) == 20
    assert all(torch.equal(loss, expected) for loss in losses)


def test_the_shipped_model_is_frozen_too():
    frozen = FrozenModel.load(ModelSource(source="builtin:tiny"))
    assert frozen.vocabulary_size == len(frozen.tokenizer) == 512
    assert frozen.device == torch.device("cpu")
    # The shapes of its config.json: embedding and head, two blocks of attention (with biases), MLP and norms.
    attention, mlp, norms = 4 * 32 * 32 + 3 * 32, 3 * 32 * 96, 2 * 32
    parameters = 2 * 512 * 32 + 2 * (attention + mlp + norms) + 32
    assert sum(parameter.numel() for parameter in frozen.module.parameters()) == parameters
    assert 0 <= frozen.bytes - 4 * parameters < 1000  # and the rotary frequencies
