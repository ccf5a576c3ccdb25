"""Mask bundles: files of masks with one bit a weight, and the model, method and trial that they belong to."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.run_artifacts import (
    HEADER_DIGESTS,
    HEADER_FORMAT,
    HEADER_INFO,
    HEADER_ORIGIN,
    HEADER_SHAPES,
    MASK_FORMAT,
)
from nmlab.trials.contract.values import JsonObject
from nmlab.trials.files.tensor_file import read_tensors, tensor_digest, write_tensors
from nmlab.trials.masks.bits import pack, unpack
from nmlab.trials.masks.topn import check_mask


@dataclass(frozen=True)
class BundleInfo:
    """The origin of a mask: digest of the dense model, pattern, method, and the key of the trial that found it."""

    model_source: str
    model_digest: str
    pattern: str
    method: str
    trial_key: str


@dataclass(frozen=True)
class Bundle:
    """The contents of a bundle: masks (boolean [out, in] by layer), their info, and what the writer added."""

    masks: dict[str, Tensor]
    info: BundleInfo
    origin: JsonObject


def save_bundle(
    path: Path, masks: Mapping[str, Tensor], *, info: BundleInfo, origin: Mapping[str, object] | None = None
) -> None:
    """Write masks (boolean [out, in] by layer name) atomically.

    ``origin`` is plain JSON that is kept with them, such as what they cost. The same masks give the same bytes. Raises
    ``ValueError`` naming the layer and the group if a mask does not keep exactly N of every M inputs.
    """
    pattern = Pattern.parse(info.pattern)
    for name, mask in masks.items():
        check_mask(mask, pattern, name=name)
    packed = {name: pack(mask) for name, mask in sorted(masks.items())}
    header = {
        HEADER_FORMAT: MASK_FORMAT,
        HEADER_INFO: json.dumps(asdict(info)),
        "group_axis": "input",
        "bit_order": "little",
        HEADER_SHAPES: json.dumps({name: list(masks[name].shape) for name in packed}),
        HEADER_DIGESTS: json.dumps({name: tensor_digest(name, bits) for name, bits in packed.items()}),
        **({HEADER_ORIGIN: json.dumps(dict(origin), sort_keys=True)} if origin else {}),
    }
    write_tensors(path, packed, header={**header, "digest": _digest(header, packed)})


def load_bundle(path: Path) -> tuple[dict[str, Tensor], BundleInfo]:
    """Read masks and what they belong to; raises ``ValueError`` saying which tensor and group is wrong."""
    bundle = read_bundle(path)
    return bundle.masks, bundle.info


def read_bundle(path: Path) -> Bundle:
    """Read all that a file of masks holds; raises ``ValueError`` saying which tensor and group is wrong."""
    packed, header = read_tensors(path, kind="mask bundle")
    info, shapes = _header(header, path)
    if packed.keys() != shapes.keys():
        wrong = sorted(packed.keys() ^ shapes.keys())[0]
        raise ValueError(f"mask bundle {path}: tensor {wrong!r} is not both in the file and in its header")
    masks = {name: _mask(bits, shape=shapes[name], info=info, name=name, path=path) for name, bits in packed.items()}
    # Last, because what is found before says where the damage is; this finds what still looks like an N:M mask.
    if header.get("digest") != _digest(header, packed):
        raise ValueError(f"mask bundle {path}: damaged, {_damage(header, packed)} not match the digest in its header")
    return Bundle(masks, info, json.loads(header.get(HEADER_ORIGIN, "{}")))


def _damage(header: Mapping[str, str], packed: Mapping[str, Tensor]) -> str:
    """Return what does not fit a file's digest: the first tensor that differs, or else the contents."""
    try:
        digests = dict(json.loads(header[HEADER_DIGESTS]))
    except (KeyError, TypeError, ValueError):
        return "its contents do"
    wrong = [name for name, bits in sorted(packed.items()) if digests.get(name) != tensor_digest(name, bits)]
    return f"tensor {wrong[0]!r} does" if wrong else "its contents do"


def _digest(header: Mapping[str, str], packed: Mapping[str, Tensor]) -> str:
    """16 hexadecimal digits over everything in the file but the digest itself."""
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(header.keys() - {"digest"}):
        digest.update(json.dumps([name, header[name]]).encode())
    for name, bits in sorted(packed.items()):
        digest.update(json.dumps([name, bits.numel()]).encode() + bits.numpy().tobytes())
    return digest.hexdigest()


def _header(header: Mapping[str, str], path: Path) -> tuple[BundleInfo, dict[str, list[int]]]:
    if header.get(HEADER_FORMAT) != MASK_FORMAT:
        raise ValueError(f"mask bundle {path}: expected format {MASK_FORMAT}, found {header.get(HEADER_FORMAT)!r}")
    try:
        info = BundleInfo(**json.loads(header[HEADER_INFO]))
        Pattern.parse(info.pattern)
        shapes = {str(name): [int(size) for size in shape] for name, shape in json.loads(header[HEADER_SHAPES]).items()}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"mask bundle {path}: damaged header ({error})") from error
    return info, shapes


def _mask(bits: Tensor, *, shape: list[int], info: BundleInfo, name: str, path: Path) -> Tensor:
    try:
        if bits.dtype != torch.uint8:
            raise ValueError(f"expected packed bits in uint8, found {bits.dtype}")
        mask = unpack(bits, shape=shape)
        check_mask(mask, Pattern.parse(info.pattern), name=name)
    except ValueError as error:
        raise ValueError(f"mask bundle {path}, tensor {name!r}: {error}") from error
    return mask
