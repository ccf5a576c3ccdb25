"""The relaxed draw of N of M without replacement (SUSI, Algorithm 1), and the same draw without relaxation.

Legend: G groups, M group size.
"""

import torch
from torch import Tensor

from nmlab.trials.masks.ranking import keep_largest


def relaxed_mask(logits_GM: Tensor, gumbel_GM: Tensor, tau: float, lam: float, n: int) -> Tensor:
    """Return the soft mask [G, M] of one draw, differentiable in the logits.

    N times over: add softmax(keys / tau) to the mask, then log(1 - softmax) to the keys, which start as
    logits / lam + gumbel. Rows sum to N. A row need not lie in [0, 1]: for N >= 3 the leader of a group may be picked
    twice where the gaps between its keys differ much, at any temperature.

    Args:
        logits_GM: [G, M] finite, float32 or float64; the result has its type.
        gumbel_GM: [G, M] standard Gumbel noise.
        tau: temperature of the keys, > 0.
        lam: divisor of the logits before the noise, > 0.
        n: kept a group, 1 <= n <= M.
    """
    # A shift of a whole group changes nothing but the rounding: near the largest key it is now that of the differences.
    centred_GM = logits_GM - logits_GM.detach().amax(dim=1, keepdim=True)
    keys_GM = (centred_GM / lam + gumbel_GM) / tau
    mask_GM = keys_GM.softmax(dim=1)
    for _ in range(n - 1):
        keys_GM = keys_GM + log_one_minus_softmax(keys_GM) / tau
        mask_GM = mask_GM + keys_GM.softmax(dim=1)
    return mask_GM


def sampled_mask(logits_GM: Tensor, gumbel_GM: Tensor, lam: float, n: int) -> Tensor:
    """Return the mask of the N largest perturbed logits, boolean [G, M]: what the relaxed draw stands for."""
    return keep_largest(logits_GM.detach() / lam + gumbel_GM, n)


def log_one_minus_softmax(keys_GM: Tensor) -> Tensor:
    """Return log(1 - softmax(keys)) [G, M] for M >= 2, without cancellation in value or gradient.

    A share of at most a half is subtracted by log1p; what is left beside the largest share is summed up without it.
    (1 - softmax in float32 is 0 for a leader by 17, and the gradient of its logarithm NaN.)
    """
    leader_GM = torch.zeros_like(keys_GM, dtype=torch.bool).scatter_(1, keys_GM.argmax(dim=1, keepdim=True), True)
    followers_GM = keys_GM.masked_fill(leader_GM, -torch.inf)
    total_G1 = keys_GM.logsumexp(dim=1, keepdim=True)
    beside_leader_G1 = followers_GM.logsumexp(dim=1, keepdim=True)
    beside_follower_GM = torch.log1p(-(followers_GM - total_G1).exp())
    return torch.where(leader_GM, beside_leader_G1 - total_G1, beside_follower_GM)
