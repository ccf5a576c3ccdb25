"""The effect of settings: the block design, the regression, their error rates, and the intervals."""

import numpy as np
import pytest
from scipy import stats

from nmlab.reports.statistics.factors import block_effect, regressed_effects


def test_two_values_over_seeds_are_the_paired_t_test():
    value_LS = np.array([[1.0, 2.0, 4.0, 3.0], [1.5, 2.9, 4.2, 3.8]])
    found = block_effect(value_LS)
    expected = stats.ttest_rel(value_LS[1], value_LS[0])
    low, high = expected.confidence_interval()
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.lower, found.upper, found.degrees) == (0, 1, 3)
    assert (found.difference, found.low, found.high) == pytest.approx((0.6, low, high))


def test_the_farthest_two_of_several_values_have_tukeys_interval():
    draw = np.random.default_rng(0)
    covered = rejected = 0
    for _ in range(400):
        seed_S = draw.normal(size=3)
        found = block_effect(seed_S[None] + draw.normal(size=(4, 3)))
        covered += found.low <= 0.0 <= found.high
        rejected += found.p_value < 0.05
    chance = 3 * (400 * 0.05 * 0.95) ** 0.5
    assert covered >= 380 - chance, "although the two were picked as the farthest apart"
    assert rejected <= 20 + chance


@pytest.mark.parametrize("value_LS", [np.ones((3, 1)), np.ones((3, 4)), np.array([[1.0, 1.0], [2.0, 2.0]])])
def test_without_repetition_or_without_chance_there_is_no_test(value_LS):
    assert block_effect(value_LS) is None


def test_a_regression_tells_settings_apart_that_were_not_varied_in_balance():
    draw = np.random.default_rng(1)
    kind = [0, 1, 0, 1, 1, 2, 2, 0, 1, 2, 0, 2]
    rate_N = np.linspace(0.0, 2.0, 12)
    value_N = 0.5 * rate_N + 0.01 * draw.normal(size=12) + np.array([0.0, 0.0, 1.0])[kind]
    of_kind, of_rate = regressed_effects(value_N, settings=[kind, rate_N])
    assert of_kind.upper == 2
    assert of_kind.difference == pytest.approx(1.0, abs=0.05)
    assert of_kind.low <= 1.0 <= of_kind.high
    assert (of_rate.lower, of_rate.upper) == (0, 11)
    assert of_rate.difference == pytest.approx(1.0, abs=0.05)
    assert max(of_kind.p_value, of_rate.p_value) < 1e-6
    assert of_rate.turned.difference == -of_rate.difference
    assert (of_rate.turned.low, of_rate.turned.high) == (-of_rate.high, -of_rate.low)


def test_a_regression_of_one_number_is_the_usual_one():
    draw = np.random.default_rng(2)
    x_N, y_N = draw.normal(size=9), draw.normal(size=9)
    (found,) = regressed_effects(y_N, settings=[x_N])
    expected = stats.linregress(x_N, y_N)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.difference == pytest.approx(expected.slope * (x_N.max() - x_N.min()))


def test_too_few_configurations_and_settings_that_move_together_are_not_told_apart():
    assert regressed_effects(np.array([1.0, 2.0, 4.0, 3.0]), settings=[[0, 1, 0, 1]]) is None
    same = [0, 1] * 5
    assert regressed_effects(np.arange(10.0), settings=[same, same]) is None


def test_the_detectable_effect_is_found_in_four_of_five_studies():
    draw = np.random.default_rng(3)
    noise = [draw.normal(size=(2, 8)) for _ in range(600)]
    size = np.mean([block_effect(values).detectable for values in noise])
    shifted = [block_effect(values + np.array([[0.0], [size]])) for values in noise]
    found = np.mean([effect.low > 0 or effect.high < 0 for effect in shifted])
    assert found == pytest.approx(0.8, abs=0.06)
    assert shifted[0].turned.detectable == shifted[0].detectable
