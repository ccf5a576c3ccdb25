"""The test of a pair: which test, its numbers by hand and against scipy, and what it finds."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measured import with_facts, with_metrics
from scipy import stats

from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.analysis.two_sides import MatchedPair, SeedTest, compare_pairs, deciding_test, finding_text
from nmlab.reports.read.evaluations import RunEvaluation
from nmlab.reports.read.objective import Objective
from nmlab.reports.read.trials import TrialRecord

METRIC = "eval/perplexity"


def item_of(values, *, seeds=None, name="a", metric=METRIC):
    """A configuration with these values, by seed."""
    trials = tuple(
        TrialRecord(f"{name}-{seed}", "", name, "search", "maskpro", "2:4", seed, "finished",
                    metrics={METRIC: 50.0 + seed, metric: float(value)})
        for seed, value in zip(seeds or range(len(values)), values, strict=True)
    )  # fmt: skip
    return Configuration(name, "maskpro", "2:4", "search", {}, trials, Objective(METRIC, "min"))


def result_of(first, second, *, metric=METRIC, evaluations=None):
    (found,) = compare_pairs([MatchedPair((), first, second)], metrics=[metric], evaluations=evaluations or {})
    return found


def test_shared_seeds_are_compared_in_pairs():
    """Logarithms of 2, 4 and 2 have the mean 4/3 log 2 and the deviation log 2 / sqrt(3): t = 4, p = 0.057."""
    found = result_of(item_of([10.0, 10.0, 20.0]), item_of([20.0, 40.0, 40.0], name="b"))
    assert (found.seed_test, deciding_test(found)) == (SeedTest.PAIRED, "paired t-test over 3 shared seeds")
    assert found.decisive.difference == pytest.approx(2 ** (4 / 3))
    assert found.p_value == pytest.approx(0.0572, abs=1e-4)
    assert found.p_value == pytest.approx(2 * stats.t.sf(4, df=2))
    half = 4.302653 * math.log(2) / 3
    assert math.log(found.decisive.high / found.decisive.low) == pytest.approx(2 * half)
    assert found.difference == pytest.approx(20.0)
    assert finding_text(found) == "not separable"
    assert found.by_seed == (2.0, 4.0, 2.0)


def test_seeds_that_one_side_lacks_are_in_its_mean_and_in_no_difference():
    found = result_of(item_of([10.0, 11.0, 12.0]), item_of([20.0, 21.0, 25.0, 90.0], name="b"))
    assert found.shared_seeds == (0, 1, 2)
    assert found.difference == pytest.approx(11.0)


@pytest.mark.parametrize("seeds", [(3, 4, 5), (2, 3, 4)])
def test_without_two_shared_seeds_the_test_is_welchs(seeds):
    first, second = [10.0, 11.0, 12.0], [20.0, 21.0, 25.0]
    found = result_of(item_of(first), item_of(second, seeds=seeds, name="b"))
    expected = stats.ttest_ind(np.log(second), np.log(first), equal_var=False)
    assert (found.seed_test, found.p_value) == (SeedTest.WELCH, pytest.approx(expected.pvalue))
    assert deciding_test(found) == "Welch's t-test over 3 and 3 seeds"
    assert found.difference == pytest.approx(11.0)
    assert (found.shared_seeds, finding_text(found)) == ((), "A better")


def test_a_rule_is_a_constant_and_two_rules_are_compared_over_windows(configuration):
    trained = configuration([10.0, 12.0, 15.0])
    rules = [configuration([value], method=name, role="baseline") for name, value in (("wanda", 20.0), ("gblm", 25.0))]
    found = result_of(rules[0], trained)
    assert deciding_test(found) == "one-sample t-test over 3 seeds"
    losses = {
        rule.run_ids[0]: RunEvaluation(100 * np.log(value) + np.arange(40.0), np.full(40, 100), np.full(40, 60), None)
        for rule, value in zip(rules, (20.0, 25.0), strict=True)
    }
    found = result_of(*rules, evaluations=losses)
    assert (found.seed_test, deciding_test(found)) == (None, "permutation test over 40 windows")
    assert found.decisive.difference == pytest.approx(1.25)
    assert finding_text(found) == "A better"


def test_one_seed_each_is_not_tested():
    trained = [with_facts(item, depends_on_seed="true") for item in (item_of([10.0]), item_of([20.0], name="b"))]
    found = result_of(*trained)
    assert (finding_text(found), found.better_side) == ("not tested: one seed each", None)


def test_higher_accuracies_and_lower_costs_are_better():
    higher = result_of(item_of([0.5, 0.6, 0.7], metric="eval/quiz/acc"),
                    item_of([0.61, 0.7, 0.8], name="b", metric="eval/quiz/acc"), metric="eval/quiz/acc")  # fmt: skip
    assert (higher.finding, higher.decisive.difference) == ("better", pytest.approx(0.31 / 3))
    cost = result_of(item_of([9.0, 9.1, 9.2], metric="cost/seconds"),
                  item_of([5.0, 5.2, 5.1], name="b", metric="cost/seconds"), metric="cost/seconds")  # fmt: skip
    assert cost.finding == "better"


def test_counted_values_need_no_test():
    pair = [item_of([100.0, 100.0], name=name, metric="cost/tokens") for name in ("a", "b")]
    assert result_of(*pair, metric="cost/tokens").finding == "equal"
    dearer = result_of(pair[0], item_of([200.0, 200.0], name="b", metric="cost/tokens"), metric="cost/tokens")
    assert (finding_text(dearer), deciding_test(dearer), dearer.p_value) == ("A better", "counted", None)


VALUES = st.lists(st.floats(5.0, 500.0), min_size=2, max_size=5)


@settings(deadline=None, max_examples=60)
@given(VALUES, VALUES, st.sampled_from([0, 1, 7]))
def test_swapping_the_sides_flips_every_sign(first, second, shift):
    a, b = item_of(first), item_of(second, seeds=range(shift, shift + len(second)), name="b")
    one, other = result_of(a, b), result_of(b, a)
    assert other.difference == pytest.approx(-one.difference, rel=1e-9, abs=1e-9)
    assert {one.finding, other.finding} in ({"better", "worse"}, {one.finding})
    assert (one.finding == other.finding) == (one.finding in ("equal", "not separable", "not tested"))
    assert deciding_test(other).split(" over")[0] == deciding_test(one).split(" over")[0]
    if one.p_value is not None:
        assert other.p_value == pytest.approx(one.p_value, rel=1e-6, abs=1e-12)
        ends = (other.decisive.difference, other.decisive.low, other.decisive.high)
        mine = (1 / one.decisive.difference, 1 / one.decisive.high, 1 / one.decisive.low)
        assert ends == pytest.approx(mine, rel=1e-6)


@settings(deadline=None, max_examples=30)
@given(VALUES)
def test_a_configuration_against_itself_is_equal(values):
    found = result_of(item_of(values), item_of(values))
    assert (found.finding, found.difference, found.better_side) == ("equal", 0.0, None)
    assert found.p_value in (None, 1.0)
    assert found.detectable is None


def test_p_values_are_adjusted_over_the_pairs_of_a_metric():
    pairs = [
        MatchedPair((place,), item_of([10.0, 11.0, 12.5], name=f"a{place}"), item_of(values, name=f"b{place}"))
        for place, values in enumerate([[20.0, 21.0, 25.0], [10.1, 11.3, 12.3], [11.0, 12.3, 13.5]])
    ]
    found = compare_pairs(pairs, metrics=[METRIC], evaluations={})
    expected = stats.false_discovery_control([item.p_value for item in found])
    assert [item.comparison.p_adjusted for item in found] == pytest.approx(list(expected))


def test_a_metric_that_only_one_side_has_has_no_row():
    second = with_metrics(item_of([20.0, 21.0], name="b"), {"cost/seconds": 2.0})
    found = compare_pairs(
        [MatchedPair((), item_of([10.0, 11.0]), second)], metrics=[METRIC, "cost/seconds"], evaluations={}
    )
    assert [item.metric for item in found] == [METRIC]
