"""Means and intervals over seeds: the training noise of a configuration.

Seeds are independent replicates, so the interval of a mean is Student's t with n - 1 degrees of freedom
(Student, "The probable error of a mean", Biometrika 1908). One seed has no interval.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class MeanEstimate:
    """A mean with its interval; ``low`` and ``high`` are None for a single value."""

    mean: float
    low: float | None
    high: float | None
    n: int

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval, in the values' own unit."""
        if self.low is None or self.high is None:
            return None
        return (self.high - self.low) / 2

    @property
    def excludes_zero(self) -> bool | None:
        """Whether zero lies outside the interval; None where there is no interval."""
        if self.low is None or self.high is None:
            return None
        return self.low > 0 or self.high < 0


@cache
def t_quantile(n: int, *, confidence: float = CONFIDENCE) -> float:
    """Return the quantile of Student's t that bounds the interval of a mean of ``n`` values, at least two."""
    return float(stats.t.ppf((1 + confidence) / 2, df=n - 1))


def mean_interval(values: Sequence[float], *, confidence: float = CONFIDENCE) -> MeanEstimate:
    """Return the mean of independent replicates and its t-interval.

    Args:
        values: one finite number per replicate, at least one.
        confidence: coverage of the interval, between 0 and 1.

    Raises:
        ValueError: no values, a value that is not finite, or a confidence outside (0, 1).
    """
    _check(values, confidence)
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return MeanEstimate(mean=mean, low=None, high=None, n=1)
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    half = t_quantile(n, confidence=confidence) * math.sqrt(variance / n)
    return MeanEstimate(mean=mean, low=mean - half, high=mean + half, n=n)


def paired_difference(
    after: Sequence[float], *, before: Sequence[float], confidence: float = CONFIDENCE
) -> MeanEstimate:
    """Return the mean of ``after - before`` over pairs and its t-interval.

    Args:
        after: one value per pair, such as the perplexity of the learned mask of each seed.
        before: the other value of the same pairs, such as the perplexity of each seed's own initial mask.
        confidence: coverage of the interval, between 0 and 1.

    Raises:
        ValueError: different lengths, or what :func:`mean_interval` refuses.
    """
    if len(after) != len(before):
        raise ValueError(f"pairs need two values each but got {len(after)} after and {len(before)} before")
    differences = [new - old for new, old in zip(after, before, strict=True)]
    return mean_interval(differences, confidence=confidence)


def _check(values: Sequence[float], confidence: float) -> None:
    if not values:
        raise ValueError("a mean needs at least one value but got none")
    bad = [value for value in values if not math.isfinite(value)]
    if bad:
        raise ValueError(f"a mean needs finite values but got {bad[0]} among {len(values)}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence lies between 0 and 1 but got {confidence}")
