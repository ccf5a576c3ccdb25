"""A power law for how a coordinate of the best place changes with the number of groups, with a prior from theory.

    coordinate = a + b log G + scatter between models

The exponent b has a prior from theory. With one model size the proposal has the uncertainty of the prior; with several
sizes the data outweigh the prior as their spread grows. Conjugate normal regression: Bishop, "Pattern Recognition and
Machine Learning", section 3.3, with a flat prior for a.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from nmlab.reports.statistics.intervals import CONFIDENCE

SCATTER = 0.3  # least standard deviation between models of one size, in nats


@dataclass(frozen=True, slots=True)
class Prior:
    """The prior of an exponent from theory: mean, standard deviation, and the reason."""

    mean: float
    deviation: float
    because: str


@dataclass(frozen=True, slots=True)
class Law:
    """A fitted coordinate: level ``a`` at the sizes' mean log groups, exponent ``b``, and their uncertainty."""

    centre: float
    level: float
    exponent: float
    covariance: tuple[tuple[float, float], tuple[float, float]]
    scatter: float
    sizes: int

    def predicted(self, groups: float) -> tuple[float, float]:
        """Return mean and standard deviation of the coordinate of another model with this number of groups."""
        away = math.log(groups) - self.centre
        direction = np.array([1.0, away])
        variance = float(direction @ np.array(self.covariance) @ direction) + self.scatter**2
        return self.level + self.exponent * away, math.sqrt(variance)

    def exponent_interval(self, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Return the central interval of the exponent."""
        half = float(stats.norm.ppf((1 + confidence) / 2)) * math.sqrt(self.covariance[1][1])
        return self.exponent - half, self.exponent + half


def fit_law(
    groups: Sequence[int], *, means: Sequence[float], variances: Sequence[float], prior: Prior, scatter: float = SCATTER
) -> Law:
    """Fit the law to the best places of some model sizes.

    Args:
        groups: of each size.
        means: the coordinate at each size's best place.
        variances: of these.
        prior: of the exponent.
        scatter: least standard deviation between models; a larger one is estimated from three sizes or more.

    Raises:
        ValueError: no size, or lengths that differ.
    """
    if not groups or not len(groups) == len(means) == len(variances):
        raise ValueError(f"a law needs some sizes with a mean and a variance each but got {len(groups)}")
    law = _fitted(groups, means=means, variances=variances, prior=prior, scatter=scatter)
    if len(groups) < 3:
        return law
    left = [
        mean - law.level - law.exponent * (math.log(own) - law.centre) for own, mean in zip(groups, means, strict=True)
    ]
    excess = (math.fsum(value**2 for value in left) - math.fsum(variances)) / (len(groups) - 2)
    wider = math.sqrt(max(scatter**2, excess))
    return _fitted(groups, means=means, variances=variances, prior=prior, scatter=wider)


def _fitted(
    groups: Sequence[int], *, means: Sequence[float], variances: Sequence[float], prior: Prior, scatter: float
) -> Law:
    logs_S = np.log(np.asarray(groups, dtype=np.float64))
    weight_S = 1.0 / (np.asarray(variances) + scatter**2)
    centre = float(weight_S @ logs_S / weight_S.sum())
    design_S2 = np.stack([np.ones_like(logs_S), logs_S - centre], axis=1)
    tight = 1.0 / prior.deviation**2
    precision = design_S2.T @ (weight_S[:, None] * design_S2) + np.diag([0.0, tight])
    covariance = np.linalg.inv(precision)
    level, exponent = covariance @ (design_S2.T @ (weight_S * np.asarray(means)) + np.array([0.0, tight * prior.mean]))
    rows = covariance.tolist()
    return Law(
        centre=centre,
        level=float(level),
        exponent=float(exponent),
        covariance=((rows[0][0], rows[0][1]), (rows[1][0], rows[1][1])),
        scatter=scatter,
        sizes=len(set(groups)),
    )
