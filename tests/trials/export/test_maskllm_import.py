"""MaskLLM's published masks: read as they were packed, and nothing else taken for one."""

import random

import numpy as np
import pytest
import torch

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.export.maskllm import read_maskllm
from nmlab.trials.masks.topn import topn
from nmlab.trials.models import FrozenModel, ModelSource


@pytest.fixture(scope="module")
def frozen(checkpoint):
    return FrozenModel.load(ModelSource(source=str(checkpoint())))


@pytest.fixture(scope="module")
def masks(frozen):
    draw = torch.Generator().manual_seed(0)
    shapes = {at.name: (at.out_features, at.in_features) for at in frozen.layers}
    return {name: topn(torch.rand(shape, generator=draw), Pattern(2, 4)) for name, shape in shapes.items()}


def _packed(masks):
    """As their tool packs: NumPy's default bit order, flat, under the name of the mask."""
    return {f"{name}.mask.weight": np.packbits(mask.numpy()) for name, mask in masks.items()}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mask_compressed.npz"


@pytest.mark.parametrize("form", ["{}.mask.weight", "{}.weight.mask", "{}.weight"])
def test_masks_are_read_as_they_were_packed(path, frozen, masks, form):
    arrays = {form.format(name): np.packbits(mask.numpy()) for name, mask in masks.items()}
    np.savez_compressed(path, **arrays)
    found, pattern = read_maskllm(path, frozen=frozen)
    assert pattern == Pattern(2, 4)
    assert found.keys() == masks.keys()
    assert all(torch.equal(found[name], masks[name]) for name in masks)


def test_the_masks_are_worn_by_the_model_they_were_made_for(path, frozen, masks, opened):
    np.savez_compressed(path, **_packed(masks))
    subject = opened(path, source=frozen.source.source)
    assert (subject.kind, subject.finished.info.pattern) == ("maskllm", "2:4")
    for name, weight in subject.weights().items():
        assert torch.equal(weight, frozen.module.get_submodule(name).weight * masks[name])
    with pytest.raises(SourceError, match="give it with --model"):
        opened(path)


def _without(name):
    return lambda arrays, _: arrays.pop(f"{name}.mask.weight")


def _swap_bit_order(arrays, masks):
    arrays.update({f"{n}.mask.weight": np.packbits(m.numpy(), bitorder="little") for n, m in masks.items()})


def _spoil(arrays, _):
    arrays["model.layers.1.mlp.up_proj.mask.weight"][3] ^= 0b1000


def _cut(arrays, _):
    arrays["model.layers.0.mlp.up_proj.mask.weight"] = arrays["model.layers.0.mlp.up_proj.mask.weight"][:-1]


def _pickle(arrays, _):
    arrays["model.layers.0.mlp.up_proj.mask.weight"] = np.array([{"a": 1}], dtype=object)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("model.layers.0.mlp.up_proj"), "'model.layers.0.mlp.up_proj' is not in the file"),
        (lambda arrays, _: arrays.update({"lm_head.mask.weight": np.zeros(8, np.uint8)}), "'lm_head' is no prunable"),
        (_spoil, r"model\.layers\.1\.mlp\.up_proj: row 1, group 3 keeps [13] of 4, expected 2"),
        (_cut, r"'model\.layers\.0\.mlp\.up_proj' is uint8 of shape \(63,\), expected 64 bytes"),
        (_pickle, r"array 'model\.layers\.0\.mlp\.up_proj\.mask\.weight' could not be read as npz .*allow_pickle"),
    ],
)
def test_a_wrong_array_is_named(path, frozen, masks, change, message):
    arrays = _packed(masks)
    change(arrays, masks)
    np.savez_compressed(path, **arrays)
    with pytest.raises(ValueError, match=message):
        read_maskllm(path, frozen=frozen)


def test_the_other_bit_order_is_another_mask(path, frozen, masks):
    """Both orders are N:M masks, so the order must be known, not guessed."""
    arrays = _packed(masks)
    _swap_bit_order(arrays, masks)
    np.savez_compressed(path, **arrays)
    found, _ = read_maskllm(path, frozen=frozen)
    assert not any(torch.equal(found[name], masks[name]) for name in masks)


def _mutations(whole, *, count):
    draw = random.Random(0)
    for _ in range(count):
        spoilt, at = bytearray(whole), draw.randrange(len(whole))
        kind = draw.choice(["byte", "bit", "cut", "remove", "double"])
        if kind == "byte":
            spoilt[at] = draw.randrange(256)
        elif kind == "bit":
            spoilt[at] ^= 1 << draw.randrange(8)
        elif kind == "cut":
            del spoilt[at:]
        elif kind == "remove":
            del spoilt[at : at + draw.randint(1, 12)]
        else:
            spoilt[at:at] = spoilt[at : at + draw.randint(1, 12)]
        yield bytes(spoilt)


def test_no_damage_is_accepted_as_another_mask(path, frozen, masks):
    np.savez_compressed(path, **_packed(masks))
    refused = 0
    for spoilt in _mutations(path.read_bytes(), count=200):
        path.write_bytes(spoilt)
        try:
            found, _ = read_maskllm(path, frozen=frozen)
        except ValueError:
            refused += 1
            continue
        assert all(torch.equal(found[name], masks[name]) for name in masks)
    assert refused > 100
