"""Dequantise weights stored as FP8 with one scale for every block of a matrix, as DeepSeek and Qwen publish them.

Legend: O outputs, I inputs, P and Q blocks of them; stacked matrices have one more dimension in front.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from nmlab.trials.contract.errors import SourceError

_SCALE = "_scale_inv"
_KINDS = (torch.float8_e4m3fn, torch.float8_e5m2)


def dequantised(folder: Path, *, block: tuple[int, int], dtype: torch.dtype) -> dict[str, Tensor]:
    """Return all tensors of a checkpoint in ``dtype``, those in FP8 multiplied by their scales, without the scales.

    ``NAME_scale_inv`` [P, Q] holds the factor of every block of ``NAME`` [O, I]; products are computed in float32. The
    whole checkpoint is held in memory. Raises ``SourceError`` for an FP8 tensor without scales that fit.
    """
    stored = dict(_stored(folder))
    return {
        name: _plain(name, tensor, stored=stored, block=block).to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in stored.items()
        if not name.endswith(_SCALE)
    }


def _stored(folder: Path) -> Iterator[tuple[str, Tensor]]:
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (an open file is no mapping)
                yield name, file.get_tensor(name)


def _plain(name: str, tensor: Tensor, *, stored: Mapping[str, Tensor], block: tuple[int, int]) -> Tensor:
    if tensor.dtype not in _KINDS:
        return tensor
    scale = stored.get(f"{name}{_SCALE}")
    blocks = tuple(-(-size // each) for size, each in zip(tensor.shape[-2:], block, strict=False))
    if scale is None or tensor.dim() < 2 or tuple(scale.shape[-2:]) != blocks:
        found = "none" if scale is None else str(tuple(scale.shape))
        raise SourceError(f"{name}: stored as FP8 {tuple(tensor.shape)} in blocks of {block}, with the scales {found}")
    spread = scale.float().repeat_interleave(block[0], dim=-2).repeat_interleave(block[1], dim=-1)
    return tensor.float() * spread[..., : tensor.shape[-2], : tensor.shape[-1]]
