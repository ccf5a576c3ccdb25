"""Accuracy on the same questions: McNemar's exact test.

Source: McNemar, "Note on the sampling error of the difference between correlated proportions", Psychometrika 1947;
exact form: of the questions that exactly one of the two answers right, each is equally likely to have either.
"""

from collections.abc import Sequence

from scipy import stats


def mcnemar(first: Sequence[bool], *, second: Sequence[bool]) -> float:
    """Return the two-sided exact p-value that two masks answer these questions equally well.

    Raises:
        ValueError: different numbers of answers, or none.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"answers to the same questions expected but got {len(first)} and {len(second)}")
    only_first = sum(bool(a) and not b for a, b in zip(first, second, strict=True))
    only_second = sum(bool(b) and not a for a, b in zip(first, second, strict=True))
    if only_first + only_second == 0:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second, 0.5).pvalue)
