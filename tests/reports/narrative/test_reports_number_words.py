"""Differences and durations in the words of the first screen."""

import pytest

from nmlab.reports.narrative.first_screen.differences import Difference
from nmlab.reports.narrative.first_screen.sentence import duration_text


@pytest.mark.parametrize(
    ("ends", "bracketed", "clause"),
    [
        ((1.033, 1.021, 1.045), "+3.3% [+2.1%, +4.5%]", "has 3.3% higher perplexity"),
        ((0.996, 0.985, 1.008), "−0.4% [−1.5%, +0.8%]", "has 0.4% lower perplexity"),
        ((3.1, 2.9, 3.4), "× 3.10 [× 2.90, × 3.40]", "has 3.10 times the perplexity"),
        ((1.0, 0.9, 1.1), "0% [−10%, +10%]", "has the same perplexity"),
    ],
)
def test_ratios_of_perplexities_are_written_in_percent(ends, bracketed, clause):
    found = Difference("eval/perplexity", *ends)
    assert (found.bracketed, found.clause) == (bracketed, clause)


def test_other_differences_are_written_in_their_unit():
    found = Difference("eval/quiz/acc", -0.0312, -0.05, -0.0124)
    assert found.clause == "has 0.031 lower quiz acc"
    assert found.interval == "95% interval −0.050 to −0.012"


@pytest.mark.parametrize(("seconds", "text"), [(98.4, "98.4 s"), (505.0, "8.42 min"), (18720.0, "5.20 h")])
def test_durations(seconds, text):
    assert duration_text(seconds) == text
