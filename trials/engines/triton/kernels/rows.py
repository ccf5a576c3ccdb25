"""Reading and writing groups: logits in float32, or as the bfloat16 difference from a multiple of the initial mask.

The word of a group holds its modal mask in the lowest M bits, position k in bit k. With difference storage the initial
mask follows in the next M bits. A modal part of zero marks a group that is handled apart.

Legend: R rows (groups), L lanes: the power of two that is not less than M.
"""

import triton
import triton.language as tl

from nmlab.trials.engines.triton.availability import interpreting

# The interpreter cuts float32 to bfloat16 where a device rounds to nearest.
_CUTS = tl.constexpr(interpreting())


@triton.jit
def lanes(L: tl.constexpr):
    """Return the positions [1, L]."""
    return tl.arange(0, L)[None, :]


@triton.jit
def places(rows_R, M: tl.constexpr, L: tl.constexpr):
    """Return where the entries of the rows stand, [R, L], counted from the rows' base."""
    return rows_R[:, None] * M + lanes(L)


@triton.jit
def inside(live_R, M: tl.constexpr, L: tl.constexpr):
    """Return which entries exist, [R, L]: those of live rows, at positions below M."""
    return live_R[:, None] & (lanes(L) < M)


@triton.jit
def load_stored(base, rows_R, live_R, M: tl.constexpr, L: tl.constexpr):
    """Read what is stored of the logits, float32 [R, L]; 0 in rows that are not live, -inf beyond M."""
    stored_RL = tl.load(base + places(rows_R, M, L), mask=inside(live_R, M, L), other=0.0).to(tl.float32)
    if L == M:
        return stored_RL
    return tl.where(lanes(L) < M, stored_RL, float("-inf"))


@triton.jit
def narrowed(x_RL, TYPE: tl.constexpr):
    """Round to the type that is stored, to the nearest and of two to the even one."""
    if _CUTS and tl.bfloat16 == TYPE:
        bits_RL = x_RL.to(tl.int32, bitcast=True)
        x_RL = (bits_RL + (((bits_RL >> 16) & 1) + 0x7FFF)).to(tl.float32, bitcast=True)
    return x_RL.to(TYPE)


@triton.jit
def logits_of(stored_RL, word_R, magnitude, M: tl.constexpr, DIFFERENCE: tl.constexpr):
    """Return the logits [R, L] that the stored numbers stand for."""
    if not DIFFERENCE:
        return stored_RL
    initial_RL = (word_R[:, None] >> (lanes(stored_RL.shape[1]) + M)) & 1
    return stored_RL + magnitude * initial_RL.to(tl.float32)


@triton.jit
def load_words(base, rows_R, live_R, M: tl.constexpr, DIFFERENCE: tl.constexpr):
    """Read the words of the rows as int32, or as int64 where they are longer; 0 in rows that are not live."""
    word_R = tl.load(base + rows_R, mask=live_R, other=0)
    if DIFFERENCE and M > 16:
        return word_R.to(tl.int64)
    return word_R.to(tl.int32)


@triton.jit
def kept(word_R, M: tl.constexpr, L: tl.constexpr):
    """Return the modal mask [R, L] of the words."""
    bits_RL = ((word_R[:, None] >> lanes(L)) & 1) != 0
    if L == M:
        return bits_RL
    return bits_RL & (lanes(L) < M)


@triton.jit
def marked(word_R, M: tl.constexpr, DIFFERENCE: tl.constexpr):
    """Return whether the word of each row [R] has a modal part of zero."""
    if DIFFERENCE:
        return (word_R & ((1 << M) - 1)) == 0
    return word_R == 0
