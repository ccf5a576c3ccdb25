"""The power of the test of a winner: how often a search names the configuration that is better than all others.

The test: the configuration with the best mean is compared with every other one by paired t-tests over seeds, corrected
after Holm, and is named when all of them find it better. The power is simulated with fixed draws, so that the same
arguments give the same result. Axes: D draws, C configurations (the better one first), R replicates.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import stats

from nmlab.reports.statistics.power import LEVEL

DRAWS = 4000
SEED = 20260102
BISECTIONS = 40


@dataclass(frozen=True, slots=True)
class _Search:
    """The size of a search: replicates, configurations, and how many of these were stopped early."""

    seeds: int
    configurations: int
    stopped: int

    def __post_init__(self) -> None:
        """Refuse a search in which nothing can be compared."""
        if self.seeds < 2:
            raise ValueError(f"a test needs at least two seeds but got {self.seeds}")
        if self.configurations < 2:
            raise ValueError(f"a winner needs at least two configurations but got {self.configurations}")
        most = self.configurations - 2
        if not 0 <= self.stopped <= most:
            limit = f"at most {most} can be stopped, but got {self.stopped}"
            raise ValueError(f"of {self.configurations} configurations {limit}")


def winner_power(
    margin: float, *, deviation: float, seeds: int, configurations: int, stopped: int = 0, level: float = LEVEL
) -> float:
    """Return the probability that one configuration is named the winner that is better than all others by a margin.

    Args:
        margin: how much better it is, in the unit of the comparison (of a perplexity: its logarithm).
        deviation: standard deviation of a configuration's values over seeds, beyond what a seed does to all of them.
        seeds: replicates of each configuration, at least two; or windows, where nothing is trained.
        configurations: of the search, at least two.
        stopped: how many of them were stopped early and were not separable from the best by then. They count in the
            correction; the best is compared with the others.
        level: of the family of tests.

    Raises:
        ValueError: too few seeds or configurations, too many stopped ones to leave a comparison, or a negative number.
    """
    _check(margin, deviation=deviation)
    search = _Search(seeds, configurations, stopped)
    return _power(margin / deviation, search, level) if deviation else float(margin > 0)


def winner_margin(
    power: float, *, deviation: float, seeds: int, configurations: int, stopped: int = 0, level: float = LEVEL
) -> float:
    """Return the smallest margin at which :func:`winner_power` is at least ``power``; arguments as there.

    Raises:
        ValueError: see :func:`winner_power`, or a power outside (0, 1).
    """
    _check(0.0, deviation=deviation)
    search = _Search(seeds, configurations, stopped)
    if not 0 < power < 1:
        raise ValueError(f"power lies between 0 and 1 but got {power}")
    low, high = 0.0, 1.0
    while _power(high, search, level) < power:
        low, high = high, 2 * high
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        reached = _power(middle, search, level) >= power
        low, high = (low, middle) if reached else (middle, high)
    return high * deviation


def _power(margin: float, search: _Search, level: float) -> float:
    """Return the power at unit deviation; Holm's limits count the stopped ones as tests that found nothing."""
    mean_DC, error_DC = _differences(search.seeds, search.configurations - search.stopped)
    t_DC = (mean_DC + margin) / error_DC
    p_DC = np.sort(2 * stats.t.sf(np.abs(t_DC), df=search.seeds - 1), axis=1)
    limit_C = level / (search.configurations - 1 - np.arange(p_DC.shape[1]))
    return float(((t_DC > 0).all(axis=1) & (p_DC < limit_C).all(axis=1)).mean())


@cache
def _differences(seeds: int, configurations: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return mean and standard error of every other configuration minus the first, draw by draw."""
    rng = np.random.default_rng(SEED)
    means, errors = [], []
    for _ in range(DRAWS // 100):
        value_DCR = rng.normal(size=(100, configurations, seeds))
        apart_DCR = value_DCR[:, 1:] - value_DCR[:, :1]
        means.append(apart_DCR.mean(axis=2))
        errors.append(apart_DCR.std(axis=2, ddof=1) / np.sqrt(seeds))
    return np.concatenate(means), np.concatenate(errors)


def _check(margin: float, *, deviation: float) -> None:
    if margin < 0 or not deviation >= 0:
        raise ValueError(f"margin and deviation cannot be negative but got {margin} and {deviation}")
