"""Random numbers inside a kernel: Philox 4x32-10, so that any number is a function of a key and of its own name.

The 128 bits of a layer's key (`nmlab.trials.masks.randomness.key_bits` of seed, step, layer and mask index) are the
generator's 64-bit key and the upper half of its counter; the lower half is the group within the layer and the number
of the draw within the group. No number depends on which program, pipeline stage or kernel launch asks for it.

Four groups, ``SHARE`` apart, share the four words of one block as their first words, so that each thread that computes
a block also owns the four groups. All further numbers of a group come from blocks of its own.

Legend: R rows (groups), L lanes (positions within a group).
"""

import triton
import triton.language as tl

# The draws of a key depend on it: with another distance the same key names another mask.
SHARE = tl.constexpr(128)
# Blocks of a group: 0 is the shared first look, 1 + lane belongs to a position, the others to the whole group.
SHARED_BLOCK = tl.constexpr(0)
LANE_BLOCK = tl.constexpr(1)
GROUP_BLOCK = tl.constexpr(64)


@triton.jit
def block(key, upper, lower, number):
    """Return the four uint32 words of block ``number`` of ``lower``; ``key`` and ``upper`` are the halves of a key."""
    low = (upper & 0xFFFFFFFF).to(tl.uint32)
    high = ((upper >> 32) & 0xFFFFFFFF).to(tl.uint32)
    zero = lower.to(tl.uint32) * 0
    return tl.philox(key, lower.to(tl.uint32), zero + number, zero + low, zero + high)


@triton.jit
def first_word(key, upper, group):
    """Return the word that a group's first look reads, wherever the group stands among the four that share a block."""
    shared = group // (4 * SHARE) * SHARE + group % SHARE
    a, b, c, d = block(key, upper, shared, SHARED_BLOCK)
    which = group // SHARE % 4
    return tl.where(which == 0, a, tl.where(which == 1, b, tl.where(which == 2, c, d)))


@triton.jit
def uniform(high, low):
    """Return (k + 1/2) 2^-52 from two words, float64: never 0, never 1, and the two tails are equally fine."""
    return ((high.to(tl.float64) * 1048576.0 + (low >> 12).to(tl.float64)) + 0.5) * 2.220446049250313e-16
