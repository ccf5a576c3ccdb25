"""Two configurations without common seeds: Welch's t-test, which assumes neither pairs nor equal spreads.

Source: Welch, "The generalization of 'Student's' problem when several different population variances are involved",
Biometrika 1947.
"""

import math
from collections.abc import Sequence

from scipy import stats

from nmlab.reports.statistics.comparison import Noise, SideComparison
from nmlab.reports.statistics.intervals import CONFIDENCE
from nmlab.reports.statistics.power import detectable_by_error

NEGLIGIBLE = 1e-12
"""A standard error, or a difference, of at most this share of the means is rounding."""


def compare_unpaired(first: Sequence[float], *, second: Sequence[float]) -> SideComparison:
    """Compare the means of two independent samples; ``n`` counts the values of both.

    Raises:
        ValueError: fewer than two values of one side, or a value that is not finite.
    """
    own, other = _mean_and_square_error(first), _mean_and_square_error(second)
    difference, error = own[0] - other[0], math.sqrt(own[1] + other[1])
    n = len(first) + len(second)
    rounding = NEGLIGIBLE * max(abs(own[0]), abs(other[0]))
    if error <= rounding:
        p_value = 1.0 if abs(difference) <= rounding else 0.0
        return SideComparison(difference, difference, difference, p_value, 0.0, n, Noise.TRAINING)
    degrees = _degrees((own[1], len(first)), (other[1], len(second)))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, df=degrees)) * error
    p_value = float(2 * stats.t.sf(abs(difference) / error, df=degrees))
    detectable = detectable_by_error(error, degrees=degrees)
    return SideComparison(difference, difference - half, difference + half, p_value, detectable, n, Noise.TRAINING)


def _mean_and_square_error(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean of a sample and the square of its standard error."""
    n = len(values)
    if n < 2:
        raise ValueError(f"Welch's test needs at least two values of each side but got {n}")
    if not all(map(math.isfinite, values)):
        raise ValueError("Welch's test needs finite values")
    mean = math.fsum(values) / n
    return mean, math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n


def _degrees(*sides: tuple[float, int]) -> float:
    """Return the degrees of freedom after Welch and Satterthwaite, from square errors and numbers of values.

    The result is the same for errors in any unit, so they are scaled by the largest, which keeps squares from
    underflowing.
    """
    largest = max(square for square, _ in sides)
    shares = [(square / largest, n) for square, n in sides]
    total = math.fsum(share for share, _ in shares)
    found = total**2 / math.fsum(share**2 / (n - 1) for share, n in shares)
    return max(found, min(n for _, n in sides) - 1.0)  # never less, but for rounding
