"""The 2:4 gradient as the published MaskPro code forms it, to compare with its results (`compat: official`).

The algebra agrees with the exact score; the numbers do not where one probability of a group comes within
about 1e-4 of 1 (its logit leads by 9 or more): the constant added to 1 - p then replaces it, and the leading
logit is pushed by up to -1, the runner-up by +1. `score` is exact there.

Legend: G groups, M = 4.
"""

import torch
from torch import Tensor

_EPSILON = 1e-8


@torch.no_grad()
def official_score(logits_GM: Tensor, mask_GM: Tensor) -> Tensor:
    """Gradient for 2:4 with the official constants: probabilities at least 1e-8, and 1e-8 added to divisors.

    With q = 1 - p and R = 1 / sum over kept of 1/q: dp = m/p + R m/q^2, carried through the softmax.
    Reference: github.com/woodenchild95/Maskpro, train.py at 5125526, in our own words.

    Args:
        logits_GM: [G, 4].
        mask_GM: [G, 4] bool with two kept (trusted).

    Returns:
        [G, 4] in the dtype of the logits.

    Raises:
        ValueError: if M is not 4; the official code knows no other pattern.
    """
    if logits_GM.ndim != 2 or logits_GM.shape[1] != 4:
        shape = tuple(logits_GM.shape)
        raise ValueError(f"official_score: logits of shape {shape}, expected [G, 4] (pattern 2:4 only)")
    kept_GM = mask_GM.to(logits_GM.dtype)
    prob_GM = logits_GM.softmax(1).clamp_(min=_EPSILON)
    other_GM = 1.0 - prob_GM
    ratio_G1 = (kept_GM / (other_GM + _EPSILON)).sum(1, keepdim=True).reciprocal_()
    slope_GM = kept_GM / prob_GM + ratio_G1 * kept_GM / (other_GM.square() + _EPSILON)
    return prob_GM * (slope_GM - (prob_GM * slope_GM).sum(1, keepdim=True))
