"""One comparison of two sides: the difference, its interval, its p-value, and what it could have detected."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from scipy import stats

from nmlab.reports.statistics.bootstrap import Bootstrapped
from nmlab.reports.statistics.intervals import mean_interval, t_quantile
from nmlab.reports.statistics.power import LEVEL, detectable_by_normal, detectable_by_t


class Noise(StrEnum):
    """The replicates of a test: trainings (seeds) or parts of the evaluation (windows, questions)."""

    TRAINING = "seeds"
    EVALUATION = "windows"
    QUESTIONS = "questions"


@dataclass(frozen=True, slots=True)
class SideComparison:
    """First side minus second side.

    ``low``, ``high``, ``p_value`` and ``detectable`` are None where nothing was repeated. ``n`` counts the
    repetitions; ``detectable`` is the smallest difference found in 80% of such studies.
    """

    difference: float
    low: float | None
    high: float | None
    p_value: float | None
    detectable: float | None
    n: int
    noise: Noise

    def separated(self, *, level: float = LEVEL, p_value: float | None = None) -> bool | None:
        """Return whether the sides differ, by ``p_value`` (an adjusted one) or else its own; None where untested."""
        decisive = self.p_value if p_value is None else p_value
        return None if decisive is None else decisive < level

    def as_ratio(self) -> "SideComparison":
        """Return a comparison of logarithms as one of ratios."""
        ends = (self.difference, self.low, self.high, self.detectable)
        ratio, low, high, detectable = (None if end is None else math.exp(end) for end in ends)
        assert ratio is not None
        return replace(self, difference=ratio, low=low, high=high, detectable=detectable)


def compare_paired(first: Sequence[float], *, second: Sequence[float]) -> SideComparison:
    """Compare two configurations seed by seed with a paired t-test (Student 1908).

    Raises:
        ValueError: different lengths, no values, or a value that is not finite.
    """
    if len(first) != len(second):
        raise ValueError(f"pairs need two values each but got {len(first)} and {len(second)}")
    return _over_seeds([a - b for a, b in zip(first, second, strict=True)])


def compare_constant(first: Sequence[float], *, constant: float) -> SideComparison:
    """Compare a trained configuration, seed by seed, with a value that has no seed: a one-sample t-test."""
    return _over_seeds([value - constant for value in first])


def compare_windows(found: Bootstrapped) -> SideComparison:
    """Return the result of the bootstrap over windows as a comparison."""
    return SideComparison(
        found.value,
        found.low,
        found.high,
        found.p_value,
        detectable_by_normal(found.error),
        found.windows,
        Noise.EVALUATION,
    )


def _over_seeds(differences: Sequence[float]) -> SideComparison:
    estimate = mean_interval(differences)
    n, half = estimate.n, estimate.half_width
    if half is None:
        return SideComparison(estimate.mean, None, None, None, None, n, Noise.TRAINING)
    deviation = half * math.sqrt(n) / t_quantile(n)
    error = deviation / math.sqrt(n)
    if error <= 1e-12 * abs(estimate.mean):
        p_value = 1.0 if estimate.mean == 0 else 0.0
    else:
        p_value = float(2 * stats.t.sf(abs(estimate.mean) / error, df=n - 1))
    detectable = detectable_by_t(deviation, n=n)
    return SideComparison(estimate.mean, estimate.low, estimate.high, p_value, detectable, n, Noise.TRAINING)
