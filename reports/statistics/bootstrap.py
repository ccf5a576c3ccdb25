"""Paired bootstrap of a ratio of sums over windows: bias-corrected and accelerated (BCa).

Source: Efron, "Better bootstrap confidence intervals", JASA 1987. Paired means that one draw of windows serves
both sides, so what makes a window easy or hard for both cancels. The statistic is ``sum(values) / sum(weights)``
over the drawn windows, for example the difference of two masks' losses per token. Axes: W windows, C comparisons,
B draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import stats

from nmlab.reports.statistics.intervals import CONFIDENCE

Floats: TypeAlias = npt.NDArray[np.float64]

DRAWS = 4000
SEED = 20260101
DRAWS_AT_ONCE = 500
FEWEST_WINDOWS = 10


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """A ratio of sums, its BCa interval, the standard error over draws, and a two-sided permutation p-value.

    ``p_value`` is that of a sign-flip permutation test over windows (exact for a symmetric null distribution; Fisher,
    "The design of experiments", 1935).
    """

    value: float
    low: float
    high: float
    error: float
    p_value: float
    windows: int


def paired_bootstrap(
    values_WC: Floats, *, weights_W: Floats, confidence: float = CONFIDENCE, draws: int = DRAWS, seed: int = SEED
) -> tuple[Bootstrapped, ...]:
    """Return value, interval and p-value of each column; all columns use the same draws of windows.

    Args:
        values_WC: differences of sums, one row a window and one column a comparison.
        weights_W: what the sums are divided by, such as the tokens of each window; positive.
        confidence: coverage of the intervals.
        draws: bootstrap draws, and as many permutations.
        seed: of the random numbers, so that results are reproducible.

    Raises:
        ValueError: fewer than ten windows, lengths that differ, a value that is not finite, or a weight that is
            not positive.
    """
    _check(values_WC, weights_W)
    rng = np.random.default_rng(seed)
    ratios_BC = _drawn_ratios(values_WC, weights_W, draws=draws, rng=rng)
    extreme_C = _permuted_extremes(values_WC, draws, rng)
    observed_C = values_WC.sum(axis=0) / weights_W.sum()
    knife_WC = (values_WC.sum(axis=0) - values_WC) / (weights_W.sum() - weights_W)[:, None]
    found = []
    for column, observed in enumerate(observed_C):
        ratios_B, knife_W = ratios_BC[:, column], knife_WC[:, column]
        low, high = _bca(ratios_B, observed=float(observed), knife_W=knife_W, confidence=confidence)
        error = float(ratios_B.std(ddof=1))
        p_value = (1 + int(extreme_C[column])) / (1 + draws)
        found.append(Bootstrapped(float(observed), low, high, error, p_value, len(weights_W)))
    return tuple(found)


def _drawn_ratios(values_WC: Floats, weights_W: Floats, *, draws: int, rng: np.random.Generator) -> Floats:
    windows = len(weights_W)
    parts = []
    for size in _sizes(draws):
        counts_BW = rng.multinomial(windows, np.full(windows, 1 / windows), size=size).astype(np.float64)
        parts.append((counts_BW @ values_WC) / (counts_BW @ weights_W)[:, None])
    return np.concatenate(parts)


def _permuted_extremes(values_WC: Floats, draws: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Count the random sign patterns whose sum is at least as far from zero as the observed one."""
    observed_C = np.abs(values_WC.sum(axis=0))
    rounding_C = 1e-12 * np.abs(values_WC).sum(axis=0)
    counts_C = np.zeros(values_WC.shape[1], dtype=np.int64)
    for size in _sizes(draws):
        signs_BW = rng.integers(0, 2, size=(size, len(values_WC))).astype(np.float64) * 2 - 1
        counts_C += (np.abs(signs_BW @ values_WC) >= observed_C - rounding_C).sum(axis=0)
    return counts_C


def _bca(draws_B: Floats, *, observed: float, knife_W: Floats, confidence: float) -> tuple[float, float]:
    """Return the BCa interval; where every draw is the same, the interval is that value."""
    if np.ptp(draws_B) <= 1e-12 * max(1.0, abs(observed)):
        return observed, observed
    below = (np.sum(draws_B < observed) + np.sum(draws_B <= observed)) / (2 * len(draws_B))
    bias = stats.norm.ppf(np.clip(below, 0.5 / len(draws_B), 1 - 0.5 / len(draws_B)))
    spread_W = knife_W.mean() - knife_W
    variance = np.sum(spread_W**2)
    acceleration = np.sum(spread_W**3) / (6 * variance**1.5) if variance > 0 else 0.0
    tail = stats.norm.ppf((1 + np.array([-confidence, confidence])) / 2)
    shifted = bias + (bias + tail) / (1 - acceleration * (bias + tail))
    low, high = np.quantile(draws_B, stats.norm.cdf(shifted))
    return float(low), float(high)


def _sizes(draws: int) -> Sequence[int]:
    whole, rest = divmod(draws, DRAWS_AT_ONCE)
    return [DRAWS_AT_ONCE] * whole + [rest] * bool(rest)


def _check(values_WC: Floats, weights_W: Floats) -> None:
    if values_WC.ndim != 2 or len(values_WC) != len(weights_W):
        raise ValueError(f"values of shape {values_WC.shape} do not go with {len(weights_W)} weights")
    if len(weights_W) < FEWEST_WINDOWS:
        raise ValueError(f"a bootstrap needs at least {FEWEST_WINDOWS} windows but got {len(weights_W)}")
    if not np.isfinite(values_WC).all():
        raise ValueError("a bootstrap needs finite values but got nan or infinity")
    if not (np.isfinite(weights_W).all() and (weights_W > 0).all()):
        raise ValueError("weights must be positive and finite")
