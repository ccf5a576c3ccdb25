"""Plackett-Luce of one group in float32: the gradient of log p of a kept set, and a bound on leaving it.

Weights are relative to the largest dropped one. With r the total of the dropped weights, v_i = 1 / (r + w_i) for
each kept item, V their sum, S the total of all weights and D = S + r:

* N = 1: g_i = r v_i for the kept item, -w_k V for a dropped one.
* N = 2: g_i = r v_i^2 (D + w_i) / (S V), and -w_k (1/S + V - 2/D) for a dropped one. These are the closed forms of
  `nmlab.trials.masks.plackett_luce.closed_form`, written so that each position needs its own weight and sums over
  the group alone: D v_i v_j = V has removed every product over the kept items. Nothing cancels: V - 2/D is at least
  V / 2.
* Any N: r V bounds the probability that the kept set is not the one drawn. It is the union bound over the kept items
  of the probability r / (r + w_i) that a dropped item comes before item i.

Legend: R rows (groups), L lanes (positions within a group; those beyond M hold -inf).
"""

import triton
import triton.language as tl

from nmlab.trials.engines.triton.availability import interpreting

# A kept item that leads all dropped ones by more moves no derivative by more than 1e-17, and its square stays far
# inside the range of float32. For the bound, a smaller lead is on the safe side.
LARGEST_LEAD = tl.constexpr(40.0)
# Rounding of weights and sums is below 1e-5; what slips in because of the margin is sorted out in float64.
SAFETY = tl.constexpr(1.0001)
# Triton's own exp and division guard against subnormal numbers, with four instructions for each that does the work, a
# third of the whole pass. Here nothing subnormal matters: weights below 1e-38 are zero, divisors are at least 1.
# The interpreter knows no PTX and takes the plain operations, which agree within 2 ulp.
_PLAIN = tl.constexpr(interpreting())
_LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def _reciprocal(x):
    if _PLAIN:
        return 1.0 / x
    return tl.inline_asm_elementwise("rcp.approx.ftz.f32 $0, $1;", "=f,f", [x], tl.float32, is_pure=True, pack=1)


@triton.jit
def _exp2(x):
    if _PLAIN:
        return tl.exp2(x)
    return tl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=f,f", [x], tl.float32, is_pure=True, pack=1)


@triton.jit
def largest_dropped(logits_RL, kept_RL):
    """Return the largest logit that is not kept, [R, 1]."""
    return tl.max(tl.where(kept_RL, float("-inf"), logits_RL), axis=1, keep_dims=True)


@triton.jit
def _parts(logits_RL, kept_RL):
    """Return w [R, L], v [R, L], r [R, 1] and V [R, 1]."""
    # One rounded multiple of the largest serves the group, so its rounding scales all weights alike.
    zero_R1 = largest_dropped(logits_RL, kept_RL) * _LOG2_E
    weight_RL = _exp2(tl.minimum(logits_RL * _LOG2_E - zero_R1, LARGEST_LEAD * _LOG2_E))
    rest_R1 = tl.sum(tl.where(kept_RL, 0.0, weight_RL), axis=1, keep_dims=True)
    inverse_RL = _reciprocal(rest_R1 + weight_RL)
    return weight_RL, inverse_RL, rest_R1, tl.sum(tl.where(kept_RL, inverse_RL, 0.0), axis=1, keep_dims=True)


@triton.jit
def gradient(logits_RL, kept_RL, N: tl.constexpr):
    """Return the gradient of log p by the logits, [R, L]; meaningless where a row does not keep N."""
    tl.static_assert(N == 1 or N == 2, "closed forms exist for N = 1 and N = 2")
    weight_RL, inverse_RL, rest_R1, inverses_R1 = _parts(logits_RL, kept_RL)
    if N == 1:
        return tl.where(kept_RL, rest_R1 * inverse_RL, -weight_RL * inverses_R1)
    total_R1 = tl.sum(weight_RL, axis=1, keep_dims=True)
    both_R1 = total_R1 + rest_R1
    pull_R1 = _reciprocal(total_R1) + inverses_R1 - 2.0 * _reciprocal(both_R1)
    push_R1 = rest_R1 * _reciprocal(total_R1 * inverses_R1)
    push_RL = push_R1 * inverse_RL * ((both_R1 + weight_RL) * inverse_RL)
    return tl.where(kept_RL, push_RL, -weight_RL * pull_R1)


@triton.jit
def leaving(logits_RL, kept_RL):
    """Return an upper bound [R, 1] of the probability that another set is drawn; it may exceed 1."""
    _, _, rest_R1, inverses_R1 = _parts(logits_RL, kept_RL)
    return rest_R1 * inverses_R1 * SAFETY


@triton.jit
def overtaken(logits_RL, kept_RL):
    """Return whether a dropped item of each row [R, 1] has reached a kept one, so that its mode may be another set."""
    least_R1 = tl.min(tl.where(kept_RL, logits_RL, float("inf")), axis=1, keep_dims=True)
    return least_R1 <= largest_dropped(logits_RL, kept_RL)
