"""Accuracy on the same questions: McNemar's exact test, and what it could have detected.

Source: McNemar, "Note on the sampling error of the difference between correlated proportions", Psychometrika 1947;
exact form: a question that exactly one of the two masks answers right is equally likely to be answered by either.
Axes: Q questions, K numbers of dividing questions.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from nmlab.reports.statistics.bootstrap import Bootstrapped
from nmlab.reports.statistics.comparison import Noise, SideComparison
from nmlab.reports.statistics.power import LEVEL, POWER, detectable_by_normal

NEGLIGIBLE = 1e-9


def mcnemar(first: Sequence[bool], *, second: Sequence[bool]) -> float:
    """Return the two-sided exact p-value that two masks answer these questions equally well.

    Raises:
        ValueError: different numbers of outcomes, or none.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"outcomes of the same questions expected but got {len(first)} and {len(second)}")
    only_first, only_second = divided(np.asarray(first, dtype=float), second_Q=np.asarray(second, dtype=float))
    if only_first + only_second == 0:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second, 0.5).pvalue)


def divided(first_Q: npt.NDArray[np.float64], *, second_Q: npt.NDArray[np.float64]) -> tuple[int, int]:
    """Return on how many questions the first did better than the second, and on how many worse."""
    return int((first_Q > second_Q).sum()), int((first_Q < second_Q).sum())


def compare_questions(
    first_Q: npt.NDArray[np.float64], *, second_Q: npt.NDArray[np.float64], found: Bootstrapped
) -> SideComparison:
    """Compare two masks question by question.

    Outcomes that are all right or wrong are compared by McNemar's test. Means over seeds are compared by flipping the
    signs of the questions' differences, of which McNemar's test is the exact form.

    Args:
        first_Q: outcomes of the first side.
        second_Q: outcomes of the second side on the same questions.
        found: the paired bootstrap of the differences, which gives the interval.
    """
    is_binary = all(np.isin(side_Q, (0.0, 1.0)).all() for side_Q in (first_Q, second_Q))
    if is_binary:
        p_value = mcnemar([*(first_Q > 0)], second=[*(second_Q > 0)])
        detectable = detectable_by_questions(sum(divided(first_Q, second_Q=second_Q)), questions=len(first_Q))
    else:
        p_value, detectable = found.p_value, detectable_by_normal(found.error)
    return SideComparison(found.value, found.low, found.high, p_value, detectable, len(first_Q), Noise.QUESTIONS)


@cache
def detectable_by_questions(dividing: int, *, questions: int, level: float = LEVEL, power: float = POWER) -> float:
    """Return the smallest true difference of accuracies that McNemar's exact test detects with this power.

    Args:
        dividing: questions that exactly one of the two masks answered right; the same number is assumed for a
            repetition, or more where the difference needs more.
        questions: all questions.
        level: of the test.
        power: probability of detecting it.

    Returns:
        A difference of accuracies; 1.0 where even the largest is not detected.

    Raises:
        ValueError: no question, or more dividing ones than there are.
    """
    if not 0 <= dividing <= questions or questions < 1:
        raise ValueError(f"{dividing} dividing questions of {questions} are not possible")
    share = dividing / questions

    def shortfall(difference: float) -> float:
        return _power(difference, share=max(share, difference), questions=questions, level=level) - power

    if shortfall(1.0) < 0:
        return 1.0
    return float(optimize.brentq(shortfall, 0.0, 1.0, xtol=1e-6))


def _power(difference: float, *, share: float, questions: int, level: float) -> float:
    """Return the power of the test, summed over the number of dividing questions and the split between the sides."""
    if share == 0:
        return 0.0
    count_K = np.arange(questions + 1)
    weight_K = stats.binom.pmf(count_K, questions, share)
    count_K, weight_K = count_K[weight_K > NEGLIGIBLE], weight_K[weight_K > NEGLIGIBLE]
    most_K = stats.binom.ppf(level / 2, count_K, 0.5) - 1  # the most of the losing side with a significant test
    most_K += 2 * stats.binom.cdf(most_K + 1, count_K, 0.5) < level
    wins = (1 + difference / share) / 2
    found_K = stats.binom.cdf(most_K, count_K, 1 - wins) + stats.binom.cdf(most_K, count_K, wins)
    return float(weight_K @ found_K)
