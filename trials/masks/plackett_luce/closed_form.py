"""Closed forms for N = 1 and N = 2, any M, that never subtract two nearly equal numbers.

Forming 1 - p, as the textbook formula does, loses about three digits at C = 10 in float32 and all of them
at C = 16; here 1 - p is the sum of the other weights.

Legend: G groups, M group size, N kept. Notation: r the weight of the dropped items, w_i and w_j those of the
kept ones, A_i = r + w_j and A_j = r + w_i what is left beside one of them, S = r + w_i + w_j, D = A_i + A_j.
"""

import math
from functools import reduce

import torch
from torch import Tensor

from nmlab.trials.masks.layout import columns, total

# A kept item that leads or trails all dropped ones by more moves no derivative by more than 1e-17, and the
# products of three such weights stay far inside the range of float32.
_LARGEST_LEAD = 40.0
_LARGEST_WEIGHT = math.exp(_LARGEST_LEAD)


def score_of_one(logits_GM: Tensor, mask_GM: Tensor) -> Tensor:
    """Gradient of log p for N = 1, r/S for the kept item and -w_k/S for a dropped one; [M, G]."""
    weight_MG, kept_MG = _weights(logits_GM, mask_GM)
    dropped_MG = weight_MG - weight_MG * kept_MG
    rest_G, total_G = total(dropped_MG), total(weight_MG)
    return torch.addcmul(dropped_MG.div_(-total_G), kept_MG, rest_G / total_G)


def score_of_two(logits_GM: Tensor, mask_GM: Tensor) -> Tensor:
    """Gradient of log p for N = 2; [M, G].

    From p = w_i w_j / S (1/A_i + 1/A_j): g_i = r A_i (D + w_i) / (S D A_j), with w_j as (w_i w_j) / w_i so
    that one elementwise formula serves both kept items, and -w_k (1/S + D/(A_i A_j) - 2/D) for a dropped one
    (the last difference is at least half of its first term, as D^2 >= 4 A_i A_j). In float32 the components
    are within 1e-6 of the exact ones, and within 5e-6 of their own size however small they are.
    """
    weight_MG, kept_MG = _weights(logits_GM, mask_GM)
    kept_weight_MG = weight_MG * kept_MG
    dropped_MG = weight_MG - kept_weight_MG
    rest_G = total(dropped_MG)
    total_G = total(kept_weight_MG).add_(rest_G)
    product_G = reduce(torch.mul, kept_weight_MG.add_(1.0 - kept_MG).unbind(0))
    both_G = total_G + rest_G
    pull_G = 2.0 / both_G - 1.0 / total_G - both_G / torch.addcmul(product_G, rest_G, total_G)
    # Meaningless at dropped positions, where it may overflow; bounded, so that the mask's zero erases it.
    other_MG = (product_G / weight_MG).clamp_(max=_LARGEST_WEIGHT)
    push_MG = other_MG.add_(rest_G).mul_(weight_MG + both_G).div_(weight_MG + rest_G)
    push_MG.mul_(rest_G / (total_G * both_G))
    return torch.addcmul(dropped_MG.mul_(pull_G), kept_MG, push_MG)


def _weights(logits_GM: Tensor, mask_GM: Tensor) -> tuple[Tensor, Tensor]:
    """e^(logit - largest dropped logit), and the mask as 0 and 1; both [M, G]."""
    logits_MG, kept_MG = columns(logits_GM), columns(mask_GM.view(torch.uint8))
    if logits_MG.dtype in (torch.float16, torch.bfloat16):
        logits_MG = logits_MG.float()
    kept_MG = kept_MG.to(logits_MG.dtype)
    # Arithmetic instead of masked_fill and where, which are not vectorised over bool on the CPU.
    out_of_reach = torch.finfo(logits_MG.dtype).max
    largest_dropped_G = torch.sub(logits_MG, kept_MG, alpha=out_of_reach).amax(0)
    lead_MG = logits_MG.sub_(largest_dropped_G).clamp_(-_LARGEST_LEAD, _LARGEST_LEAD)
    return lead_MG.exp_(), kept_MG


def log_prob_of_one(log_odds_1G: Tensor) -> Tensor:
    """log p = -log(1 + e^-a), precise in both tails; [G]."""
    return -torch.logaddexp(-log_odds_1G[0], log_odds_1G.new_zeros(()))


def log_prob_of_two(log_odds_2G: Tensor) -> Tensor:
    """log p = -log(1 + o), with o = (1 - p) / p the odds against the set; [G].

    With r = 1: o = (1 + 2 w_i + 2 w_j + w_i^2 + w_i w_j + w_j^2) / (w_i w_j (2 + w_i + w_j)), all terms
    positive and summed in logs.
    """
    i_G, j_G = log_odds_2G
    zero_G, log_two = torch.zeros_like(i_G), math.log(2.0)
    above_G = torch.stack([zero_G, i_G + log_two, j_G + log_two, 2 * i_G, i_G + j_G, 2 * j_G]).logsumexp(0)
    below_G = torch.stack([zero_G + log_two, i_G, j_G]).logsumexp(0) + i_G + j_G
    return -torch.logaddexp(above_G - below_G, zero_G)
