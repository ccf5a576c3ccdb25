"""Evidence from one model size: the flips, movement and steps at which MaskPro did best, with uncertainty.

Three coordinates, chosen so that theory expects little change with the number of groups G:

* ``flips``: log of G p(C), the expected number of groups that a step changes;
* ``movement``: log of learning rate x p(C) x steps, how far the logits of one group move in a run, up to the spread
  of the rewards (the policy gradient moves a group only in steps in which it deviates);
* ``steps``: log of the number of steps.

The best place is the mean of all configurations weighted by e^(-(loss - least loss) / scale), where the loss is the
change of the metric from the run's own initial mask, on the log scale for perplexities. It works for grids and for
random search, and lies inside the range tried. Its variance is that of a bootstrap over configurations and, within
each, over seeds, plus a term for the distance between the values tried. Axes: K configurations, B draws, C coordinates.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nmlab.reports.scaling.flips import deviation_probability

COORDINATES = ("flips", "movement", "steps")
DRAWS, SEED = 400, 20260202
FEWEST_MAGNITUDES, FEWEST_RATES = 3, 2
ONE_VALUE = math.log(2.0)  # assumed standard deviation of a coordinate of which one value was tried: a factor of two


@dataclass(frozen=True, slots=True)
class Tried:
    """One configuration: its setting and the change from its initial mask for each seed; lower is better."""

    magnitude: float
    learning_rate: float
    steps: int
    changes: tuple[float, ...]
    run_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelSize:
    """The configurations that were tried on one model at one pattern."""

    model: str
    groups: int
    n: int
    m: int
    tried: tuple[Tried, ...]
    studies: tuple[str, ...] = ()

    def values(self, name: str) -> tuple[float, ...]:
        """Return the distinct values of a setting, ascending."""
        return tuple(sorted({float(getattr(item, name)) for item in self.tried}))


@dataclass(frozen=True, slots=True)
class BestPlace:
    """Where one size did best: mean and variance of each coordinate, and the settings whose best is at an edge."""

    size: ModelSize
    best: Tried
    mean: Mapping[str, float]
    variance: Mapping[str, float]
    at_edge: tuple[str, ...]


def best_place(size: ModelSize, *, draws: int = DRAWS, seed: int = SEED) -> BestPlace:
    """Return where one model size did best.

    Raises:
        ValueError: fewer than three logit magnitudes or two learning rates.
    """
    if len(size.values("magnitude")) < FEWEST_MAGNITUDES or len(size.values("learning_rate")) < FEWEST_RATES:
        raise ValueError("a best place needs at least three logit magnitudes and two learning rates")
    place_KC = np.array([_coordinates(item, size) for item in size.tried])
    rng = np.random.default_rng(seed)
    means_KB = np.stack([_seed_means(item, rng, draws) for item in size.tried])
    rows_BK = rng.integers(0, len(size.tried), size=(draws, len(size.tried)))
    drawn_BC = np.array([_weighted(means_KB[rows_K, draw], place_KC[rows_K]) for draw, rows_K in enumerate(rows_BK)])
    own_K = np.array([np.mean(item.changes) for item in size.tried])
    mean_C = _weighted(own_K, place_KC)
    variance_C = drawn_BC.var(axis=0) + _resolution(size) ** 2
    best = size.tried[int(own_K.argmin())]
    return BestPlace(
        size=size,
        best=best,
        mean=dict(zip(COORDINATES, mean_C.tolist(), strict=True)),
        variance=dict(zip(COORDINATES, variance_C.tolist(), strict=True)),
        at_edge=tuple(name for name in ("magnitude", "learning_rate", "steps") if _is_at_edge(size, best, name)),
    )


def _coordinates(item: Tried, size: ModelSize) -> tuple[float, float, float]:
    share = deviation_probability(item.magnitude, n=size.n, m=size.m)
    return (
        math.log(size.groups * share),
        math.log(item.learning_rate * share * item.steps),
        math.log(item.steps),
    )


def _seed_means(item: Tried, rng: np.random.Generator, draws: int) -> npt.NDArray[np.float64]:
    drawn_BS = rng.choice(np.array(item.changes), size=(draws, len(item.changes)))
    return np.asarray(drawn_BS.mean(axis=1), dtype=np.float64)


def _weighted(loss_K: npt.NDArray[np.float64], place_KC: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the mean place, weighted by how near each loss is to the least; the best quarter weighs most."""
    above_K = loss_K - loss_K.min()
    scale = max(0.5 * float(np.quantile(above_K, 0.25)), 1e-9)
    weight_K = np.exp(-above_K / scale)
    return np.asarray(weight_K @ place_KC / weight_K.sum(), dtype=np.float64)


def _resolution(size: ModelSize) -> npt.NDArray[np.float64]:
    """Return the uncertainty from the gaps between the values tried, as a standard deviation of each coordinate."""
    flips = [math.log(deviation_probability(value, n=size.n, m=size.m)) for value in size.values("magnitude")]
    rates, steps = ([math.log(value) for value in size.values(name)] for name in ("learning_rate", "steps"))
    gaps = [_gap(values) for values in (flips, rates, steps)]
    return np.array([gaps[0], gaps[1], gaps[2]])


def _gap(values: Sequence[float]) -> float:
    if len(values) == 1:
        return ONE_VALUE
    return (max(values) - min(values)) / (len(values) - 1) / math.sqrt(12)


def _is_at_edge(size: ModelSize, best: Tried, name: str) -> bool:
    values = size.values(name)
    return len(values) > 1 and float(getattr(best, name)) in (values[0], values[-1])
