"""Stopping rules by plain calls: which configurations go on, which are stopped, and that equals never are."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmlab.platform.search.stopping_rules import (
    ConfigurationAtStep,
    Hyperband,
    MedianStopping,
    SuccessiveHalving,
    bracket_parts,
    default_grace_period,
    rungs,
)

RULES = ["asha", "median", "hyperband"]


def at(name, step, loss, *, has_moved=True):
    return ConfigurationAtStep(name, step, loss, has_moved)


def stopped(rule, losses, *, step=10):
    """Return the numbers of the configurations that a rule stops, which reach one step one after the other."""
    return [name for name, loss in enumerate(losses) if rule.falls_behind(at(str(name), step, loss))]


def test_halving_stops_none_of_fewer_than_four():
    assert stopped(SuccessiveHalving((10,)), [1.0, 2.0, 3.0]) == []


def test_halving_lets_the_best_quarter_go_on():
    losses = [5.0, 6.0, 7.0, 8.0, 4.0, 5.5, 3.0, 9.0]
    assert stopped(SuccessiveHalving((10,)), losses) == [3, 5, 7]


def test_halving_says_how_many_are_better():
    rule = SuccessiveHalving((10,))
    for name in "abc":
        rule.falls_behind(at(name, 10, 1.0))
    assert (
        rule.falls_behind(at("d", 10, 2.0)) == "3 of the 4 configurations there are better; only the best one goes on"
    )


def test_halving_compares_a_configuration_once_a_rung_and_not_before():
    rule = SuccessiveHalving((10, 40))
    for name in "abc":
        rule.falls_behind(at(name, 10, 1.0))
    assert not rule.falls_behind(at("d", 5, 9.0))
    assert rule.falls_behind(at("d", 10, 9.0))
    assert not rule.falls_behind(at("d", 20, 9.0))
    for name in "abc":
        rule.falls_behind(at(name, 40, 1.0))
    assert rule.falls_behind(at("d", 40, 9.0))


@given(st.lists(st.floats(1, 100), min_size=1, max_size=30), st.randoms())
def test_the_best_of_a_rung_is_never_stopped(losses, random):
    random.shuffle(losses)
    assert losses.index(min(losses)) not in stopped(SuccessiveHalving((10,)), losses)


@pytest.mark.parametrize("rule", [SuccessiveHalving((10,)), MedianStopping(10), Hyperband((10,))], ids=RULES)
def test_equals_are_never_stopped(rule):
    assert stopped(rule, [3.0] * 20) == []


@pytest.mark.parametrize("rule", [SuccessiveHalving((10,)), MedianStopping(10), Hyperband((10,))], ids=RULES)
def test_configurations_that_have_not_moved_from_a_better_start_stop_no_other(rule):
    for number in range(6):
        assert not rule.falls_behind(at(f"still-{number}", 10, 1.0, has_moved=False))
    assert not rule.falls_behind(at("learning", 10, 2.0))


def test_a_configuration_that_has_not_moved_is_stopped_by_those_that_have():
    for rule in (SuccessiveHalving((10,)), MedianStopping(10)):
        for number in range(4):
            rule.falls_behind(at(str(number), 10, 1.0))
        assert rule.falls_behind(at("still", 10, 2.0, has_moved=False))


@pytest.mark.parametrize("rule", [SuccessiveHalving((10,)), MedianStopping(10), Hyperband((10,))], ids=RULES)
def test_a_configuration_of_which_a_seed_diverged_is_worse_than_any(rule):
    assert stopped(rule, [9.0, 8.0, 7.0, 6.0, math.inf]) == [4]


def test_the_median_rule_waits_for_three_others_that_came_as_far():
    rule = MedianStopping(10)
    assert stopped(rule, [1.0, 1.0]) == []
    rule.falls_behind(at("c", 5, 1.0))
    assert not rule.falls_behind(at("d", 10, 9.0))
    rule.falls_behind(at("c", 10, 1.0))
    assert rule.falls_behind(at("e", 10, 9.0)) == "its best is worse than the median of 4 other configurations"


def test_the_median_rule_compares_the_best_so_far_with_averages_after_the_grace_period():
    rule = MedianStopping(10)
    for name, early, late in (("a", 100.0, 2.0), ("b", 100.0, 4.0), ("c", 100.0, 6.0)):
        rule.falls_behind(at(name, 5, early))
        rule.falls_behind(at(name, 10, late))
    assert not rule.falls_behind(at("d", 10, 4.0))
    assert rule.falls_behind(at("e", 10, 4.1))
    assert not rule.falls_behind(at("f", 5, 50.0))


def test_the_brackets_of_hyperband_have_the_parts_of_algorithm_1():
    """For a reduction of 3 and 4 rungs: table 1 of Li et al. 2018 has 81, 34, 15, 8 and 5 configurations."""
    assert bracket_parts(4, reduction=3) == (81, 34, 15, 8, 5)
    assert bracket_parts(1) == (4, 2)
    assert bracket_parts(0) == (1,)


def test_configurations_join_the_brackets_in_these_parts_by_their_first_comparison():
    rule = Hyperband((10,))
    for name in range(12):
        rule.falls_behind(at(str(name), 10, 1.0))
    assert [rule._bracket_of[str(name)] for name in range(12)].count(0) == 8
    before = dict(rule._bracket_of)
    rule.falls_behind(at("0", 40, 1.0))
    assert rule._bracket_of == before


def test_hyperband_compares_within_a_bracket_and_lets_the_last_bracket_run():
    rule = Hyperband((10, 40))
    losses = [float(name) for name in range(40)]
    ends = stopped(rule, losses)
    assert ends
    assert all(rule._bracket_of[str(name)] == 0 for name in ends), "only the first bracket compares at step 10"
    late = [name for name, loss in enumerate(losses) if rule.falls_behind(at(str(name), 40, loss))]
    assert {rule._bracket_of[str(name)] for name in late} == {0, 1}
    free = [name for name, bracket in rule._bracket_of.items() if bracket == 2]
    assert free
    assert not set(map(int, free)) & {*ends, *late}


def test_a_curve_that_is_bad_early_and_good_late_survives_in_a_later_bracket():
    """ASHA stops nearly every such curve at the first rung; Hyperband keeps those that joined a later bracket."""
    left = {}
    for rule, name in ((SuccessiveHalving((10, 40)), "asha"), (Hyperband((10, 40)), "hyperband")):
        ends = stopped(rule, [2.0 if number % 2 else 1.0 for number in range(40)])
        left[name] = 20 - sum(number % 2 for number in ends)
    assert left["asha"] < 4 < left["hyperband"]


def test_rungs_lie_between_the_first_and_the_end():
    assert rungs(first=10, end=200) == (10, 40, 160)
    assert rungs(first=10, end=10) == ()


@pytest.mark.parametrize(
    ("steps", "every", "expected"),
    [(2000, 250, 500), (2000, 10, 200), (1000, 100, 200), (400, 200, 200), (100, 30, 60), (10_000, 1500, 3000)],
)
def test_the_grace_period_lies_past_the_start(steps, every, expected):
    assert default_grace_period(steps=steps, every=every) == expected
