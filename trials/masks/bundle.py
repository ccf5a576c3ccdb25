"""The mask as a file: one bit a weight and what the mask belongs to."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from nmlab.trials.masks.bits import pack, unpack
from nmlab.trials.masks.topn import check_mask
from nmlab.trials.pattern import Pattern

_FORMAT = "nmlab-mask/1"


@dataclass(frozen=True)
class BundleInfo:
    """What a mask belongs to: digest of the dense model, pattern, method, and the key of the trial that found it."""

    model_source: str
    model_digest: str
    pattern: str
    method: str
    trial_key: str


def save_bundle(path: Path, masks: Mapping[str, Tensor], *, info: BundleInfo) -> None:
    """Write masks (boolean [out, in] by layer name) in one step: the file is whole or not there.

    Raises ``ValueError`` naming the layer and the group if a mask does not keep exactly N of every M inputs.
    """
    pattern = Pattern.parse(info.pattern)
    for name, mask in masks.items():
        check_mask(mask, pattern, name=name)
    header = {
        "format": _FORMAT,
        "info": json.dumps(asdict(info)),
        "group_axis": "input",
        "bit_order": "little",
        "shapes": json.dumps({name: list(mask.shape) for name, mask in masks.items()}),
    }
    packed = {name: pack(mask) for name, mask in masks.items()}
    header["digest"] = _digest(header, packed)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    safetensors.torch.save_file(packed, partial, metadata=header)
    partial.replace(path)


def load_bundle(path: Path) -> tuple[dict[str, Tensor], BundleInfo]:
    """Read masks and what they belong to; raises ``ValueError`` saying which tensor and group is wrong."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            packed = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, safetensors.SafetensorError) as error:
        raise ValueError(f"mask bundle {path}: not a readable safetensors file ({error})") from error
    info, shapes = _header(header, path)
    if packed.keys() != shapes.keys():
        wrong = sorted(packed.keys() ^ shapes.keys())[0]
        raise ValueError(f"mask bundle {path}: tensor {wrong!r} is not both in the file and in its header")
    masks = {name: _mask(bits, shapes[name], info, name, path) for name, bits in packed.items()}
    # Last, because what is found before says where the damage is; this finds what still looks like an N:M mask.
    if header.get("digest") != _digest(header, packed):
        raise ValueError(f"mask bundle {path}: damaged, its contents do not match the digest in its header")
    return masks, info


def _digest(header: Mapping[str, str], packed: Mapping[str, Tensor]) -> str:
    """16 hexadecimal digits over everything in the file but the digest itself."""
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(header.keys() - {"digest"}):
        digest.update(json.dumps([name, header[name]]).encode())
    for name, bits in sorted(packed.items()):
        digest.update(json.dumps([name, bits.numel()]).encode() + bits.numpy().tobytes())
    return digest.hexdigest()


def _header(header: Mapping[str, str], path: Path) -> tuple[BundleInfo, dict[str, list[int]]]:
    if header.get("format") != _FORMAT:
        raise ValueError(f"mask bundle {path}: expected format {_FORMAT}, found {header.get('format')!r}")
    try:
        info = BundleInfo(**json.loads(header["info"]))
        Pattern.parse(info.pattern)
        shapes = {str(name): [int(size) for size in shape] for name, shape in json.loads(header["shapes"]).items()}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"mask bundle {path}: damaged header ({error})") from error
    return info, shapes


def _mask(bits: Tensor, shape: list[int], info: BundleInfo, name: str, path: Path) -> Tensor:
    try:
        if bits.dtype != torch.uint8:
            raise ValueError(f"expected packed bits in uint8, found {bits.dtype}")
        mask = unpack(bits, shape=shape)
        check_mask(mask, Pattern.parse(info.pattern), name=name)
    except ValueError as error:
        raise ValueError(f"mask bundle {path}, tensor {name!r}: {error}") from error
    return mask
