"""Set probability and its gradient for any N:M: chooses the algorithm, and extends its result to the whole group.

The probability of a kept set depends on N numbers only, a_i = logit_i - logsumexp(dropped logits) of its
items. With g_i the derivative by a_i, the gradient by the logits is g_i for a kept item and -share_k * sum(g)
for a dropped one, share being the softmax over the dropped items; rows sum to zero whatever the error of g.

Legend: G groups, M group size, N kept; a lower-case letter marks a chunk of the axis.
"""

import torch
from torch import Tensor

from nmlab.trials.masks.layout import chunks, columns, total, write_columns
from nmlab.trials.masks.plackett_luce import quadrature, subset_dp
from nmlab.trials.masks.plackett_luce.closed_form import (
    log_prob_of_one,
    log_prob_of_two,
    score_of_one,
    score_of_two,
)

_CLOSED_SCORES = {1: score_of_one, 2: score_of_two}
_CLOSED_LOG_PROBS = {1: log_prob_of_one, 2: log_prob_of_two}


@torch.no_grad()
def log_prob(logits_GM: Tensor, mask_GM: Tensor, *, n: int | None = None) -> Tensor:
    """Log-probability in nats that N draws without replacement give exactly the kept set.

    Computed in float64 and returned in the dtype of the logits. Not differentiable by autograd: `score` is
    its gradient.

    Args:
        logits_GM: [G, M] finite.
        mask_GM: [G, M] bool, N kept in every row (trusted, see the package).
        n: N, read from the first row when it is not given (which waits for the device).

    Returns:
        [G], zero when N = M.
    """
    n = _kept_count(mask_GM) if n is None else n
    if n in (0, logits_GM.shape[1]):
        return logits_GM.new_zeros(logits_GM.shape[0])
    log_odds_NG, _ = _log_odds(logits_GM, mask_GM, n=n)
    closed = _CLOSED_LOG_PROBS.get(n)
    log_prob_G = closed(log_odds_NG) if closed else _solve(log_odds_NG)[0]
    return log_prob_G.to(logits_GM.dtype)


@torch.no_grad()
def score(logits_GM: Tensor, mask_GM: Tensor, *, n: int | None = None) -> Tensor:
    """Gradient of `log_prob` with respect to the logits.

    N = 1 and 2 use cancellation-free closed forms in the dtype of the logits (float32 for halves), larger N
    float64 inside. Components lie in (-N, 1] and every row sums to zero.

    Args:
        logits_GM: [G, M] finite.
        mask_GM: [G, M] bool, N kept in every row (trusted, see the package).
        n: N, read from the first row when it is not given (which waits for the device).

    Returns:
        [G, M] in the dtype of the logits, contiguous.
    """
    n = _kept_count(mask_GM) if n is None else n
    if n in (0, logits_GM.shape[1]):
        return torch.zeros_like(logits_GM, memory_format=torch.contiguous_format)
    if n not in _CLOSED_SCORES:
        return _solved_score(logits_GM, mask_GM, n=n)
    score_GM = torch.empty_like(logits_GM, memory_format=torch.contiguous_format)
    closed = _CLOSED_SCORES[n]
    for logits_gM, mask_gM, score_gM in chunks(logits_GM, mask_GM, score_GM):
        write_columns(closed(logits_gM, mask_gM), out_GM=score_gM)
    return score_GM


def _kept_count(mask_GM: Tensor) -> int:
    return int(mask_GM[:1].sum())


def _log_odds(logits_GM: Tensor, mask_GM: Tensor, *, n: int) -> tuple[Tensor, Tensor]:
    """[N, G] float64 log weight of each kept item over the dropped total, and their [N, G] positions."""
    index_NG = mask_GM.to(torch.uint8).topk(n, dim=1, sorted=False).indices.t().contiguous()
    wide_MG = columns(logits_GM.double())
    dropped_MG = wide_MG.masked_fill(columns(mask_GM), -torch.inf)
    largest_G = dropped_MG.amax(0)
    dropped_G = total(dropped_MG.sub_(largest_G).exp_()).log_().add_(largest_G)
    return wide_MG.gather(0, index_NG).sub_(dropped_G), index_NG


def _solve(log_odds_NG: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability [G] and derivatives [N, G], chunk by chunk, by the cheapest exact algorithm for N."""
    n = len(log_odds_NG)
    small = n <= subset_dp.LARGEST_N
    solve = subset_dp.solve if small else quadrature.solve
    groups = subset_dp.chunk_groups(n) if small else quadrature.chunk_groups(n)
    parts = [solve(part_Ng) for part_Ng in torch.split(log_odds_NG, groups, dim=1)]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts], dim=1)


def _solved_score(logits_GM: Tensor, mask_GM: Tensor, *, n: int) -> Tensor:
    log_odds_NG, index_NG = _log_odds(logits_GM, mask_GM, n=n)
    kept_NG = _solve(log_odds_NG)[1]
    dropped_MG = columns(logits_GM.double()).masked_fill_(columns(mask_GM), -torch.inf)
    share_MG = dropped_MG.sub_(dropped_MG.amax(0)).exp_()
    score_MG = share_MG.mul_(total(kept_NG).div_(total(share_MG)).neg_())
    return score_MG.scatter_(0, index_NG, kept_NG).t().to(logits_GM.dtype, memory_format=torch.contiguous_format)
