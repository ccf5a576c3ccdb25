"""The random numbers of a mask: every layer has its own stream, keyed by (seed, step, layer, index).

A layer draws from its stream, in this order: the number of points on its units of rate, their positions, the uniforms
that decide about each point and its mask; then a uniform for each of its hot groups, ascending, and the masks of those
that deviate.

Legend: L layers, p points of all layers, N kept; H hot groups, h those of them that deviate.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nmlab.trials.engines.engine import MaskKey
from nmlab.trials.engines.event.rates import UNIT
from nmlab.trials.masks.randomness import keyed_generator


@dataclass(frozen=True, slots=True, eq=False)
class PoissonPoints:
    """Points among the units of all layers, ascending: ``units_p`` int64, with N + 1 uniforms each, float64."""

    units_p: Tensor
    uniform_pU: Tensor


class Streams:
    """The streams of all layers for one mask. Call `poisson_points` before `uniforms`."""

    def __init__(self, key: MaskKey, names: Sequence[str]) -> None:
        self._generators = [keyed_generator(key.seed, key.step, name, key.index) for name in names]

    def poisson_points(self, edges: Sequence[int], *, n: int) -> PoissonPoints:
        """Draw a Poisson process of rate 2^-35 a unit; layer l owns the units from ``edges[l]`` to ``edges[l + 1]``."""
        units, uniforms = [], []
        for generator, low, high in zip(self._generators, edges[:-1], edges[1:], strict=True):
            count = generator.poisson((high - low) * UNIT)
            units.append(np.sort(generator.integers(low, max(high, low + 1), size=count)))
            uniforms.append(generator.random((count, n + 1)))
        return PoissonPoints(torch.from_numpy(np.concatenate(units)), torch.from_numpy(np.concatenate(uniforms)))

    def uniforms(self, counts: Sequence[int], *, width: int | None = None) -> Tensor:
        """Return ``counts[l]`` uniforms of every layer l, in order; [sum] or [sum, width] float64."""
        shapes = [count if width is None else (count, width) for count in counts]
        drawn = [generator.random(shape) for generator, shape in zip(self._generators, shapes, strict=True)]
        return torch.from_numpy(np.concatenate(drawn))
