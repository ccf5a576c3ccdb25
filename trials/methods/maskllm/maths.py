"""A distribution over all masks of a group (MaskLLM): candidates, the soft mask of a draw, and the prior.

Legend: G groups, M group size, K = C(M, N) candidates.
"""

import math
from functools import cache
from itertools import combinations

import torch
from torch import Tensor

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.masks.layout import chunks


def candidates(pattern: Pattern) -> Tensor:
    """Return every N:M mask of one group, boolean [K, M], in lexicographic order of the kept positions."""
    return _candidates(pattern).clone()


def soft_mask(gate_GK: Tensor, gumbel_GK: Tensor, *, kappa: float, tau: float, pattern: Pattern) -> Tensor:
    """Return the candidates' mean under softmax((kappa gate + gumbel) / tau), [G, M], differentiable in the gates.

    Args:
        gate_GK: [G, K] float32 or float64; the result has its type.
        gumbel_GK: [G, K] standard Gumbel noise.
        kappa: multiplier of the gates, which says how much they weigh against the noise.
        tau: temperature, > 0.
    """
    shares_GK = ((gate_GK * kappa + gumbel_GK) / tau).softmax(dim=1)
    return shares_GK @ _candidates(pattern).to(shares_GK)


def sampled_mask(gate_GK: Tensor, gumbel_GK: Tensor, *, kappa: float, pattern: Pattern) -> Tensor:
    """Return the candidate that wins the draw, boolean [G, M]: ``soft_mask`` as tau falls to 0."""
    parts = chunks(gate_GK.detach(), gumbel_GK)
    return torch.cat([hard_mask(gate_gK * kappa + gumbel_gK, pattern=pattern) for gate_gK, gumbel_gK in parts])


def hard_mask(gate_GK: Tensor, *, pattern: Pattern) -> Tensor:
    """Return the candidate with the largest gate, boolean [G, M]."""
    candidates_KM = _candidates(pattern).to(gate_GK.device)
    return torch.cat([candidates_KM[gate_gK.argmax(dim=1)] for (gate_gK,) in chunks(gate_GK)])


def largest_share(gate_GK: Tensor, *, kappa: float) -> Tensor:
    """Return the probability of the most probable candidate of every group, [G]."""
    return torch.cat([(gate_gK * kappa).softmax(dim=1).amax(dim=1) for (gate_gK,) in chunks(gate_GK)])


def with_prior(gate_GK: Tensor, prior_GM: Tensor, /, *, strength: float, pattern: Pattern) -> Tensor:
    """Return the gates of one layer, raised where a candidate has more weights in common with the prior than average.

    gate + (common - N^2 / M) * std(gates of the layer) * strength; the mean overlap N^2 / M only centres the shift.
    """
    common_GK = prior_GM.to(gate_GK) @ _candidates(pattern).to(gate_GK).T
    return gate_GK + (common_GK - pattern.n**2 / pattern.m) * gate_GK.std() * strength


def with_saliency(gate_GK: Tensor, saliency_GM: Tensor, /, *, strength: float, pattern: Pattern) -> Tensor:
    """Return the gates of one layer, raised by the saliency of what a candidate keeps: as ``with_prior`` with numbers.

    ``saliency_GM`` is centred in every group and of unit spread over the layer; it is scaled to the spread of a mask,
    so that a strength means the same.
    """
    spread = math.sqrt(pattern.density * (1 - pattern.density))
    kept_GK = saliency_GM.to(gate_GK) @ _candidates(pattern).to(gate_GK).T
    return gate_GK + kept_GK * (spread * gate_GK.std() * strength)


@cache
def _candidates(pattern: Pattern) -> Tensor:
    kept_KN = torch.tensor(list(combinations(range(pattern.m), pattern.n)))
    return torch.zeros(pattern.mask_count, pattern.m, dtype=torch.bool).scatter_(1, kept_KN, True)
