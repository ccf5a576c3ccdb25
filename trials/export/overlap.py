"""The overlap of two masks of one model, layer by layer, with the overlap expected by chance.

Legend: p and q the shares of weights that the two masks keep.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nmlab.trials.contract.pattern import Pattern


@dataclass(frozen=True)
class Overlap:
    """Two masks on ``weights`` weights of one layer, or of a whole model.

    ``agreement``: share of weights on which they agree, both keeping or both dropping. ``kept_in_common``: of those
    that the first keeps, the share that the second keeps too. ``same_groups``: share of groups with the very same
    mask, None where the two have different group sizes.
    """

    name: str
    weights: int
    agreement: float
    kept_in_common: float
    same_groups: float | None


@dataclass(frozen=True)
class MaskComparison:
    """Two masks by layer and over the model; ``chance`` is what two independent uniform masks would reach."""

    chance: Overlap
    total: Overlap
    layers: tuple[Overlap, ...]


@dataclass
class _Counts:
    weights: int = 0
    kept: int = 0
    both: int = 0
    agree: int = 0
    groups: int = 0
    same: int = 0

    def __add__(self, other: "_Counts") -> "_Counts":
        return _Counts(*(one + more for one, more in zip(vars(self).values(), vars(other).values(), strict=True)))


def compare(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], *, patterns: tuple[Pattern, Pattern]
) -> MaskComparison:
    """Compare masks (boolean [out, in] by layer); raises ``ValueError`` naming a layer that is not the same in both."""
    if first.keys() != second.keys():
        wrong = sorted(first.keys() ^ second.keys())[0]
        raise ValueError(f"the masks are of different models: layer {wrong!r} is in one of them only")
    for name, mask in first.items():
        if mask.shape != second[name].shape:
            shapes = f"{tuple(mask.shape)} and {tuple(second[name].shape)}"
            raise ValueError(f"the masks are of different models: {name} has the shapes {shapes}")
    m = patterns[0].m if patterns[0].m == patterns[1].m else None
    counts = {name: _count(mask, second[name], m) for name, mask in first.items()}
    layers = tuple(_overlap(name, counted) for name, counted in counts.items())
    return MaskComparison(_chance(*patterns), _overlap("all layers", sum(counts.values(), _Counts())), layers)


def _count(first: Tensor, second: Tensor, m: int | None) -> _Counts:
    equal = first == second
    same = equal.reshape(-1, m).all(1) if m else torch.empty(0, dtype=torch.bool)
    return _Counts(
        weights=first.numel(),
        kept=int(first.sum()),
        both=int((first & second).sum()),
        agree=int(equal.sum()),
        groups=same.numel(),
        same=int(same.sum()),
    )


def _overlap(name: str, counts: _Counts) -> Overlap:
    return Overlap(
        name=name,
        weights=counts.weights,
        agreement=counts.agree / counts.weights,
        kept_in_common=counts.both / counts.kept,
        same_groups=counts.same / counts.groups if counts.groups else None,
    )


def _chance(first: Pattern, second: Pattern) -> Overlap:
    p, q = first.density, second.density
    same = (1 / first.mask_count if first.n == second.n else 0.0) if first.m == second.m else None
    return Overlap("chance", 0, p * q + (1 - p) * (1 - q), q, same)
