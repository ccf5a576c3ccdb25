"""Read the masks that MaskLLM published: an npz of packed bits, one array a weight, without shapes or pattern.

Source: https://github.com/NVlabs/MaskLLM (``tool_compress_mask.py`` packs with NumPy's default bit order, the highest
bit first; ``eval_llama_ppl.py`` drops ``.mask`` from the names and takes the shapes from the model).
"""

import math
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.export.sparsity import pattern_of_mask
from nmlab.trials.masks.bits import packed_size
from nmlab.trials.masks.topn import check_mask
from nmlab.trials.models import FrozenModel

# What NumPy, zipfile and zlib raise on damaged files.
_DAMAGE = (
    OSError, ValueError, EOFError, KeyError, TypeError, SyntaxError, RuntimeError, MemoryError, OverflowError,
    NotImplementedError, IndexError, UnicodeError, zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip


def read_maskllm(path: Path, *, frozen: FrozenModel) -> tuple[dict[str, Tensor], Pattern]:
    """Return masks (boolean [out, in]) for every prunable layer of a model, and the pattern that all of them keep.

    Raises ``ValueError`` naming the array that is missing, damaged, of another size, or no N:M mask. Pickled arrays
    are refused.
    """
    shapes = {layer.name: (layer.out_features, layer.in_features) for layer in frozen.layers}
    packed = _read(path)
    if wrong := sorted(packed.keys() ^ shapes.keys()):
        where = "is not in the file" if wrong[0] in shapes else f"is no prunable layer of {frozen.source.source}"
        raise ValueError(f"masks {path}: {wrong[0]!r} {where}")
    masks = {name: _unpack(bits, shape=shapes[name], name=name, path=path) for name, bits in packed.items()}
    pattern = pattern_of_mask(dict(list(masks.items())[:1]))
    if pattern is None:
        raise ValueError(f"masks {path}: {next(iter(masks))!r} keeps no fixed number of every 2, 4, 8, 16 or 32 inputs")
    for name, mask in masks.items():
        try:
            check_mask(mask, pattern, name=name)
        except ValueError as error:
            raise ValueError(f"masks {path}: {error}") from error
    return masks, pattern


def _read(path: Path) -> Mapping[str, np.ndarray]:
    """Return the arrays by layer name."""
    name = ""
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {}
            for name in archive.files:
                found[_layer_name(name)] = archive[name]
    except _DAMAGE as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        where = f"array {name!r} " if name else ""
        raise ValueError(f"masks {path}: {where}could not be read as npz ({reason})") from error
    return found


def _layer_name(key: str) -> str:
    return key.replace(".mask", "").removesuffix(".weight")


def _unpack(bits: np.ndarray, *, shape: tuple[int, int], name: str, path: Path) -> Tensor:
    numel = math.prod(shape)
    if bits.dtype != np.uint8 or bits.shape != (packed_size(numel),):
        raise ValueError(
            f"masks {path}: {name!r} is {bits.dtype} of shape {bits.shape}, expected {packed_size(numel)} bytes for a "
            f"weight of shape {shape}"
        )
    flat = np.unpackbits(bits, bitorder="big")
    if flat[numel:].any():
        raise ValueError(f"masks {path}: {name!r} has bits set after its last weight")
    return torch.from_numpy(flat[:numel].view(np.bool_)).view(shape)
