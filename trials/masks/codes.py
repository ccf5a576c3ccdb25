"""The mask of a group as one integer: entry k of the group is bit k of its code.

A model's masks then take one bit a weight where M is 8, 16 or 32, and are compared, gathered and changed a group at a
time.

Legend: G groups, M group size.
"""

from functools import cache

import torch
from torch import Tensor


def code_dtype(m: int) -> torch.dtype:
    """Return the smallest integer type of at least ``m`` bits; where all of them are used, the sign is one of them.

    Raises:
        ValueError: unless 1 <= m <= 32.
    """
    if not 1 <= m <= 32:
        raise ValueError(f"a group of {m} entries has no code, expected 1 to 32")
    return torch.uint8 if m <= 8 else torch.int16 if m <= 16 else torch.int32


def encode(mask_GM: Tensor) -> Tensor:
    """Return the codes [G] of ``mask_GM`` (bool).

    Raises:
        ValueError: unless the mask is a bool matrix of at most 32 columns.
    """
    if mask_GM.ndim != 2 or mask_GM.dtype != torch.bool:
        raise ValueError(f"encode: {mask_GM.dtype} of shape {tuple(mask_GM.shape)}, expected torch.bool [G, M]")
    dtype = code_dtype(mask_GM.shape[1])
    # Bits are distinct, so a sum in the narrow type is their union even where the top bit is the sign.
    return (mask_GM.to(dtype) * _bits(mask_GM.shape[1], mask_GM.device)).sum(dim=1, dtype=dtype)


def decode(code_G: Tensor, m: int) -> Tensor:
    """Return the mask [G, M] bool of codes that ``encode`` made of groups of ``m``.

    Raises:
        ValueError: if the codes are not one-dimensional or of another type than ``code_dtype(m)``.
    """
    if code_G.ndim != 1 or code_G.dtype != code_dtype(m):
        raise ValueError(f"decode: {code_G.dtype} of shape {tuple(code_G.shape)}, expected {code_dtype(m)} [G]")
    return code_G.unsqueeze(1).bitwise_and(_bits(m, code_G.device)).ne(0)


@cache
def _bits(m: int, device: torch.device) -> Tensor:
    """2^k for every k below m, in the type of the code; the last one of a full type is its sign bit."""
    dtype = code_dtype(m)
    width = torch.iinfo(dtype).bits
    signed = torch.iinfo(dtype).min < 0
    values = [-(2**k) if signed and k == width - 1 else 2**k for k in range(m)]
    return torch.tensor(values, dtype=dtype, device=device)
