"""The pass over all groups: move the logits along the score of the modal mask, and list the groups that may deviate.

Nearly every group keeps its modal mask, and nearly every group's mode stays the same. The pass reads each group once
and lists the exceptions: the groups whose mode may have changed, and for every mask to be drawn the groups that may
deviate from the mode (first word below the bound of `law.leaving`). Both lists are supersets, which `draw` and a new
comparison of the order decide in float64.

A program processes ``SPAN`` times four stretches of ``SHARE`` groups of one layer; all four are loaded before the first
is processed, so that the memory is always busy.

Legend: R rows (groups), L lanes (positions within a group), j which of the four stretches.
"""

import triton
import triton.language as tl

from nmlab.trials.engines.triton.kernels.law import gradient, leaving, overtaken
from nmlab.trials.engines.triton.kernels.random import SHARE, SHARED_BLOCK, block
from nmlab.trials.engines.triton.kernels.rows import (
    inside,
    kept,
    load_stored,
    load_words,
    logits_of,
    marked,
    narrowed,
    places,
)

# An entry of the list is a row and, above it, the slot it belongs to: 0 for the order, then one for every mask.
SLOT = tl.constexpr(2**40)
# More than any bound (at most N): the group is looked at again whatever its word.
ALWAYS = tl.constexpr(1e9)
NEVER = tl.constexpr(-1.0)


@triton.jit(do_not_specialize=["capacity"])
def scan(
    values,
    words,
    program_layer,
    layers,
    keys,
    found,
    count,
    capacity,
    magnitude,
    scale,
    N: tl.constexpr,
    M: tl.constexpr,
    L: tl.constexpr,
    DIFFERENCE: tl.constexpr,
    UPDATE: tl.constexpr,
    ORDER: tl.constexpr,
    DRAWS: tl.constexpr,
    SPAN: tl.constexpr,
):
    """Move by -scale times the score where UPDATE; append the undecided groups to ``found``.

    ``layers`` int64 [layers, 3]: first row, groups, first program. ``keys`` int64 [layers, DRAWS, 2]. ``count`` counts
    all finds, also those beyond ``capacity``, which are not stored.
    """
    program = tl.program_id(0)
    layer = tl.load(program_layer + program)
    first_row = tl.load(layers + 3 * layer)
    groups = tl.load(layers + 3 * layer + 1).to(tl.int32)
    span = program - tl.load(layers + 3 * layer + 2).to(tl.int32)
    shared_R = span * (SPAN * SHARE) + tl.arange(0, SPAN * SHARE)
    group_R = shared_R // SHARE * (4 * SHARE) + shared_R % SHARE
    values += first_row * M
    words += first_row
    stored_0, word_0 = _load(values, words, group_R, groups, M, L, DIFFERENCE)
    stored_1, word_1 = _load(values, words, group_R + SHARE, groups, M, L, DIFFERENCE)
    stored_2, word_2 = _load(values, words, group_R + 2 * SHARE, groups, M, L, DIFFERENCE)
    stored_3, word_3 = _load(values, words, group_R + 3 * SHARE, groups, M, L, DIFFERENCE)
    a_R = _visit(stored_0, word_0, values, group_R, groups, magnitude, scale, N, M, L, DIFFERENCE, UPDATE, ORDER)
    group_R += SHARE
    b_R = _visit(stored_1, word_1, values, group_R, groups, magnitude, scale, N, M, L, DIFFERENCE, UPDATE, ORDER)
    group_R += SHARE
    c_R = _visit(stored_2, word_2, values, group_R, groups, magnitude, scale, N, M, L, DIFFERENCE, UPDATE, ORDER)
    group_R += SHARE
    d_R = _visit(stored_3, word_3, values, group_R, groups, magnitude, scale, N, M, L, DIFFERENCE, UPDATE, ORDER)
    finds_R = tl.zeros_like(shared_R)
    if ORDER:
        finds_R += _bits(a_R >= ALWAYS, b_R >= ALWAYS, c_R >= ALWAYS, d_R >= ALWAYS)
    for draw in tl.static_range(DRAWS):
        place = keys + 2 * (layer * DRAWS + draw)
        a, b, c, d = block(tl.load(place), tl.load(place + 1), shared_R, SHARED_BLOCK)
        finds_R += _bits(_below(a, a_R), _below(b, b_R), _below(c, c_R), _below(d, d_R)) << (4 * draw + 4)
    if tl.max(finds_R, axis=0) != 0:
        _append(finds_R, first_row + group_R - 3 * SHARE, found, count, capacity, 4 * DRAWS + 4)


@triton.jit
def _load(values, words, group_R, groups, M: tl.constexpr, L: tl.constexpr, DIFFERENCE: tl.constexpr):
    """Read one stretch: what is stored [R, L], and the words [R]."""
    live_R = group_R < groups
    return load_stored(values, group_R, live_R, M, L), load_words(words, group_R, live_R, M, DIFFERENCE)


@triton.jit
def _visit(
    stored_RL,
    word_R,
    values,
    group_R,
    groups,
    magnitude,
    scale,
    N: tl.constexpr,
    M: tl.constexpr,
    L: tl.constexpr,
    DIFFERENCE: tl.constexpr,
    UPDATE: tl.constexpr,
    ORDER: tl.constexpr,
):
    """Move one stretch and return its bounds [R] of leaving the mode: ``NEVER`` where a group is marked or missing."""
    quiet_R = (group_R < groups) & ~marked(word_R, M, DIFFERENCE)
    kept_RL = kept(word_R, M, L)
    logits_RL = logits_of(stored_RL, word_R, magnitude, M, DIFFERENCE)
    if UPDATE:
        moved_RL = narrowed(stored_RL - scale * gradient(logits_RL, kept_RL, N), values.dtype.element_ty)
        tl.store(values + places(group_R, M, L), moved_RL, mask=inside(quiet_R, M, L))
        logits_RL = logits_of(moved_RL.to(tl.float32), word_R, magnitude, M, DIFFERENCE)
    bound_R1 = leaving(logits_RL, kept_RL)
    if ORDER:
        bound_R1 = tl.where(overtaken(logits_RL, kept_RL), ALWAYS, bound_R1)
    return tl.where(quiet_R, tl.max(bound_R1, axis=1), NEVER)


@triton.jit
def _below(word_R, bound_R):
    """Return whether the random word of each row [R], as a number in [0, 1], is at most its bound."""
    return word_R.to(tl.float32) * 2.3283064365386963e-10 <= bound_R


@triton.jit
def _bits(a_R, b_R, c_R, d_R):
    """Put the flags of the four stretches into the four lowest bits."""
    return a_R.to(tl.int32) + b_R.to(tl.int32) * 2 + c_R.to(tl.int32) * 4 + d_R.to(tl.int32) * 8


@triton.jit
def _append(finds_R, row_R, found, count, capacity, BITS: tl.constexpr):
    """Write one entry for every bit: bit b is slot b // 4 of the row in stretch b % 4."""
    many_R = tl.zeros_like(finds_R)
    for bit in tl.static_range(BITS):
        many_R += (finds_R >> bit) & 1
    start = tl.atomic_add(count, tl.sum(many_R, axis=0).to(tl.int64), sem="relaxed")
    at_R = start + tl.cumsum(many_R, axis=0) - many_R
    for bit in tl.static_range(BITS):
        one_R = (finds_R >> bit) & 1
        entry_R = row_R + (bit % 4) * SHARE + (bit // 4) * SLOT
        tl.store(found + at_R, entry_R, mask=(one_R != 0) & (at_R < capacity))
        at_R += one_R
