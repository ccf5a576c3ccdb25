"""The kernels as typed functions: tensors in, tensors out. Importing this module imports ``triton``.

Legend: G groups, g some of them, M group size, D masks to draw in one pass, K masks drawn, L layers.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines.engine import MaskKey
from nmlab.trials.engines.triton.availability import interpreting
from nmlab.trials.engines.triton.kernels.draw import draw as draw_kernel
from nmlab.trials.engines.triton.kernels.patch import patch as patch_kernel
from nmlab.trials.engines.triton.kernels.scan import scan as scan_kernel
from nmlab.trials.engines.triton.kernels.touch import touch as touch_kernel
from nmlab.trials.engines.triton.tables import LayerTables
from nmlab.trials.engines.triton.words import GroupWords
from nmlab.trials.masks.codes import code_dtype, encode

# A find is a row and, above it, its slot: 0 for the order, 1 + d for mask d (`kernels.scan.SLOT`).
SLOT = 2**40
WARPS = 4
WEIGHTS = {torch.float32: tl.float32, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}


class KernelShape:
    """Compile-time parameters of a kernel: pattern and storage, and how many groups a program takes.

    ``rows`` is for programs that hold a few numbers a lane; ``pair_rows`` for ``draw``, which compares all pairs of
    lanes and must stay within the registers. In the interpreter programs are as large as memory allows, because there
    each costs nearly the same whatever its size, and no larger than `_rows` allows. No result depends on either.
    """

    def __init__(self, pattern: Pattern, *, difference: bool) -> None:
        lanes = int(triton.next_power_of_2(pattern.m))
        numbers = 2**18 if interpreting() else 512
        self.constants = {"N": pattern.n, "M": pattern.m, "L": lanes, "DIFFERENCE": int(difference)}
        self.rows = max(1, numbers // lanes)
        self.pair_rows = max(1, 4 * numbers // lanes**2)

    @classmethod
    def of(cls, words: GroupWords) -> "KernelShape":
        """Return the shape of the kernels for a store."""
        return cls(words.pattern, difference=words.difference)


def scan(
    words: GroupWords,
    tables: LayerTables,
    *,
    scale: float | None,
    order: bool,
    keys: Sequence[MaskKey],
    found: Tensor,
) -> Tensor:
    """Pass over all groups: move them by -``scale`` times the modal score (N <= 2; not where it is None), and look.

    Returns:
        The number of finds, int64 [1]. The first of them, in no order, are in ``found`` (int64), as many as fit.
    """
    count = torch.zeros(1, dtype=torch.int64, device=found.device)
    _run(
        scan_kernel,
        tables.programs,
        *_held(words),
        tables.program_layer_P,
        tables.layers_L3,
        tables.keys(keys) if keys else tables.layers_L3,
        found,
        count,
        len(found),
        words.store.magnitude,
        scale or 0.0,
        UPDATE=scale is not None,
        ORDER=order,
        DRAWS=len(keys),
        SPAN=tables.span,
        **KernelShape.of(words).constants,
    )
    return count


def draw(words: GroupWords, tables: LayerTables, groups_g: Tensor, *, key: MaskKey) -> Tensor:
    """Return the codes [g] of the masks named ``key`` of some groups (int64), the mode where it is not left."""
    codes_g = torch.empty(len(groups_g), dtype=code_dtype(words.pattern.m), device=groups_g.device)
    shape = KernelShape.of(words)
    rows = _rows(shape.pair_rows, groups=len(groups_g))
    _run(
        draw_kernel,
        triton.cdiv(len(groups_g), rows),
        *_held(words),
        groups_g,
        tables.layer_of(groups_g),
        tables.layers_L3,
        tables.keys([key]),
        codes_g,
        len(groups_g),
        words.store.magnitude,
        ROWS=rows,
        **shape.constants,
    )
    return codes_g


def touch(words: GroupWords, groups_g: Tensor, codes_Kg: Tensor, *, scales: Sequence[float]) -> None:
    """Move some groups by -sum_k scales[k] times the score of their k-th mask (N <= 2)."""
    shape = KernelShape.of(words)
    rows = _rows(shape.rows, groups=len(groups_g))
    _run(
        touch_kernel,
        triton.cdiv(len(groups_g), rows),
        *_held(words),
        groups_g,
        codes_Kg,
        torch.tensor(scales, dtype=torch.float32).to(groups_g.device, non_blocking=True),
        len(scales),
        len(groups_g),
        words.store.magnitude,
        ROWS=rows,
        **shape.constants,
    )


def patch(
    tables: LayerTables, groups_g: Tensor, masks_gM: Tensor, *, dense: Sequence[Tensor], masked: Sequence[Tensor]
) -> None:
    """Write dense weight times mask into ``masked`` in some groups, in one launch for all layers.

    Args:
        groups_g: int64, rows of the layout.
        masks_gM: bool.
        dense: the weight [out, in] of every layer, in order: contiguous, all of one floating-point type.
        masked: the same shapes and type.
    """
    m, weight = masks_gM.shape[1], dense[0].dtype
    assert all(tensor.is_contiguous() and tensor.dtype == weight for tensor in (*dense, *masked))
    shape = KernelShape(Pattern(1, m), difference=False)
    rows = _rows(shape.rows, groups=len(groups_g))
    _run(
        patch_kernel,
        triton.cdiv(len(groups_g), rows),
        _addresses(masked),
        _addresses(dense),
        groups_g,
        tables.layer_of(groups_g),
        tables.layers_L3,
        encode(masks_gM),
        len(groups_g),
        WEIGHT=WEIGHTS[weight],
        M=m,
        L=shape.constants["L"],
        ROWS=rows,
    )


def _rows(most: int, *, groups: int) -> int:
    """Return how many groups a program takes; in the interpreter, where absent ones take time too, all there are."""
    return min(most, int(triton.next_power_of_2(max(1, groups)))) if interpreting() else most


def _run(kernel: Any, programs: int, *arguments: Any, **constants: object) -> None:
    """Launch on the device of the first tensor, which need not be the current one; nothing to do is no launch."""
    device: torch.device = arguments[0].device
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        if programs:
            kernel[(programs,)](*arguments, num_warps=WARPS, **constants)


def _held(words: GroupWords) -> tuple[Tensor, Tensor]:
    return words.held_GM, words.words_G


def _addresses(tensors: Sequence[Tensor]) -> Tensor:
    pointers = torch.tensor([tensor.data_ptr() for tensor in tensors], dtype=torch.int64)
    return pointers.to(tensors[0].device, non_blocking=True)
