"""Means and intervals over seeds, against scipy and by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nmlab.reports.statistics import MeanEstimate, mean_interval, paired_difference

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12)


@pytest.mark.filterwarnings("ignore:Precision loss occurred")
@settings(deadline=None)
@given(VALUES, st.floats(0.5, 0.999))
def test_interval_is_scipys_t_interval(values, confidence):
    ours = mean_interval(values, confidence=confidence)
    theirs = stats.ttest_1samp(values, 0.0).confidence_interval(confidence)
    if np.std(values) > 1e-6:  # scipy gives nan for constant values
        assert ours.low == pytest.approx(theirs.low, rel=1e-9, abs=1e-9)
        assert ours.high == pytest.approx(theirs.high, rel=1e-9, abs=1e-9)
    assert ours.mean == pytest.approx(np.mean(values), abs=1e-9)


@pytest.mark.filterwarnings("ignore:Precision loss occurred")
@settings(deadline=None)
@given(VALUES, st.data())
def test_paired_difference_is_scipys_paired_t_interval(after, data):
    before = data.draw(st.lists(st.floats(-1e3, 1e3), min_size=len(after), max_size=len(after)))
    ours = paired_difference(after, before=before)
    if np.std(np.subtract(after, before)) > 1e-6:
        theirs = stats.ttest_rel(after, before).confidence_interval(0.95)
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=1e-9, abs=1e-9)


def test_hand_computed():
    estimate = mean_interval([78.0, 80.0, 82.0])
    assert estimate.mean == 80.0
    assert estimate.half_width == pytest.approx(4.302653 * 2 / math.sqrt(3), rel=1e-6)
    assert (estimate.n, estimate.excludes_zero) == (3, True)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_interval_covers_the_true_mean_as_often_as_it_says(n):
    draws = np.random.default_rng(7).normal(5.0, 2.0, size=(4000, n))
    covered = sum(low <= 5.0 <= high for low, high in ((e.low, e.high) for e in map(mean_interval, draws.tolist())))
    assert stats.binomtest(covered, 4000, 0.95).pvalue > 1e-3


def test_ninety_percent_intervals_cover_less_than_95():
    draws = np.random.default_rng(7).normal(5.0, 2.0, size=(4000, 3)).tolist()
    estimates = [mean_interval(values, confidence=0.9) for values in draws]
    covered = sum(e.low <= 5.0 <= e.high for e in estimates)
    assert stats.binomtest(covered, 4000, 0.9).pvalue > 1e-3
    assert stats.binomtest(covered, 4000, 0.95).pvalue < 1e-3


def test_pairing_removes_what_seeds_share():
    shared = np.random.default_rng(1).normal(100.0, 30.0, size=5)
    before, after = shared.tolist(), (shared - 1.0 + np.array([0.1, -0.1, 0.0, 0.1, -0.1])).tolist()
    assert paired_difference(after, before=before).excludes_zero is True
    assert mean_interval(after).low < mean_interval(before).mean < mean_interval(after).high


def test_one_value_has_no_interval():
    estimate = mean_interval([3.5])
    assert estimate == MeanEstimate(mean=3.5, low=None, high=None, n=1)
    assert estimate.half_width is None
    assert estimate.excludes_zero is None


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0.1, 2.0, True), (-2.0, -0.1, True), (-0.1, 0.1, False), (0.0, 1.0, False)]
)
def test_excludes_zero(low, high, expected):
    assert MeanEstimate(mean=(low + high) / 2, low=low, high=high, n=3).excludes_zero is expected


@pytest.mark.parametrize(
    ("values", "message"),
    [([], "at least one"), ([1.0, math.nan], "finite values but got nan"), ([math.inf], "finite values but got inf")],
)
def test_refuses_what_has_no_mean(values, message):
    with pytest.raises(ValueError, match=message):
        mean_interval(values)


def test_refuses_unequal_pairs_and_bad_confidence():
    with pytest.raises(ValueError, match="got 2 after and 1 before"):
        paired_difference([1.0, 2.0], before=[1.0])
    with pytest.raises(ValueError, match="between 0 and 1 but got 95"):
        mean_interval([1.0, 2.0], confidence=95)
