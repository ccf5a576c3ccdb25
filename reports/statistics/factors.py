"""The effect of the settings of a study: does the result depend on a setting, and by how much between its values?

Two designs. In a **balanced** one every combination of values ran with the same seeds: the seeds are blocks, and the
other settings are averaged out (randomised block analysis of variance; Box, Hunter and Hunter, "Statistics for
Experimenters", chapter 4). With two values its test is the paired t-test. Otherwise the means of the configurations are
**regressed** on all settings at once by least squares: on text and on numbers with few values as categories, on other
numbers along a straight line. In both the test of a setting is an F-test; the interval between two values of several
is Tukey's, so it holds although the two were picked as the farthest apart.

Axes: N observations, L values of a setting, S seeds, P parameters.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import stats

from nmlab.reports.statistics.intervals import CONFIDENCE
from nmlab.reports.statistics.power import POWER

Floats: TypeAlias = npt.NDArray[np.float64]
FactorValues: TypeAlias = Sequence[int] | Floats
"""The value of a setting in each configuration: the places of categories, or numbers on a scale."""
FEWEST_DEGREES = 3  # of freedom that a regression must leave for its residual
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class FactorEffect:
    """The effect of one setting between two of its values.

    Attributes:
        lower: the place of the value with the lower result; of a straight line the smallest value tried.
        upper: that of the other one.
        difference: result at ``upper`` minus result at ``lower``.
        low: lower end of the interval of the difference.
        high: its upper end.
        p_value: of the setting having no effect at all.
        degrees: of freedom of the residual.
        detectable: the smallest true difference of these two values whose interval leaves out zero in 80% of such
            studies, about: half the interval and the quantile of the power times the standard error (Bloom 1995).
    """

    lower: int
    upper: int
    difference: float
    low: float
    high: float
    p_value: float
    degrees: int
    detectable: float

    @property
    def turned(self) -> "FactorEffect":
        """The same effect in the other direction."""
        return replace(
            self,
            lower=self.upper,
            upper=self.lower,
            difference=-self.difference,
            low=-self.high,
            high=-self.low,
        )


def block_effect(value_LS: Floats) -> FactorEffect | None:
    """Return the effect of a setting in a balanced design; None where nothing is repeated or nothing varies by chance.

    Args:
        value_LS: the result at each value and seed, averaged over the other settings.
    """
    levels, seeds = value_LS.shape
    degrees = (levels - 1) * (seeds - 1)
    if not degrees:
        return None
    mean_L = value_LS.mean(axis=1)
    residual_LS = value_LS - mean_L[:, None] - value_LS.mean(axis=0)[None] + value_LS.mean()
    variance = float((residual_LS**2).sum()) / degrees
    if variance <= (_ROUNDING * max(1.0, float(np.abs(value_LS).max()))) ** 2:
        return None
    between = seeds * float(((mean_L - mean_L.mean()) ** 2).sum()) / (levels - 1)
    p_value = float(stats.f.sf(between / variance, levels - 1, degrees))
    return _between(mean_L, error_LL=_constant(levels, 2 * variance / seeds), p_value=p_value, degrees=degrees)


def regressed_effects(value_N: Floats, *, settings: Sequence[FactorValues]) -> tuple[FactorEffect, ...] | None:
    """Return the effect of each setting by regression; None where too few configurations or too like ones were tried.

    Args:
        value_N: the mean of each configuration.
        settings: the settings, with one value for each configuration.
    """
    blocks = [_columns(setting) for setting in settings]
    design_NP = np.column_stack([np.ones(len(value_N)), *blocks])
    degrees = len(value_N) - design_NP.shape[1]
    if degrees < FEWEST_DEGREES or np.linalg.matrix_rank(design_NP) < design_NP.shape[1]:
        return None
    coefficient_P = np.asarray(np.linalg.lstsq(design_NP, value_N, rcond=None)[0], dtype=np.float64)
    variance = float(((value_N - design_NP @ coefficient_P) ** 2).sum()) / degrees
    if variance <= (_ROUNDING * max(1.0, float(np.abs(value_N).max()))) ** 2:
        return None
    covariance_PP = np.asarray(variance * np.linalg.inv(design_NP.T @ design_NP), dtype=np.float64)
    found, first = [], 1
    for setting, block in zip(settings, blocks, strict=True):
        own = slice(first, first + block.shape[1])
        first = own.stop
        found.append(_of_block(setting, coefficient_P[own], covariance_PP[own, own], degrees))
    return tuple(found)


def _columns(setting: FactorValues) -> Floats:
    """Return the columns of a setting in the design: one for each category but the first, or the number itself."""
    if isinstance(setting, np.ndarray):
        return np.asarray(setting - setting.mean(), dtype=float)[:, None]
    places = np.asarray(setting)
    return np.asarray(places[:, None] == np.arange(1, places.max() + 1)[None], dtype=np.float64)


def _of_block(setting: FactorValues, coefficient_P: Floats, covariance_PP: Floats, degrees: int) -> FactorEffect:
    size = len(coefficient_P)
    explained = float(coefficient_P @ np.linalg.solve(covariance_PP, coefficient_P)) / size
    p_value = float(stats.f.sf(explained, size, degrees))
    if isinstance(setting, np.ndarray):
        ends = (int(np.argmin(setting)), int(np.argmax(setting)))
        width = float(setting[ends[1]] - setting[ends[0]])
        difference, error = width * float(coefficient_P[0]), width * math.sqrt(float(covariance_PP[0, 0]))
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, degrees)) * error
        return _effect(ends, difference, half=half, error=error, p_value=p_value, degrees=degrees)
    mean_L = np.concatenate([[0.0], coefficient_P])
    whole_LL = np.zeros((size + 1, size + 1))
    whole_LL[1:, 1:] = covariance_PP
    own_L = np.diag(whole_LL)
    error_LL = own_L[:, None] + own_L[None] - 2 * whole_LL
    return _between(mean_L, error_LL=error_LL, p_value=p_value, degrees=degrees)


def _between(mean_L: Floats, *, error_LL: Floats, p_value: float, degrees: int) -> FactorEffect:
    """Return the effect between the values with the lowest and the highest mean, with Tukey's interval.

    Args:
        mean_L: the mean at each value.
        error_LL: the variance of each difference of two means.
        p_value: of the setting.
        degrees: of freedom of the residual.
    """
    lower, upper = int(np.argmin(mean_L)), int(np.argmax(mean_L))
    if lower == upper:
        upper = (lower + 1) % len(mean_L)
    difference = float(mean_L[upper] - mean_L[lower])
    error = math.sqrt(max(0.0, float(error_LL[lower, upper])))
    half = _tukey_quantile(len(mean_L), degrees) * error / math.sqrt(2)
    return _effect((lower, upper), difference, half=half, error=error, p_value=p_value, degrees=degrees)


def _effect(
    ends: tuple[int, int], difference: float, *, half: float, error: float, p_value: float, degrees: int
) -> FactorEffect:
    detectable = half + float(stats.t.ppf(POWER, degrees)) * error
    low, high = difference - half, difference + half
    return FactorEffect(*ends, difference, low, high, p_value, degrees, detectable)


@cache
def _tukey_quantile(levels: int, degrees: int) -> float:
    """Return the quantile of the studentised range."""
    if levels == 2:  # the same by definition, and faster
        return float(stats.t.ppf((1 + CONFIDENCE) / 2, degrees)) * math.sqrt(2)
    return float(stats.studentized_range.ppf(CONFIDENCE, levels, degrees))


def _constant(levels: int, variance: float) -> Floats:
    return np.full((levels, levels), variance)
