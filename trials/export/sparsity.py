"""Find the N:M pattern that a weight follows, by its zeros.

Legend: O outputs, I inputs, G groups of M inputs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.masks.topn import topn

GROUP_SIZES = (2, 4, 8, 16, 32)


@dataclass(frozen=True)
class LayerSparsity:
    """One layer: its share of weights that are not zero, and the tightest pattern it follows, if any."""

    name: str
    density: float
    pattern: Pattern | None


@dataclass(frozen=True)
class Sparsity:
    """A model: the pattern that all its prunable layers follow, if there is one, and each layer by itself."""

    pattern: Pattern | None
    density: float
    layers: tuple[LayerSparsity, ...]

    @property
    def others(self) -> tuple[str, ...]:
        """The layers that follow no pattern at all."""
        return tuple(layer.name for layer in self.layers if layer.pattern is None)


def sparsity(weights_OI: Mapping[str, Tensor]) -> Sparsity:
    """Return the sparsity of the weights [out, in] of all prunable layers, given by name."""
    layers = tuple(_layer(name, weight_OI) for name, weight_OI in weights_OI.items())
    zeros = sum(int((weight_OI == 0).sum()) for weight_OI in weights_OI.values())
    total = sum(weight_OI.numel() for weight_OI in weights_OI.values())
    return Sparsity(_common(list(weights_OI.values())), 1 - zeros / total, layers)


def kept(weight_OI: Tensor, pattern: Pattern) -> Tensor:
    """Return the mask (boolean [out, in]) of a pruned weight: what is not zero.

    A group in which more is zero than the pattern asks is filled up from its first zeros, so that N are kept. Raises
    ``ValueError`` where a group has more than N weights that are not zero.
    """
    most = _most_kept(weight_OI, pattern.m)
    if most > pattern.n:
        raise ValueError(f"a group of {pattern.m} has {most} weights that are not zero; pattern {pattern} keeps fewer")
    return topn((weight_OI != 0).float(), pattern)


def pattern_of_mask(masks: Mapping[str, Tensor]) -> Pattern | None:
    """Return the N:M that every group of every mask keeps exactly, of the smallest M; None where there is none."""
    for m in GROUP_SIZES:
        if any(mask.shape[-1] % m for mask in masks.values()):
            return None
        counts = torch.cat([mask.reshape(-1, m).sum(1) for mask in masks.values()])
        least, most = int(counts.min()), int(counts.max())
        if 1 <= least == most < m:
            return Pattern(least, m)
    return None


def _layer(name: str, weight_OI: Tensor) -> LayerSparsity:
    density = float((weight_OI != 0).float().mean())
    return LayerSparsity(name, density, _common([weight_OI]))


def _common(weights_OI: Sequence[Tensor]) -> Pattern | None:
    """Return the pattern of lowest density, and of these the smallest, that all weights follow."""
    found = []
    for m in GROUP_SIZES:
        if any(weight_OI.shape[-1] % m for weight_OI in weights_OI):
            continue
        n = max(1, *(_most_kept(weight_OI, m) for weight_OI in weights_OI))
        if n < m:
            found.append(Pattern(n, m))
    return min(found, key=lambda pattern: (pattern.density, pattern.m), default=None)


def _most_kept(weight_OI: Tensor, m: int) -> int:
    return int((weight_OI.reshape(-1, m) != 0).sum(1).max())
