"""Masks packed to one bit a weight.

Bit order is little-endian: entry k of the flattened mask is bit ``k % 8`` of byte ``k // 8``. The last byte
is filled up with zeros.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor


def packed_size(numel: int) -> int:
    """Bytes that ``numel`` mask entries take."""
    return (numel + 7) // 8


def pack(mask: Tensor) -> Tensor:
    """Pack a bool mask of any shape and size.

    Returns:
        [ceil(numel / 8)] uint8 on the CPU, wherever the mask lives.

    Raises:
        ValueError: if the dtype is not bool.
    """
    if mask.dtype != torch.bool:
        raise ValueError(f"pack: dtype {mask.dtype}, expected torch.bool")
    flat = mask.detach().cpu().reshape(-1).numpy()
    return torch.from_numpy(np.packbits(flat, bitorder="little"))


def unpack(bits: Tensor, *, shape: Sequence[int]) -> Tensor:
    """Undo `pack`.

    Args:
        bits: [ceil(prod(shape) / 8)] uint8.

    Returns:
        Bool mask of ``shape`` on the CPU.

    Raises:
        ValueError: if the dtype or the length does not fit ``shape``, or the unused bits of the last byte
            are not zero (the bits belong to another shape, or are damaged).
    """
    numel = math.prod(shape)
    if bits.dtype != torch.uint8 or bits.ndim != 1 or bits.numel() != packed_size(numel):
        raise ValueError(
            f"unpack: {bits.dtype} of shape {tuple(bits.shape)}, expected {packed_size(numel)} bytes of "
            f"torch.uint8 for a mask of shape {tuple(shape)}"
        )
    flat = np.unpackbits(bits.detach().cpu().numpy(), bitorder="little")
    if flat[numel:].any():
        raise ValueError(f"unpack: unused bits after entry {numel} are set, so shape {tuple(shape)} is wrong")
    return torch.from_numpy(flat[:numel].view(np.bool_)).view(tuple(shape))


def masks_digest(masks: Mapping[str, Tensor]) -> str:
    """16 hexadecimal digits over names and bits of a model's masks."""
    return bits_digest({name: pack(mask) for name, mask in masks.items()})


def bits_digest(bits: Mapping[str, Tensor]) -> str:
    """Return `masks_digest` of masks that are packed already."""
    digest = hashlib.blake2b(digest_size=8)
    for name, packed in sorted(bits.items()):
        digest.update(name.encode() + b"\x00" + packed.numpy().tobytes())
    return digest.hexdigest()
