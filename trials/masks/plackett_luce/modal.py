"""Score of the most probable mask, for many groups at once, in the transposed layout.

Nearly all groups of a cold run have their most probable mask in every step, and knowing that the kept logits are the
largest allows simpler forms than those for any mask. N = 1 and 2 have closed forms in the dtype of the
logits. For larger N inclusion and exclusion over the subsets A of the kept set S gives, with R the dropped total,

    p = sum over A of (-1)^|A| R / (R + W_A)
    d log p / d logit_i = w_i R / p * sum over A with i of (-1)^(|A|+1) / (R + W_A)^2

in half the arithmetic of the recursion in `subset_dp`. The signs alternate, which would ruin p for an improbable set;
the most probable one has p >= 1 / binomial(M, N), and in float64 the components are then within 1e-9 of the exact ones
for N up to 8. Every sum runs in the same order wherever a group stands.

Legend: g groups, M group size, N kept, A subsets of the kept set as bit masks.
"""

from functools import reduce

import torch
from torch import Tensor

from nmlab.trials.masks.layout import total

LARGEST_N = 8
# A kept item that leads all dropped ones by more has no derivative above 1e-17, and squares stay finite in float32.
_LARGEST_LEAD = 40.0
# Covers the rounding of exp at the largest lead, 40 ulp, and of sums over M <= 32 items, in float32.
_BOUND_SLACK = 1.0 + 5e-5


def modal_score(logits_Mg: Tensor, kept_Mg: Tensor, *, n: int, positions_Ng: Tensor | None = None) -> Tensor:
    """Gradient of log p(mode) by the logits; [M, g] in the dtype of the logits, columns sum to zero.

    Args:
        logits_Mg: [M, g] finite, float32 or float64.
        kept_Mg: [M, g] the mode as 0 and 1 in the dtype of the logits: the N largest logits (trusted).
        n: N < M, at most `LARGEST_N`.
        positions_Ng: [N, g] int64, where ``kept_Mg`` is 1; needed for N > 2.
    """
    # Arithmetic instead of masked_fill and where, which are not vectorised over bool on the CPU.
    out_of_reach = torch.finfo(logits_Mg.dtype).max
    largest_dropped_g = torch.sub(logits_Mg, kept_Mg, alpha=out_of_reach).amax(0)
    lead_Mg = (logits_Mg - largest_dropped_g).clamp_(max=_LARGEST_LEAD)
    if n <= 2:
        return (_score_of_one if n == 1 else _score_of_two)(lead_Mg.exp_(), kept_Mg)
    assert positions_Ng is not None
    return _score_of_many(lead_Mg, kept_Mg, positions_Ng)


def _score_of_one(weight_Mg: Tensor, kept_Mg: Tensor) -> Tensor:
    dropped_Mg = torch.addcmul(weight_Mg, weight_Mg, kept_Mg, value=-1)
    rest_g, total_g = total(dropped_Mg), total(weight_Mg)
    return torch.addcmul(dropped_Mg.div_(-total_g), kept_Mg, rest_g / total_g)


def _score_of_two(weight_Mg: Tensor, kept_Mg: Tensor) -> Tensor:
    """With S the sum of all, P the product of the kept, Q = R S + P and t_i = 1 / (w_i + R):
    g_i = R Q t_i (1 + S t_i) / (S (S + R)), and -w_k (1/S + (S + R)/Q - 2/(S + R)) for a dropped item.

    Q is the product of what is left beside each kept item. The last difference is at least half of its first term.
    """
    kept_weight_Mg = weight_Mg * kept_Mg
    dropped_Mg = weight_Mg - kept_weight_Mg
    rest_g = total(dropped_Mg)
    total_g = total(kept_weight_Mg).add_(rest_g)
    both_g = total_g + rest_g
    kept_product_g = reduce(torch.mul, kept_weight_Mg.add_(1.0).sub_(kept_Mg).unbind(0))
    product_g = torch.addcmul(kept_product_g, rest_g, total_g)
    pull_g = torch.addcdiv(total_g.reciprocal(), both_g, product_g).sub_(both_g.reciprocal().mul_(2.0))
    scale_g = rest_g * product_g / (total_g * both_g)
    late_Mg = weight_Mg.add_(rest_g).reciprocal_()
    push_Mg = (late_Mg * total_g).add_(1.0).mul_(late_Mg).mul_(scale_g)
    return torch.addcmul(push_Mg.mul_(kept_Mg), dropped_Mg, pull_g, value=-1)


def _score_of_many(lead_Mg: Tensor, kept_Mg: Tensor, positions_Ng: Tensor) -> Tensor:
    weight_Mg = lead_Mg.double().exp_()
    kept_Ng = weight_Mg.gather(0, positions_Ng)
    dropped_Mg = torch.addcmul(weight_Mg, weight_Mg, kept_Mg, value=-1)
    rest_g = total(dropped_Mg)
    push_Ng = _push(kept_Ng.div_(rest_g))
    score_Mg = dropped_Mg.mul_(total(push_Ng).div_(rest_g).neg_())
    return score_Mg.scatter_(0, positions_Ng, push_Ng).to(lead_Mg.dtype)


def _push(weight_Ng: Tensor) -> Tensor:
    """d log p / d logit of the kept items, [N, g] float64, from their weights relative to the dropped total."""
    n, groups = weight_Ng.shape
    late_Ag = weight_Ng.new_empty(1 << n, groups)
    late_Ag[0] = 1.0
    for item, weight_g in enumerate(weight_Ng):
        torch.add(late_Ag[: 1 << item], weight_g, out=late_Ag[1 << item : 2 << item])
    late_Ag.reciprocal_()
    probability_g = _alternating(late_Ag)
    squared_Ag = late_Ag.square_()
    # Fold one item after the other, upper half subtracted from lower: row 2^i is then the sum over the sets with i,
    # for the sign of the first subtraction is left out there.
    for item in reversed(range(n)):
        halves = squared_Ag.view(-1, 2, 1 << item, groups)
        halves[:, 0].sub_(halves[:, 1])
    with_item_Ng = torch.stack([squared_Ag[1 << item] for item in range(n)])
    return with_item_Ng.mul_(weight_Ng).div_(probability_g)


def _alternating(term_Ag: Tensor) -> Tensor:
    """Sum over the subsets with the sign of their size, [g]."""
    half = len(term_Ag) // 2
    sum_Ag = term_Ag[:half] - term_Ag[half:]
    while half > 1:
        half //= 2
        sum_Ag[:half].sub_(sum_Ag[half : 2 * half])
    return sum_Ag[0]


def deviation_bound(logits_Mg: Tensor, kept_Mg: Tensor, *, n: int) -> Tensor:
    """A number that is never below the probability that a sampled mask is not the mode; [g], at least 1e-38.

    A dropped item must arrive before the last kept one: q <= R E[T] with E[T] <= H_N / min w_i (H_N the harmonic
    number), equal to q to first order when the kept weights are equal.

    Args:
        logits_Mg: [M, g] finite, float32 or float64.
        kept_Mg: [M, g] N kept items as 0 and 1 in the dtype of the logits, N < M.
    """
    largest_dropped_g = torch.sub(logits_Mg, kept_Mg, alpha=torch.finfo(logits_Mg.dtype).max).amax(0)
    # w for a dropped item, 1/w for a kept one; bounded so that nothing overflows, upwards where it is bounded.
    against_Mg = (logits_Mg - largest_dropped_g).mul_(1.0 - 2.0 * kept_Mg).clamp_(-_LARGEST_LEAD, _LARGEST_LEAD).exp_()
    slowness_Mg = against_Mg * kept_Mg
    rest_g = total(against_Mg.sub_(slowness_Mg))
    return slowness_Mg.amax(0).mul_(rest_g).mul_(_harmonic(n) * _BOUND_SLACK)


def may_have_changed(bound_g: Tensor, *, n: int) -> Tensor:
    """Where a `deviation_bound` allows that the N kept items are no longer the largest; [g] bool.

    A dropped item at least as large as a kept one gives R / min w_i >= 1.
    """
    return bound_g >= _harmonic(n)


def _harmonic(n: int) -> float:
    return sum(1.0 / i for i in range(1, n + 1))
