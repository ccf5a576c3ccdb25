"""Set probability and derivative for moderate N by dynamic programming over the 2^N subsets of the kept set.

f(A), the probability that the first |A| draws are exactly A, obeys f(A + i) += f(A) w_i / R(A) with R(A) the
weight of everything not yet drawn, and p = f(S). Every order takes each w_i once, so the weights factor out:
h(A + i) += h(A) / R(A) and p = h(S) prod(w). One level of the recursion (all A of one size) is then a product
with a constant 0/1 matrix, and everything is a sum of positive numbers: nothing cancels.

With b(A) the mirror image of h from S downwards, A is passed through with probability h(A) b(A) / h(S), and
d log p / d logit_i = 1 - w_i sum over A without i of h(A) b(A) / (R(A) h(S)).

Legend: G groups, N kept, A subsets of one size, B subsets one item larger. Weights are relative to the
total weight of the dropped items.
"""

from functools import cache
from itertools import combinations

import torch
from torch import Tensor

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
    rate_by_size = [(waiting_AN @ weight_NG).add_(1.0).reciprocal_() for waiting_AN, _ in levels]
    forward_by_size = _forward(rate_by_size, levels)
    log_prob_G = forward_by_size[-1][0].log() + torch.minimum(log_odds_NG, bounded_NG).sum(0)
    return log_prob_G, 1.0 - weight_NG * _waiting_time(forward_by_size, rate_by_size, levels)


Level = tuple[Tensor, Tensor]


@cache
def _levels(n: int, device: torch.device) -> tuple[Level, ...]:
    """For each size below n: who still waits beside A, [A, N], and which A extend to which B, [B, A]."""
    levels = []
    for size in range(n):
        smaller, larger = list(combinations(range(n), size)), list(combinations(range(n), size + 1))
        waiting_AN = [[float(item not in taken) for item in range(n)] for taken in smaller]
        extends_BA = [[float(set(before) < set(after)) for before in smaller] for after in larger]
        levels.append((_matrix(waiting_AN, device=device), _matrix(extends_BA, device=device)))
    return tuple(levels)


def _matrix(rows: list[list[float]], *, device: torch.device) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64, device=device)


def _forward(rate_by_size: list[Tensor], levels: tuple[Level, ...]) -> list[Tensor]:
    """h(A) for every size from 0 to N, each [A, G]."""
    forward_by_size = [torch.ones_like(rate_by_size[0])]
    for rate_AG, (_, extends_BA) in zip(rate_by_size, levels, strict=True):
        forward_by_size.append(extends_BA @ (forward_by_size[-1] * rate_AG))
    return forward_by_size


def _waiting_time(forward_by_size: list[Tensor], rate_by_size: list[Tensor], levels: tuple[Level, ...]) -> Tensor:
    """Expected time [N, G] for which item i still waits, in exponential clocks, given the kept set."""
    certain_1G = forward_by_size[-1]
    backward_BG = certain_1G.reciprocal()
    waited_NG = torch.zeros_like(levels[0][0].t() @ certain_1G)
    for size in reversed(range(len(levels))):
        waiting_AN, extends_BA = levels[size]
        backward_BG = (extends_BA.t() @ backward_BG).mul_(rate_by_size[size])
        waited_NG += waiting_AN.t() @ (forward_by_size[size] * backward_BG * rate_by_size[size])
    return waited_NG
