"""The mask as a file: it comes back as it was, and no damage goes unnoticed."""

import json
import random

import pytest
import safetensors.torch
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.masks.bundle import BundleInfo, load_bundle, save_bundle
from nmlab.trials.masks.topn import topn

SHAPES = {"layers.0.q": (6, 16), "layers.0.up": (3, 48), "layers.1.odd": (1, 16)}


def _info(pattern="2:4"):
    return BundleInfo("builtin:tiny", "0123456789abcdef", pattern, "maskpro", "fedcba9876543210")


def _masks(pattern="2:4"):
    draw = torch.Generator().manual_seed(0)
    return {name: topn(torch.rand(shape, generator=draw), Pattern.parse(pattern)) for name, shape in SHAPES.items()}


def _assert_same(loaded, masks):
    assert loaded.keys() == masks.keys()
    assert all(torch.equal(loaded[name], masks[name]) for name in masks)
    assert all(mask.dtype == torch.bool for mask in loaded.values())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mask.safetensors"


@pytest.mark.parametrize("pattern", ["1:4", "2:4", "2:8", "4:8", "8:16", "4:4"])
def test_masks_come_back_as_they_were(path, pattern):
    save_bundle(path, _masks(pattern), info=_info(pattern))
    loaded, info = load_bundle(path)
    _assert_same(loaded, _masks(pattern))
    assert info == _info(pattern)


def test_a_weight_takes_one_bit(path):
    mask = topn(torch.rand(256, 512), Pattern(2, 4))
    save_bundle(path, {"a": mask}, info=_info())
    assert mask.numel() / 8 <= path.stat().st_size < mask.numel() / 8 + 1000


def test_one_mask_gives_one_file(path, tmp_path):
    save_bundle(path, _masks(), info=_info())
    save_bundle(tmp_path / "again.safetensors", dict(reversed(_masks().items())), info=_info())
    assert len(list(tmp_path.iterdir())) == 2  # nothing partial is left
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    _assert_same(load_bundle(tmp_path / "again.safetensors")[0], load_bundle(path)[0])


def test_a_mask_that_is_none_is_not_saved(path):
    masks = _masks()
    masks["layers.0.up"][2, 9] ^= True
    with pytest.raises(ValueError, match=r"layers\.0\.up: row 2, group 2 keeps [13] of 4, expected 2"):
        save_bundle(path, masks, info=_info())
    assert not path.exists()


def _rewrite(path, *, change_bits=None, **changes):
    """Write the bundle anew with other header fields, or with other bits of one tensor."""
    with safetensors.safe_open(path, framework="pt") as file:
        header = {**file.metadata(), **changes}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    if change_bits:
        change_bits(tensors)
    header = {name: value for name, value in header.items() if value is not None}
    safetensors.torch.save_file(tensors, path, metadata=header)


def _flip(tensors):
    tensors["layers.0.up"][4] ^= 0b0001


def _swap(tensors):
    """Another 2:4 mask: only the digest can tell."""
    tensors["layers.0.up"][4] ^= 0b1111


def _drop(tensors):
    del tensors["layers.0.q"]


def _shorten(tensors):
    tensors["layers.0.q"] = tensors["layers.0.q"][:-1].clone()


def _widen(tensors):
    tensors["layers.0.q"] = tensors["layers.0.q"].to(torch.int16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"change_bits": _flip}, r"tensor 'layers\.0\.up': layers\.0\.up: row 0, group 8 keeps [13] of 4, expected 2"),
        ({"change_bits": _swap}, r"tensor 'layers\.0\.up' does not match the digest"),
        ({"change_bits": _drop}, r"tensor 'layers\.0\.q' is not both in the file and in its header"),
        ({"change_bits": _shorten}, r"tensor 'layers\.0\.q': unpack: .* expected 12 bytes"),
        ({"change_bits": _widen}, r"tensor 'layers\.0\.q': expected packed bits in uint8, found torch\.int16"),
        ({"format": "other"}, "expected format nmlab-mask/1, found 'other'"),
        ({"format": None}, "expected format nmlab-mask/1, found None"),
        ({"digest": None}, "do not match the digest"),
        ({"info": None}, "damaged header"),
        ({"info": "[]"}, "damaged header"),
        ({"info": json.dumps({"pattern": "2:4"})}, "damaged header"),
        ({"info": json.dumps({**vars(_info()), "model_digest": "another"})}, "do not match the digest"),
        ({"info": json.dumps({**vars(_info()), "pattern": "2-4"})}, "damaged header"),
        ({"shapes": json.dumps({**SHAPES, "layers.0.q": [12, 8]})}, "do not match the digest"),
        ({"shapes": json.dumps({**SHAPES, "layers.0.q": [6, 17]})}, r"tensor 'layers\.0\.q'"),
        ({"shapes": '{"layers.0.q": [1e999]}'}, "damaged header"),
        ({"shapes": "3"}, "damaged header"),
    ],
)
def test_a_bundle_that_was_tampered_with_is_refused(path, changes, message):
    save_bundle(path, _masks(), info=_info())
    _rewrite(path, **changes)
    with pytest.raises(ValueError, match=message) as refused:
        load_bundle(path)
    assert str(path) in str(refused.value)


def test_a_file_that_is_no_bundle_is_refused(path):
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        load_bundle(path)
    path.write_text("text")
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        load_bundle(path)


def _mutations(whole, *, count):
    """Bytes replaced, bits flipped, stretches removed, doubled and swapped, anywhere in the file."""
    draw = random.Random(0)
    for _ in range(count):
        spoilt, at = bytearray(whole), draw.randrange(len(whole))
        length = draw.randint(1, 12)
        kind = draw.choice(["byte", "bit", "cut", "remove", "double", "swap"])
        if kind == "byte":
            spoilt[at] = draw.randrange(256)
        elif kind == "bit":
            spoilt[at] ^= 1 << draw.randrange(8)
        elif kind == "cut":
            del spoilt[at:]
        elif kind == "remove":
            del spoilt[at : at + length]
        elif kind == "double":
            spoilt[at:at] = spoilt[at : at + length]
        else:
            other = draw.randrange(len(whole))
            spoilt[at], spoilt[other] = spoilt[other], spoilt[at]
        yield bytes(spoilt)


@pytest.mark.parametrize("pattern", ["2:4", "8:16"])
def test_no_damage_is_accepted_as_another_mask(path, pattern):
    save_bundle(path, _masks(pattern), info=_info(pattern))
    refused = 0
    for spoilt in _mutations(path.read_bytes(), count=600):
        path.write_bytes(spoilt)
        try:
            loaded, info = load_bundle(path)
        except ValueError:
            refused += 1
            continue
        _assert_same(loaded, _masks(pattern))
        assert info == _info(pattern)
    assert refused > 400
