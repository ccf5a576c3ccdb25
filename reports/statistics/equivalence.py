"""Equivalence tests: whether a difference is small enough to count as none, by two one-sided t-tests.

Source: Schuirmann, "A comparison of the two one-sided tests procedure and the power approach", Journal of
Pharmacokinetics and Biopharmaceutics 1987.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats


def equivalent(first: Sequence[float], *, second: Sequence[float], margin: float) -> float:
    """Return the p-value that the mean difference of pairs lies outside ``(-margin, margin)``.

    Args:
        first: one value a pair.
        second: the other value of the same pairs.
        margin: the largest difference that still counts as none, positive.

    Raises:
        ValueError: fewer than two pairs, different lengths, or a margin that is not positive.
    """
    differences = _differences(first, second, margin)
    if np.ptp(differences) == 0:
        return 0.0 if abs(differences[0]) < margin else 1.0
    above = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(differences, margin, alternative="less").pvalue
    return float(max(above, below))


def beyond(first: Sequence[float], *, second: Sequence[float], margin: float) -> float:
    """Return the two-sided p-value that the mean difference of pairs lies inside ``[-margin, margin]``.

    It is below the level if and only if the interval of the mean difference lies wholly outside the margin. Arguments
    and errors as in :func:`equivalent`.
    """
    differences = _differences(first, second, margin)
    if np.ptp(differences) == 0:
        return 0.0 if abs(differences[0]) > margin else 1.0
    above = stats.ttest_1samp(differences, margin, alternative="greater").pvalue
    below = stats.ttest_1samp(differences, -margin, alternative="less").pvalue
    return float(min(1.0, 2 * min(above, below)))


def _differences(first: Sequence[float], second: Sequence[float], margin: float) -> npt.NDArray[np.float64]:
    if len(first) != len(second) or len(first) < 2:
        raise ValueError(f"equivalence needs at least two pairs but got {len(first)} and {len(second)} values")
    if not margin > 0:
        raise ValueError(f"a margin must be positive but got {margin}")
    return np.subtract(first, second, dtype=np.float64)
