"""The masks of the few groups that may deviate, in float64, for any N of any M.

Item k arrives at the time E_k / w_k, and the N that arrive first are drawn. A group deviates from its mode when the
first dropped item, at t ~ Exp(r), comes before the last kept one; given t, each kept item is still absent with
probability x_k = e^(-w_k t), independently. So the race is run backwards: first t, then who was absent, and only then,
among the absent and the dropped, an ordinary race for the places that are left. No sum over subsets is needed.

Two ways lead to t, both exact. A hot group (bound B = sum_i r / (r + w_i) >= 1) draws t ~ Exp(r). Any other group goes
on only if its first number falls below B. Then t follows the density proportional to r e^(-r t) sum_i x_i: pick i with
weight 1 / (r + w_i) and draw t ~ Exp(r + w_i). It is accepted with probability (1 - prod_k (1 - x_k)) / sum_i x_i,
the share of that density which belongs to a deviation; that is thinning, and its product with B is exactly the
probability of a deviation. One uniform decides on acceptance and on the first absent item alike.

Legend: R rows (groups), L lanes (positions within a group), K lanes again, to compare all pairs.
"""

import triton
import triton.language as tl

from nmlab.trials.engines.triton.kernels.law import largest_dropped
from nmlab.trials.engines.triton.kernels.random import GROUP_BLOCK, LANE_BLOCK, block, first_word, uniform
from nmlab.trials.engines.triton.kernels.rows import kept, lanes, load_stored, load_words, logits_of

# e^600 times any sum of 32 is finite; an item that leads by more is never late.
LARGEST_LEAD = tl.constexpr(600.0)


@triton.jit(do_not_specialize=["total"])
def draw(
    values,
    words,
    rows,
    row_layers,
    layers,
    keys,
    codes,
    total,
    magnitude,
    N: tl.constexpr,
    M: tl.constexpr,
    L: tl.constexpr,
    DIFFERENCE: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Write the mask of every row in ``rows`` as a code, the mode where it does not deviate.

    ``row_layers`` int64 tells each row's layer, ``layers`` int64 [layers, 3] each layer's first row, ``keys`` int64
    [layers, 2] each layer's key.
    """
    at_R = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live_R = at_R < total
    row_R = tl.load(rows + at_R, mask=live_R, other=0)
    layer_R = tl.load(row_layers + at_R, mask=live_R, other=0)
    group_R = (row_R - tl.load(layers + 3 * layer_R)).to(tl.int32)
    key_R = tl.load(keys + 2 * layer_R)
    upper_R = tl.load(keys + 2 * layer_R + 1)
    word_R = load_words(words, row_R, live_R, M, DIFFERENCE)
    kept_RL = kept(word_R, M, L)
    stored_RL = load_stored(values, row_R, live_R, M, L)
    logits_RL = logits_of(stored_RL, word_R, magnitude, M, DIFFERENCE).to(tl.float64)
    drawn_RL = _deviate(logits_RL, kept_RL, key_R, upper_R, group_R, N, M, L)
    code_R = tl.sum(tl.where(drawn_RL, tl.full((1, L), 1, tl.int64) << lanes(L), 0), axis=1)
    tl.store(codes + at_R, code_R.to(codes.dtype.element_ty), mask=live_R)


@triton.jit
def _deviate(logits_RL, kept_RL, key_R, upper_R, group_R, N: tl.constexpr, M: tl.constexpr, L: tl.constexpr):
    """Return the drawn masks [R, L]."""
    refine_R, pick_R = _two_uniforms(key_R, upper_R, group_R, GROUP_BLOCK)
    time_R, absent_R = _two_uniforms(key_R, upper_R, group_R, GROUP_BLOCK + 1)
    leader_R, _ = _two_uniforms(key_R, upper_R, group_R, GROUP_BLOCK + 2)
    late_RL, race_RL = _two_uniforms(key_R[:, None], upper_R[:, None], group_R[:, None], LANE_BLOCK + lanes(L))
    look_R = (first_word(key_R, upper_R, group_R).to(tl.float64) + refine_R) * 2.3283064365386963e-10
    weight_RL = tl.exp(tl.minimum(logits_RL - largest_dropped(logits_RL, kept_RL), LARGEST_LEAD))
    rest_R = tl.sum(tl.where(kept_RL, 0.0, weight_RL), axis=1)
    inverse_RL = tl.where(kept_RL, 1.0 / (rest_R[:, None] + weight_RL), 0.0)
    bound_R = rest_R * tl.sum(inverse_RL, axis=1)
    hot_R = bound_R >= 1.0
    picked_RL = lanes(L) == _pick(inverse_RL, pick_R, L)[:, None]
    rate_R = rest_R + tl.where(hot_R, 0.0, tl.sum(tl.where(picked_RL, weight_RL, 0.0), axis=1))
    time_R = -tl.log(time_R) / rate_R
    absent_RL = tl.where(kept_RL, tl.exp(-weight_RL * time_R[:, None]), 0.0)
    level_R = absent_R * tl.where(hot_R, 1.0, tl.sum(absent_RL, axis=1))
    reached_RL = 1.0 - tl.cumprod(1.0 - absent_RL, axis=1)
    first_R = _first(kept_RL & (reached_RL >= level_R[:, None]), L)
    deviates_R = (hot_R | (look_R < bound_R)) & (first_R < L)
    is_late_RL = (lanes(L) == first_R[:, None]) | ((lanes(L) > first_R[:, None]) & (late_RL < absent_RL))
    in_time_RL = kept_RL & ~is_late_RL
    leads_RL = lanes(L) == _pick(tl.where(kept_RL, 0.0, weight_RL), leader_R, L)[:, None]
    # Those in time take their places, then the dropped item that came at t; the rest have no memory of t.
    arrival_RL = tl.where(in_time_RL, -2.0, tl.where(leads_RL, -1.0, -tl.log(race_RL) / weight_RL))
    arrival_RL = tl.where(lanes(L) < M, arrival_RL, float("inf"))
    return tl.where(deviates_R[:, None], _earliest(arrival_RL, N, L), kept_RL)


@triton.jit
def _two_uniforms(key, upper, group, number):
    """Return two float64 uniforms from one block of a group."""
    a, b, c, d = block(key, upper, group, number)
    return uniform(a, b), uniform(c, d)


@triton.jit
def _first(true_RL, L: tl.constexpr):
    """Return the first lane [R] that is true, L where none is."""
    return tl.min(tl.where(true_RL, lanes(L), L), axis=1)


@triton.jit
def _pick(mass_RL, uniform_R, L: tl.constexpr):
    """Return a lane [R] with probability in proportion to its mass."""
    reached_RL = tl.cumsum(mass_RL, axis=1)
    return _first(reached_RL >= uniform_R[:, None] * tl.max(reached_RL, axis=1)[:, None], L)


@triton.jit
def _earliest(arrival_RL, N: tl.constexpr, L: tl.constexpr):
    """Mark the N smallest of each row [R, L]; of equal ones the lower lane, so that there are never more or fewer."""
    mine_RLK, other_RLK = arrival_RL[:, :, None], arrival_RL[:, None, :]
    lower_RLK = lanes(L)[:, None, :] < lanes(L)[:, :, None]
    before_RLK = (other_RLK < mine_RLK) | ((other_RLK == mine_RLK) & lower_RLK)
    return tl.sum(before_RLK.to(tl.int32), axis=2) < N
