"""Probabilities with which M independent choices are made so that N are expected: sigmoid(key - threshold).

The threshold of a group solves sum_i sigmoid(key_i - threshold) = N. It is found in terms of what misses: a kept item
(one of the N largest) misses 1 - sigmoid, a dropped one sigmoid, and at the threshold the two sums are equal. As a
function of the threshold the logarithm of their ratio falls with a slope between 1/2 and 2 everywhere, and its value
at the first guess is at most log(1 + sqrt(N (M - N))), so that Newton's steps converge without a bracket. Sums of
positive numbers lose nothing, so that even probabilities of e^-40, and their distances from 1, are right to 1e-12.

Legend: M group size, g groups, N kept, D = M - N dropped. Work is done in the transposed layout [M, g], in float64.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from nmlab.trials.masks.layout import total
from nmlab.trials.masks.topn import ranks_of_columns

# An item that leads or trails the other side by more misses less than e^-40; nothing overflows below.
_LARGEST_LEAD = 80.0
# Infinite keys become numbers that can be subtracted, and equal infinities become equal numbers.
_LARGEST_KEY = 1e150
# In any group of up to 32 the third step is within 1e-3 of the root, the fourth within 1e-7, the fifth within 1e-13.
_ROUGH_STEPS, _EXACT_STEPS = 3, 2


class Inclusion(NamedTuple):
    """The probability of every item, as the N largest keys and the distance from them; both are float64 [M, g]."""

    kept_Mg: Tensor
    """1 for the N largest keys (the lower index where keys are equal), 0 for the others."""
    deviation_Mg: Tensor
    """Probability less ``kept_Mg``: below 0 for the N largest keys, above 0 for the others, never 0."""

    @property
    def probability_Mg(self) -> Tensor:
        """The probabilities; they sum to N."""
        return self.kept_Mg + self.deviation_Mg


def inclusion(keys_Mg: Tensor, n: int) -> Inclusion:
    """Return sigmoid(key - threshold) with the threshold of each group at which N are expected.

    Args:
        keys_Mg: [M, g] real numbers of any float type; infinite ones count as the largest and smallest. A group with a
            NaN becomes NaN.
        n: expected, 1 <= n < M.
    """
    keys_Mg = keys_Mg.double().clamp(-_LARGEST_KEY, _LARGEST_KEY)
    rank_Mg = ranks_of_columns(keys_Mg)
    place_Mg = rank_Mg.long()
    # Where ranks repeat, in a group with NaN, a place stays NaN, and with it the group.
    sorted_Mg = torch.full_like(keys_Mg, torch.nan).scatter_(0, place_Mg, keys_Mg)
    kept_Ng, dropped_Dg = _misses(sorted_Mg[:n], sorted_Mg[n:])
    deviation_Mg = torch.cat([kept_Ng.neg_(), dropped_Dg]).gather(0, place_Mg)
    return Inclusion((rank_Mg < n).to(keys_Mg.dtype), deviation_Mg)


def _misses(kept_Ng: Tensor, dropped_Dg: Tensor) -> tuple[Tensor, Tensor]:
    """Return what every item misses, given the keys of the kept and of the dropped items, largest first.

    An item's lead is by how much it is on its own side of the nearest item of the other side. With x the threshold
    above the highest dropped key, a kept item's odds of missing are e^(x - lead), a dropped one's e^(gap - x - lead).
    """
    lowest_kept_g, highest_dropped_g = kept_Ng[-1], dropped_Dg[0]
    gap_g = (lowest_kept_g - highest_dropped_g).clamp_(max=_LARGEST_LEAD)
    kept_Ng = (highest_dropped_g - kept_Ng).clamp_(min=-_LARGEST_LEAD).exp_()
    dropped_Dg = (dropped_Dg - lowest_kept_g).clamp_(min=-_LARGEST_LEAD).exp_()
    # Exact where all odds are small: the sums of the odds are then the sums of what misses.
    x_g = gap_g.add((total(dropped_Dg) / total(kept_Ng)).log_()).mul_(0.5)
    rough = x_g.float(), gap_g.float(), kept_Ng.float(), dropped_Dg.float()
    x_g = _newton(*rough, steps=_ROUGH_STEPS).double()
    x_g = _newton(x_g, gap_g, kept_Ng, dropped_Dg, steps=_EXACT_STEPS)
    return _miss(kept_Ng, x_g.exp()).miss_Xg, _miss(dropped_Dg, (gap_g - x_g).exp_()).miss_Xg


def _newton(x_g: Tensor, gap_g: Tensor, kept_Ng: Tensor, dropped_Dg: Tensor, *, steps: int) -> Tensor:
    for _ in range(steps):
        kept, dropped = _miss(kept_Ng, x_g.exp()), _miss(dropped_Dg, (gap_g - x_g).exp_())
        kept_sum_g, dropped_sum_g = total(kept.miss_Xg), total(dropped.miss_Xg)
        kept_slope_g = total(kept.hit_Xg.mul_(kept.miss_Xg)).div_(kept_sum_g)
        dropped_slope_g = total(dropped.hit_Xg.mul_(dropped.miss_Xg)).div_(dropped_sum_g)
        x_g = x_g + dropped_sum_g.div_(kept_sum_g).log_().div_(kept_slope_g.add_(dropped_slope_g))
    return x_g


class _Chances(NamedTuple):
    """Of the items of one side: the probabilities to miss and to hit, [N, g] or [D, g]."""

    miss_Xg: Tensor
    hit_Xg: Tensor


def _miss(odds_Xg: Tensor, factor_g: Tensor) -> _Chances:
    odds_Xg = odds_Xg * factor_g
    hit_Xg = (odds_Xg + 1).reciprocal_()
    return _Chances(odds_Xg.mul_(hit_Xg), hit_Xg)
