"""The proximal step of ProxSparse's regulariser for 2:4, and its penalty on leaving the original weights.

Legend: G groups, 4 the group size, C contested groups (three or four weights not zero), c those still moving.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.methods.proxsparse.config import unsupported_pattern_reason

_SWEEPS, _TOLERANCE = 100, 1e-9  # the authors sweep as often, and stop at about as small a move


def prox(weight: Tensor, prox_lambda: float, pattern: Pattern) -> Tensor:
    """Lower 1/2 |v - weight|^2 + prox_lambda sum of R over the groups of four along the last axis, as ProxSparse does.

    R(v) = |v1 v2 v3| + |v2 v3 v4| + |v3 v4 v1| + |v4 v1 v2| is zero exactly where at most two of four are not. Of the
    authors' three candidates the best is taken, the sparser one where they tie: the two largest weights; a stationary
    point of the three largest; one of all four. That is the global minimum but in less than one of a thousand groups of
    normal weights, where three are nearly equal. A group's result is its own.

    Args:
        weight: [..., K] float32 or float64, K a multiple of 4.
        prox_lambda: >= 0, in units of 1/weight.

    Raises:
        ValueError: for another pattern than 2:4.
    """
    if reason := unsupported_pattern_reason(pattern):
        raise ValueError(f"prox: {reason}")
    flat_G4 = weight.detach().reshape(-1, 4)
    sizes_G4, order_G4 = flat_G4.abs().sort(dim=1, descending=True, stable=True)
    shrunk_G4 = sizes_G4.clone()
    contested = sizes_G4[:, 2].nonzero().squeeze(1)  # the others are 2-sparse: R is zero where they stand
    shrunk_G4[contested] = _shrink(sizes_G4[contested], prox_lambda)
    restored_G4 = torch.empty_like(flat_G4).scatter_(1, order_G4, shrunk_G4)
    return (restored_G4 * flat_G4.sign()).view(weight.shape)


def anchor_penalty(weight: Tensor, original: Tensor, *, epsilon: float) -> Tensor:
    """Return |weight / (original + epsilon sign(original)) * (weight - original)|^2, sign(0) = 1: a scalar.

    It holds what stays large at its original value and lets go of what falls to zero.
    """
    away_from_zero = torch.where(original < 0, -epsilon, epsilon)
    return (weight / (original + away_from_zero) * (weight - original)).square().sum()


def regularizer(values_G4: Tensor) -> Tensor:
    """Return the regulariser R of every group, [G]: the sum of the products of three of its four absolute values."""
    a, b, c, d = values_G4.abs().unbind(1)
    return a * b * c + b * c * d + c * d * a + d * a * b


def _shrink(sizes_C4: Tensor, prox_lambda: float) -> Tensor:
    """The best of three candidates for sorted sizes, largest first."""
    best_C4 = sizes_C4.clone()
    best_C4[:, 2:] = 0
    lowest_C = _objective(best_C4, sizes_C4, prox_lambda)
    for free in (3, 4):
        candidate_C4 = _stationary_point(sizes_C4, prox_lambda, free=free)
        value_C = _objective(candidate_C4, sizes_C4, prox_lambda)
        better_C = value_C < lowest_C
        best_C4 = torch.where(better_C[:, None], candidate_C4, best_C4)
        lowest_C = torch.where(better_C, value_C, lowest_C)
    return best_C4


def _objective(values_C4: Tensor, sizes_C4: Tensor, prox_lambda: float) -> Tensor:
    return 0.5 * (values_C4 - sizes_C4).square().sum(dim=1) + prox_lambda * regularizer(values_C4)


def _stationary_point(sizes_C4: Tensor, prox_lambda: float, *, free: int) -> Tensor:
    """Coordinate descent from zero over the ``free`` largest, the smallest first; the rest stays zero.

    A group is done when a sweep moves it by less than a billionth of its largest weight, so its result is its own (the
    authors stop all groups at once, by the sum of their moves).
    """
    point_C4 = torch.zeros_like(sizes_C4)
    moving = torch.arange(len(sizes_C4), device=sizes_C4.device)
    for _ in range(_SWEEPS):
        sizes_c4, before_c4 = sizes_C4[moving], point_C4[moving]
        after_c4 = torch.stack(_sweep(sizes_c4.unbind(1), before_c4.unbind(1), prox_lambda, free=free), dim=1)
        point_C4[moving] = after_c4
        moved_c = (after_c4 - before_c4).abs().amax(dim=1) > _TOLERANCE * sizes_c4[:, 0]
        moving = moving[moved_c]
        if not len(moving):
            break
    return point_C4


def _sweep(sizes: Sequence[Tensor], point: Sequence[Tensor], prox_lambda: float, *, free: int) -> list[Tensor]:
    """Set each of the ``free`` coordinates to its minimum given the others."""
    new = list(point)
    for position in reversed(range(free)):
        a, b, c = (new[other] for other in range(4) if other != position)
        new[position] = (sizes[position] - prox_lambda * (a * b + b * c + c * a)).clamp_(min=0)
    return new
