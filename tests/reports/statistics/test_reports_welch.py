"""Welch's test for sides without common seeds: against scipy, by hand, and by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nmlab.reports.statistics import Noise, compare_unpaired, detectable_by_error

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=8)


def test_by_hand():
    """Means 2 and 5, square errors 1/3 and 5/3: t = -3 / sqrt(2), and 4 / (1/18 + 25/27) degrees of freedom."""
    found = compare_unpaired([1.0, 2.0, 3.0], second=[2.0, 4.0, 6.0, 8.0])
    degrees = 4 / (1 / 18 + 25 / 27)
    assert found.difference == -3.0
    assert found.p_value == pytest.approx(2 * stats.t.sf(3 / math.sqrt(2), df=degrees), rel=1e-12)
    assert found.p_value == pytest.approx(0.0999, abs=1e-4)
    half = 2.7563 * math.sqrt(2)  # the table has 2.776 for 4 degrees and 2.571 for 5
    assert (found.low, found.high) == pytest.approx((-3 - half, -3 + half), abs=1e-3)
    assert (found.n, found.noise) == (7, Noise.TRAINING)


@pytest.mark.filterwarnings("ignore:Precision loss occurred")
@settings(deadline=None, max_examples=30)
@given(VALUES, VALUES)
def test_it_is_scipys_test_and_swapping_flips_the_sign(first, second):
    found, swapped = compare_unpaired(first, second=second), compare_unpaired(second, second=first)
    assert swapped.difference == -found.difference
    assert swapped.p_value == pytest.approx(found.p_value, rel=1e-9, abs=1e-12)
    assert (swapped.low, swapped.high) == pytest.approx((-found.high, -found.low), rel=1e-9, abs=1e-9)
    if min(np.std(first), np.std(second)) > 1e-3:
        theirs = stats.ttest_ind(first, second, equal_var=False)
        assert found.p_value == pytest.approx(theirs.pvalue, rel=1e-6, abs=1e-12)
        interval = theirs.confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-6)


def test_a_sample_against_itself_finds_nothing():
    found = compare_unpaired([70.0, 71.0, 73.0], second=[70.0, 71.0, 73.0])
    assert (found.difference, found.p_value) == (0.0, 1.0)


def test_values_without_spread():
    assert compare_unpaired([3.0, 3.0], second=[3.0, 3.0, 3.0]).p_value == 1.0
    apart = compare_unpaired([3.0, 3.0], second=[4.0, 4.0])
    assert (apart.p_value, apart.low, apart.high) == (0.0, -1.0, -1.0)


@pytest.mark.parametrize(("sizes", "spreads"), [((3, 3), (1.0, 1.0)), ((3, 5), (4.0, 1.0)), ((5, 5), (1.0, 3.0))])
def test_equal_means_are_told_apart_in_at_most_the_stated_share(sizes, spreads):
    rng = np.random.default_rng(11)
    draws = [spread * rng.normal(size=(500, n)) for n, spread in zip(sizes, spreads, strict=True)]
    found = sum(
        compare_unpaired(a, second=b).p_value < 0.05 for a, b in zip(draws[0].tolist(), draws[1].tolist(), strict=True)
    )
    assert stats.binomtest(found, 500, 0.06, alternative="greater").pvalue > 1e-3


def test_the_detectable_difference_is_found_in_four_of_five_cases():
    """With known degrees of freedom: two equal samples of 6 values, 10 degrees."""
    detectable = detectable_by_error(math.sqrt(2 / 6), degrees=10)
    rng = np.random.default_rng(12)
    first, second = rng.normal(size=(4000, 6)), rng.normal(size=(4000, 6)) + detectable
    found = int((stats.ttest_ind(first, second, axis=1).pvalue < 0.05).sum())
    assert stats.binomtest(found, 4000, 0.8).pvalue > 1e-3


@pytest.mark.parametrize("bad", [[1.0], [], [1.0, math.nan], [math.inf, 1.0]])
def test_too_few_or_infinite_values_are_refused(bad):
    with pytest.raises(ValueError, match="Welch's test needs"):
        compare_unpaired(bad, second=[1.0, 2.0])


@pytest.mark.parametrize(("error", "degrees"), [(1.0, 0.5), (-1.0, 3.0), (math.nan, 3.0)])
def test_what_is_no_error_and_no_degree_is_refused(error, degrees):
    with pytest.raises(ValueError, match=r"t-test|standard error"):
        detectable_by_error(error, degrees=degrees)
