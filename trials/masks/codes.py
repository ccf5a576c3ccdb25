"""The mask of a group as one integer: entry k of the group is bit k of its code.

A model's masks then take one bit a weight where M is 8, 16 or 32, and are compared, gathered and changed a group at a
time.

Legend: G groups (g where they are few), M group size, N kept, C codes.
"""

from functools import cache

import torch
from torch import Tensor

from nmlab.trials.contract.pattern import Pattern

# Up to here the positions of every code are looked up in tables of 2^M entries.
_LARGEST_TABLE_M = 16


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
    code_G = torch.zeros(mask_GM.shape[0], dtype=dtype, device=mask_GM.device)
    # Column by column: a reduction over a short axis is several times slower.
    for position, column_G in enumerate(mask_GM.unbind(1)):
        code_G |= column_G.to(dtype) << position
    return code_G


def decode(code_G: Tensor, m: int) -> Tensor:
    """Return the mask [G, M] bool of codes that ``encode`` made of groups of ``m``.

    Raises:
        ValueError: if the codes are not one-dimensional or of another type than ``code_dtype(m)``.
    """
    if code_G.ndim != 1 or code_G.dtype != code_dtype(m):
        raise ValueError(f"decode: {code_G.dtype} of shape {tuple(code_G.shape)}, expected {code_dtype(m)} [G]")
    return code_G.unsqueeze(1).bitwise_and(_bits(m, code_G.device)).ne(0)


def decode_columns(code_G: Tensor, m: int) -> Tensor:
    """Return the mask transposed, as the numbers 0 and 1 in float32: [M, G], ready for arithmetic."""
    return code_G.bitwise_and(_bits(m, code_G.device).unsqueeze(1)).ne_(0).float()


def kept_positions(code_g: Tensor, pattern: Pattern) -> Tensor:
    """Return where the kept entries of codes of ``pattern`` stand, in ascending order: [N, g] int64."""
    if pattern.m > _LARGEST_TABLE_M:
        return decode(code_g, pattern.m).nonzero()[:, 1].view(-1, pattern.n).t().contiguous()
    row_g = code_g.int() & ((1 << pattern.m) - 1)
    return torch.stack([table_C[row_g] for table_C in _positions(pattern, code_g.device)]).long()


@cache
def _positions(pattern: Pattern, device: torch.device) -> tuple[Tensor, ...]:
    """N tables [2^M] uint8: where the first, second, ... kept entry of a code stands; 0 for codes of other patterns."""
    mask_CM = (torch.arange(1 << pattern.m).unsqueeze(1) >> torch.arange(pattern.m)).bitwise_and_(1).bool()
    fits_C = mask_CM.sum(1) == pattern.n
    table_CN = torch.zeros(len(mask_CM), pattern.n, dtype=torch.uint8)
    table_CN[fits_C] = mask_CM[fits_C].nonzero()[:, 1].view(-1, pattern.n).to(torch.uint8)
    return tuple(table_CN.t().contiguous().to(device).unbind(0))


@cache
def _bits(m: int, device: torch.device) -> Tensor:
    """2^k for every k below m, in the type of the code; the last one of a full type is its sign bit."""
    dtype = code_dtype(m)
    width = torch.iinfo(dtype).bits
    signed = torch.iinfo(dtype).min < 0
    values = [-(2**k) if signed and k == width - 1 else 2**k for k in range(m)]
    return torch.tensor(values, dtype=dtype, device=device)
