"""Logits from the scores or the mask of a one-shot method: pure functions of one layer.

Legend: G groups of one layer, M group size.
"""

import torch
from torch import Tensor

# Scores below this share of the layer's mean count as so large. A score of 0 has no logarithm, and one dead input must
# not set the spread of a layer.
_SMALLEST_SHARE = 1e-4
_SMALLEST_KEPT = 1e-30


def logits_of_scores(scores_GM: Tensor, *, unit_spread: bool = True) -> Tensor:
    """Return the logarithm of the scores less its mean in every group, of unit standard deviation over the layer.

    The order within a group is that of the scores, apart from those below 1e-4 of the layer's mean, which become equal.

    Args:
        scores_GM: [G, M] finite, >= 0.
        unit_spread: false leaves the standard deviation as it is.

    Returns:
        float32 [G, M]; zero where all scores of the layer are equal.
    """
    scores_GM = scores_GM.float()
    floor = float(scores_GM.mean(dtype=torch.float64)) * _SMALLEST_SHARE
    # The smallest number keeps the logarithm finite in a layer of zeros.
    logarithm_GM = scores_GM.clamp(min=max(floor, torch.finfo(torch.float32).tiny)).log_()
    return _centred(logarithm_GM, unit_spread=unit_spread)


def logits_of_mask(mask_GM: Tensor, *, unit_spread: bool = True) -> Tensor:
    """Return the mask less its mean in every group, of unit standard deviation: two values, float32 [G, M].

    Without ``unit_spread`` they are 1 apart.
    """
    return _centred(mask_GM.float(), unit_spread=unit_spread)


def rearranged(sizes_GM: Tensor, mask_GM: Tensor) -> Tensor:
    """Return the sizes of each group in another order: its N largest stand where the mask keeps, the others elsewhere.

    On either side the order is that of the sizes. A kept one is larger than a dropped one by at least 1e-6 of itself,
    so that the N largest are the mask also where sizes are equal, or zero.

    Args:
        sizes_GM: [G, M] finite, >= 0.
        mask_GM: boolean [G, M].

    Returns:
        float32 [G, M].
    """
    sizes_GM = sizes_GM.float()
    by_size_GM = sizes_GM.argsort(dim=1, descending=True, stable=True)
    kept_GM = mask_GM.gather(1, by_size_GM).to(torch.uint8)
    places_GM = by_size_GM.gather(1, kept_GM.argsort(dim=1, descending=True, stable=True))
    given_GM = torch.empty_like(sizes_GM).scatter_(1, places_GM, sizes_GM.gather(1, by_size_GM))
    return torch.where(mask_GM, given_GM.clamp(min=_SMALLEST_KEPT).mul_(1 + 1e-6), given_GM)


def _centred(values_GM: Tensor, *, unit_spread: bool) -> Tensor:
    centred_GM = values_GM - values_GM.mean(dim=1, keepdim=True)
    if not unit_spread:
        return centred_GM
    spread = float(centred_GM.square().mean(dtype=torch.float64).sqrt())
    return centred_GM.div_(spread) if spread > 0 else centred_GM
