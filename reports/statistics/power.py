"""The smallest difference that a comparison could have detected.

It is the difference at which a two-sided test at 5% is significant in 80% of repetitions, given the observed spread
(Bloom, "Minimum detectable effects", Evaluation Review 1995).
"""

import math
from functools import cache

import numpy as np
from scipy import optimize, stats

LEVEL, POWER = 0.05, 0.8
POINTS = 4000
DECIMALS_OF_DEGREES = 2
"""Degrees of freedom are rounded, so that many tests share a calculation; it moves the result by about 1% at most."""


def detectable_by_t(deviation: float, *, n: int, level: float = LEVEL, power: float = POWER) -> float:
    """Return the smallest true mean that a two-sided one-sample t-test of ``n`` values detects with this power.

    Args:
        deviation: standard deviation of the values (or of the differences of pairs).
        n: number of values, at least two.
        level: of the test.
        power: probability of detecting it.

    Raises:
        ValueError: fewer than two values, or a negative deviation.
    """
    if n < 2:
        raise ValueError(f"power needs at least two values but got {n}")
    if not deviation >= 0:
        raise ValueError(f"a standard deviation cannot be negative but got {deviation}")
    return _noncentrality(n, level, power) * deviation / math.sqrt(n)


def detectable_by_error(error: float, *, degrees: float, level: float = LEVEL, power: float = POWER) -> float:
    """Return the smallest true difference that a two-sided t-test with this standard error detects with this power.

    Args:
        error: standard error of the difference.
        degrees: degrees of freedom, at least one; those of Welch's test are fractions.
        level: of the test.
        power: probability of detecting it.

    Raises:
        ValueError: less than one degree of freedom, or a negative error.
    """
    if not degrees >= 1:
        raise ValueError(f"a t-test needs at least one degree of freedom but got {degrees}")
    if not error >= 0:
        raise ValueError(f"a standard error cannot be negative but got {error}")
    return _noncentrality(round(degrees, DECIMALS_OF_DEGREES) + 1, level, power) * error


def detectable_by_normal(error: float, *, level: float = LEVEL, power: float = POWER) -> float:
    """Return the smallest true difference that a test with this standard error detects with this power."""
    if not error >= 0:
        raise ValueError(f"a standard error cannot be negative but got {error}")
    return float(stats.norm.ppf(1 - level / 2) + stats.norm.ppf(power)) * error


@cache
def _noncentrality(n: float, level: float, power: float) -> float:
    """Return the noncentrality at which the t-test has this power.

    The power is the mean, over the estimated deviation (a chi variable, at midpoints of equal probability), of a
    normal probability; scipy's own noncentral t returns NaN with one degree of freedom.
    """
    quantile = stats.t.ppf(1 - level / 2, df=n - 1)
    scale_P = np.sqrt(stats.chi2.ppf((np.arange(POINTS) + 0.5) / POINTS, df=n - 1) / (n - 1))

    def shortfall(noncentrality: float) -> float:
        above = stats.norm.sf(quantile * scale_P - noncentrality)
        below = stats.norm.cdf(-quantile * scale_P - noncentrality)
        return float((above + below).mean() - power)

    upper = 2.0
    while shortfall(upper) < 0:
        upper *= 2
    return float(optimize.brentq(shortfall, 0.0, upper))
