"""Tests and intervals: against scipy, and by simulation of coverage, false discoveries and power."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nmlab.reports.statistics import (
    Noise,
    adjusted,
    compare_constant,
    compare_paired,
    compare_windows,
    detectable_by_normal,
    detectable_by_t,
    mcnemar,
    paired_bootstrap,
)

numbers = st.floats(-100, 100).map(lambda value: round(value, 3))
pairs = st.lists(st.tuples(numbers, numbers), min_size=3, max_size=12)


def skewed(windows: int, *, seed: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Differences of losses over windows of uneven length, skewed to the right."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(50, 150, windows).astype(float)
    return (rng.gamma(1.5, 1.0, windows) - 1.5 + shift) * weights, weights


# --- training noise -------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(pairs)
def test_a_paired_comparison_is_scipys_paired_t_test(values: list[tuple[float, float]]) -> None:
    first, second = [a for a, _ in values], [b for _, b in values]
    found = compare_paired(first, second=second)
    differences = np.subtract(first, second)
    if np.ptp(differences) < 1e-6:
        return
    expected = stats.ttest_rel(first, second)
    interval = expected.confidence_interval()
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-6)
    assert (found.noise, found.n) == (Noise.TRAINING, len(values))


@settings(deadline=None)
@given(pairs, numbers)
def test_swapping_the_sides_turns_the_sign_and_a_common_shift_changes_nothing(
    values: list[tuple[float, float]], shift: float
) -> None:
    first, second = [a for a, _ in values], [b for _, b in values]
    one, other = compare_paired(first, second=second), compare_paired(second, second=first)
    moved = compare_paired([a + shift for a in first], second=[b + shift for b in second])
    assert one.difference == pytest.approx(-other.difference, abs=1e-9)
    assert one.p_value == pytest.approx(other.p_value, abs=1e-9)
    assert moved.difference == pytest.approx(one.difference, abs=1e-9)


def test_a_constant_is_compared_by_a_one_sample_test() -> None:
    values = [3.1, 2.7, 3.4, 2.9]
    expected = stats.ttest_1samp(values, 3.5)
    assert compare_constant(values, constant=3.5).p_value == pytest.approx(expected.pvalue)


def test_one_seed_is_no_test_and_equal_seeds_are_certain() -> None:
    single = compare_constant([2.0], constant=3.0)
    assert (single.difference, single.p_value, single.detectable) == (-1.0, None, None)
    assert single.separated() is None
    assert compare_paired([5.0, 6.0], second=[3.0, 4.0]).p_value == 0.0
    assert compare_paired([5.0, 6.0], second=[5.0, 6.0]).p_value == 1.0
    with pytest.raises(ValueError, match="two values each but got 2 and 1"):
        compare_paired([1.0, 2.0], second=[1.0])


# --- evaluation noise -----------------------------------------------------------------------------------------


def test_the_bootstrap_agrees_with_scipys_bca() -> None:
    values, weights = skewed(80, seed=4, shift=0.2)
    mine = paired_bootstrap(values[:, None], weights_W=weights, draws=20_000)[0]
    theirs = stats.bootstrap(
        (values, weights),
        lambda a, b, axis: a.sum(axis=axis) / b.sum(axis=axis),
        paired=True,
        method="BCa",
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    )
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert mine.low == pytest.approx(theirs.confidence_interval.low, abs=0.03 * width)
    assert mine.high == pytest.approx(theirs.confidence_interval.high, abs=0.03 * width)
    assert mine.error == pytest.approx(theirs.standard_error, rel=0.03)
    assert mine.value == pytest.approx(values.sum() / weights.sum())


def test_the_permutation_test_agrees_with_scipy() -> None:
    values, weights = skewed(40, seed=11, shift=0.3)
    mine = paired_bootstrap(values[:, None], weights_W=weights, draws=20_000)[0]
    theirs = stats.permutation_test(
        (values, np.zeros_like(values)),
        lambda a, b, axis: (a - b).sum(axis=axis),
        permutation_type="samples",
        n_resamples=20_000,
        rng=np.random.default_rng(2),
    )
    assert mine.p_value == pytest.approx(theirs.pvalue, abs=0.015)
    assert 0.01 < mine.p_value < 0.4


def test_columns_share_their_draws_and_repeat_exactly() -> None:
    values, weights = skewed(50, seed=3)
    both = paired_bootstrap(np.stack([values, values], axis=1), weights_W=weights)
    again = paired_bootstrap(values[:, None], weights_W=weights)[0]
    for name in ("value", "low", "high", "p_value"):
        assert getattr(both[0], name) == pytest.approx(getattr(both[1], name), rel=1e-9)
        assert getattr(both[0], name) == pytest.approx(getattr(again, name), rel=1e-9)
    scaled = paired_bootstrap(10 * values[:, None], weights_W=weights)[0]
    assert (scaled.low, scaled.high) == pytest.approx((10 * both[0].low, 10 * both[0].high))


def test_equal_sides_have_an_empty_interval_and_no_evidence() -> None:
    found = paired_bootstrap(np.zeros((20, 1)), weights_W=np.ones(20))[0]
    assert (found.value, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)
    assert compare_windows(found).separated() is False


@pytest.mark.slow
def test_the_bca_interval_covers_the_truth_and_beats_the_plain_one_on_skewed_windows() -> None:
    trials, hits = 400, 0
    for seed in range(trials):
        values, weights = skewed(60, seed=seed)
        found = paired_bootstrap(values[:, None], weights_W=weights, draws=1000, seed=seed)[0]
        hits += found.low <= 0.0 <= found.high
    assert 0.91 <= hits / trials <= 0.98  # 95% plus or minus three standard errors, less a little for 60 windows


@pytest.mark.parametrize(
    ("values", "weights", "message"),
    [
        (np.zeros((9, 1)), np.ones(9), "at least 10 windows but got 9"),
        (np.zeros((12, 1)), np.ones(11), "do not go with 11 weights"),
        (np.full((12, 1), np.nan), np.ones(12), "finite values"),
        (np.zeros((12, 1)), np.zeros(12), "weights must be positive"),
    ],
)
def test_a_bootstrap_of_nonsense_is_refused(values: np.ndarray, weights: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        paired_bootstrap(values, weights_W=weights)


# --- many tests -----------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_adjusted_p_values_are_the_definition_of_benjamini_and_hochberg(p_values: list[float]) -> None:
    order = np.argsort(p_values)
    count = len(p_values)
    raw = [p_values[place] * count / (rank + 1) for rank, place in enumerate(order)]
    expected = np.empty(count)
    for rank, place in enumerate(order):
        expected[place] = min(1.0, min(raw[rank:]))
    assert adjusted(p_values) == pytest.approx(expected.tolist())


def test_missing_tests_do_not_count() -> None:
    assert adjusted([0.01, None, 0.04]) == pytest.approx((0.02, None, 0.04))
    assert adjusted([None]) == (None,)
    with pytest.raises(ValueError, match=r"between 0 and 1 but got 1\.5"):
        adjusted([0.2, 1.5])


@pytest.mark.parametrize("seed", range(3))
def test_under_the_null_false_discoveries_stay_rare(seed: int) -> None:
    """Where nothing is there, any discovery is false, and a table of 20 tests makes one in at most 5% of cases."""
    tables = 2000
    p_values = stats.ttest_1samp(np.random.default_rng(seed).normal(size=(tables, 20, 4)), 0.0, axis=2).pvalue
    found = np.array([[p < 0.05 for p in adjusted(row.tolist())] for row in p_values])
    assert found.any(axis=1).mean() < 0.05 + 4 * np.sqrt(0.05 * 0.95 / tables)
    assert (p_values < 0.05).any(axis=1).mean() > 0.5  # without the correction most tables would


# --- power ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 5, 10, 30])
def test_the_detectable_difference_is_detected_as_often_as_stated(n: int) -> None:
    difference = detectable_by_t(1.0, n=n)
    rng = np.random.default_rng(n)
    p_values = stats.ttest_1samp(rng.normal(difference, 1.0, size=(20_000, n)), 0.0, axis=1).pvalue
    assert (p_values < 0.05).mean() == pytest.approx(0.8, abs=0.012)


def test_detectable_differences_scale_with_the_noise_and_shrink_with_seeds() -> None:
    assert detectable_by_t(3.0, n=3) == pytest.approx(3 * detectable_by_t(1.0, n=3))
    assert detectable_by_t(1.0, n=3) > detectable_by_t(1.0, n=5) > detectable_by_t(1.0, n=50)
    assert detectable_by_t(0.0, n=3) == 0.0
    assert detectable_by_t(1.0, n=2000) == pytest.approx(detectable_by_normal(1 / np.sqrt(2000)), rel=2e-3)
    with pytest.raises(ValueError, match="at least two values but got 1"):
        detectable_by_t(1.0, n=1)
    with pytest.raises(ValueError, match=r"cannot be negative but got -1\.0"):
        detectable_by_normal(-1.0)


# --- questions ------------------------------------------------------------------------------------------------


def test_mcnemar_counts_only_questions_that_divide() -> None:
    first = [True] * 9 + [False] * 2 + [True] * 30 + [False] * 20
    second = [False] * 9 + [True] * 2 + [True] * 30 + [False] * 20
    assert mcnemar(first, second=second) == pytest.approx(stats.binomtest(2, 11, 0.5).pvalue)
    assert mcnemar([True, False], second=[True, False]) == 1.0
    with pytest.raises(ValueError, match="same questions expected but got 1 and 2"):
        mcnemar([True], second=[True, False])
