"""Log-domain dynamic programme over subsets: slow, plain, differentiable; what the fast forms are tested by.

Legend: G groups, M group size, N kept, A subsets of one size, B subsets one item larger, P parents of one B.
"""

from itertools import combinations

import torch
from torch import Tensor


def log_prob(logits_GM: Tensor, mask_GM: Tensor) -> Tensor:
    """Log-probability [G] of the kept sets, by f(B) = sum over i in B of f(B - i) w_i / R(B - i), in logs.

    Work in float64: autograd through it then gives the score to about 1e-13. Time and memory grow as N 2^N.
    """
    n = int(mask_GM[0].sum())
    kept_NG = logits_GM[mask_GM].view(-1, n).t()
    dropped_G = logits_GM.masked_fill(mask_GM, -torch.inf).logsumexp(1)
    log_f_AG = torch.zeros_like(dropped_G).unsqueeze(0)
    for size in range(n):
        smaller, larger = list(combinations(range(n), size)), list(combinations(range(n), size + 1))
        log_step_AG = log_f_AG - _log_remaining(smaller, kept_NG=kept_NG, dropped_G=dropped_G)
        position = {subset: row for row, subset in enumerate(smaller)}
        parent_BP = [[position[subset[:i] + subset[i + 1 :]] for i in range(size + 1)] for subset in larger]
        log_f_AG = (log_step_AG[torch.tensor(parent_BP)] + kept_NG[torch.tensor(larger)]).logsumexp(1)
    return log_f_AG[0]


def _log_remaining(taken: list[tuple[int, ...]], *, kept_NG: Tensor, dropped_G: Tensor) -> Tensor:
    """log R(A) [A, G]: the weight of all that is not in A."""
    waiting = [[item for item in range(len(kept_NG)) if item not in subset] for subset in taken]
    waiting_AG = kept_NG[torch.tensor(waiting)].logsumexp(1)
    return torch.logaddexp(waiting_AG, dropped_G)
