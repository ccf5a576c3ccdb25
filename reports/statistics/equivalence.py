"""Is a difference small enough to count as none? Two one-sided t-tests.

Source: Schuirmann, "A comparison of the two one-sided tests procedure and the power approach", Journal of
Pharmacokinetics and Biopharmaceutics 1987.
"""

from collections.abc import Sequence

import numpy as np
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
    if len(first) != len(second) or len(first) < 2:
        raise ValueError(f"equivalence needs at least two pairs but got {len(first)} and {len(second)} values")
    if not margin > 0:
        raise ValueError(f"a margin must be positive but got {margin}")
    differences = np.subtract(first, second)
    if np.ptp(differences) == 0:
        return 0.0 if abs(differences[0]) < margin else 1.0
    above = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(differences, margin, alternative="less").pvalue
    return float(max(above, below))
