"""Set probability and derivative for moderate N by dynamic programming over the 2^N subsets of the kept set.

f(A), the probability that the first |A| draws are exactly A, obeys f(A + i) += f(A) w_i / R(A) with R(A) the
weight of everything not yet drawn, and p = f(S). Every order takes each w_i once, so the weights factor out:
h(A + i) += h(A) / R(A) and p = h(S) prod(w). Everything is a sum of positive numbers: nothing cancels. The sums are
written out term by term, because matrix products add in an order that depends on where a group stands.

With b(A) the mirror image of h from S downwards, A is passed through with probability h(A) b(A) / h(S), and
d log p / d logit_i = 1 - w_i sum over A without i of h(A) b(A) / (R(A) h(S)).

Legend: G groups, N kept, A subsets of one size, B subsets one item larger, T terms of a sum. Weights are relative
to the total weight of the dropped items.
"""

from dataclasses import dataclass
from functools import cache, reduce
from itertools import combinations, pairwise

import torch
from torch import Tensor

from nmlab.trials.masks.layout import total

LARGEST_N = 8
# Products of up to 8 factors 1/(1 + 8 e^80) stay above the smallest normal float64, and an item that leads or
# trails all dropped ones by 80 nats changes no derivative by more than 1e-33.
_LARGEST_LOG_ODDS = 80.0


def chunk_groups(n: int) -> int:
    """Groups to solve at a time: three arrays of 2^n states in about 6 MB."""
    return 1 << (18 - n)


def solve(log_odds_NG: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability [G] and its derivatives [N, G] by the log-odds of the kept items.

    Args:
        log_odds_NG: [N, G] float64, N <= 8: log weight of each kept item over the dropped total.
    """
    levels = _levels(len(log_odds_NG), log_odds_NG.device)
    bounded_NG = log_odds_NG.clamp(-_LARGEST_LOG_ODDS, _LARGEST_LOG_ODDS)
    weight_NG = bounded_NG.exp()
    rate_by_size = [_sum(weight_NG, level.waiting_TA).add_(1.0).reciprocal_() for level in levels]
    forward_by_size = _forward(rate_by_size, levels)
    log_prob_G = forward_by_size[-1][0].log() + total(torch.minimum(log_odds_NG, bounded_NG))
    return log_prob_G, 1.0 - weight_NG * _waiting_time(forward_by_size, rate_by_size, levels)


@dataclass(frozen=True)
class Level:
    """The subsets of one size below N: rows of what is added up, one list of rows for each term."""

    waiting_TA: Tensor  # items beside A
    smaller_TB: Tensor  # subsets that extend to B by one item
    larger_TA: Tensor  # subsets that A extends to
    without_TN: Tensor  # subsets in which an item still waits


@cache
def _levels(n: int, device: torch.device) -> tuple[Level, ...]:
    subsets = [list(combinations(range(n), size)) for size in range(n + 1)]
    return tuple(_level(smaller, larger, n=n, device=device) for smaller, larger in pairwise(subsets))


def _level(smaller: list[tuple[int, ...]], larger: list[tuple[int, ...]], *, n: int, device: torch.device) -> Level:
    def rows(terms: list[list[int]]) -> Tensor:
        return torch.tensor(terms, device=device).t().contiguous()

    return Level(
        waiting_TA=rows([[item for item in range(n) if item not in taken] for taken in smaller]),
        smaller_TB=rows([[row for row, a in enumerate(smaller) if set(a) < set(b)] for b in larger]),
        larger_TA=rows([[row for row, b in enumerate(larger) if set(a) < set(b)] for a in smaller]),
        without_TN=rows([[row for row, taken in enumerate(smaller) if item not in taken] for item in range(n)]),
    )


def _sum(tensor_XG: Tensor, rows_TY: Tensor) -> Tensor:
    """For every Y the sum of T rows, [Y, G], in the same order for every group."""
    return reduce(torch.Tensor.add_, (tensor_XG[rows_Y] for rows_Y in rows_TY))


def _forward(rate_by_size: list[Tensor], levels: tuple[Level, ...]) -> list[Tensor]:
    """h(A) for every size from 0 to N, each [A, G]."""
    forward_by_size = [torch.ones_like(rate_by_size[0])]
    for rate_AG, level in zip(rate_by_size, levels, strict=True):
        forward_by_size.append(_sum(forward_by_size[-1] * rate_AG, level.smaller_TB))
    return forward_by_size


def _waiting_time(forward_by_size: list[Tensor], rate_by_size: list[Tensor], levels: tuple[Level, ...]) -> Tensor:
    """Expected time [N, G] for which item i still waits, in exponential clocks, given the kept set."""
    backward_BG = forward_by_size[-1].reciprocal()
    waited_NG = torch.zeros(len(levels), backward_BG.shape[1], dtype=backward_BG.dtype, device=backward_BG.device)
    for size in reversed(range(len(levels))):
        level = levels[size]
        backward_BG = _sum(backward_BG, level.larger_TA).mul_(rate_by_size[size])
        waited_NG += _sum(forward_by_size[size] * backward_BG * rate_by_size[size], level.without_TN)
    return waited_NG
