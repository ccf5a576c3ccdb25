"""The update of the few groups whose sampled masks are not all modal.

Legend: R rows (groups), L lanes (positions within a group).
"""

import triton
import triton.language as tl

from nmlab.trials.engines.triton.kernels.law import gradient
from nmlab.trials.engines.triton.kernels.rows import (
    inside,
    kept,
    load_stored,
    load_words,
    logits_of,
    narrowed,
    places,
)


@triton.jit(do_not_specialize=["total", "draws"])
def touch(
    values,
    words,
    rows,
    codes,
    scales,
    draws,
    total,
    magnitude,
    N: tl.constexpr,
    M: tl.constexpr,
    L: tl.constexpr,
    DIFFERENCE: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Move each row by -sum_k scales[k] times the score of its k-th mask, ``codes`` [draws, total]."""
    at_R = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live_R = at_R < total
    row_R = tl.load(rows + at_R, mask=live_R, other=0)
    word_R = load_words(words, row_R, live_R, M, DIFFERENCE)
    stored_RL = load_stored(values, row_R, live_R, M, L)
    logits_RL = logits_of(stored_RL, word_R, magnitude, M, DIFFERENCE)
    change_RL = tl.zeros((ROWS, L), tl.float32)
    for k in range(draws):
        code_R = tl.load(codes + k * total + at_R, mask=live_R, other=0).to(tl.int32)
        change_RL += tl.load(scales + k) * gradient(logits_RL, kept(code_R, M, L), N)
    moved_RL = narrowed(stored_RL - change_RL, values.dtype.element_ty)
    tl.store(values + places(row_R, M, L), moved_RL, mask=inside(live_R, M, L))
