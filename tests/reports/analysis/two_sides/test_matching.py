"""Which configurations of two sides are pairs, and which are listed with the reason."""

import math

import pytest
from measured import with_metrics

from nmlab.reports.analysis.compared_studies import ComparedConfiguration
from nmlab.reports.analysis.two_sides import BEST_OF_SEARCH, MatchedBy, match
from nmlab.reports.analysis.two_sides.names import chosen_text, row_text

METRIC = "eval/perplexity"


def side(*items):
    return [ComparedConfiguration("study", "launch", "1", item) for item in items]


def keys(found):
    return [(pair.first.key, pair.second.key) for pair in found.pairs]


@pytest.fixture
def rule(configuration):
    return configuration([90.0], method="wanda", role="baseline")


def test_equal_settings_are_pairs_and_what_has_no_counterpart_is_listed(configuration, rule):
    first = [configuration([70.0, 71.0], alpha=0.9), configuration([80.0, 82.0], alpha=0.5), rule]
    second = [configuration([72.0, 70.0], alpha=0.9), configuration([60.0, 61.0], alpha=0.7), rule]
    found = match((side(*first), side(*second)), metric=METRIC)
    assert found.by is MatchedBy.SETTINGS
    rows = [row_text(pair, matching=found) for pair in found.pairs]
    assert rows == [f"{BEST_OF_SEARCH}", "maskpro: alpha=0.9", "wanda"]
    assert keys(found)[0] == (first[0].key, second[1].key), "the best of each side, whatever its settings"
    left = [(item.side, item.item.settings["alpha"], item.reason) for item in found.unmatched]
    assert left == [(0, 0.5, "no counterpart"), (1, 0.7, "no counterpart")]


def test_settings_that_are_the_same_within_each_side_do_not_part_pairs(configuration):
    """Such as the number of calibration samples, where the whole study was run with another."""
    first = [configuration([70.0], alpha=alpha, samples=128) for alpha in (0.5, 0.9)]
    second = [configuration([60.0], alpha=alpha, samples=32) for alpha in (0.9, 0.5)]
    found = match((side(*first), side(*second)), metric=METRIC)
    assert keys(found) == [(first[0].key, second[1].key), (first[1].key, second[0].key)]
    assert found.unmatched == ()


def test_without_equal_settings_the_best_of_each_method_is_compared(configuration, rule):
    first = [configuration([70.0, 71.0], alpha=0.9), configuration([80.0, 82.0], alpha=0.5), rule]
    second = [configuration([60.0, 61.0], alpha=0.7), configuration([75.0, 76.0], alpha=0.8), rule]
    found = match((side(*first), side(*second)), metric=METRIC)
    assert found.by is MatchedBy.METHOD
    assert keys(found) == [(first[0].key, second[0].key), (rule.key, rule.key)]
    assert found.pairs[0].among == (2, 2)
    assert chosen_text(found.pairs[0], place=1, matching=found) == "maskpro: alpha=0.7 (best of 2)"


def test_searches_of_other_methods_are_compared_by_their_best(configuration, rule):
    susi = configuration([50.0, 51.0], method="susi")
    first = [configuration([70.0, 71.0], alpha=0.9), configuration([80.0, 82.0], alpha=0.5), rule]
    found = match((side(*first), side(susi, rule)), metric=METRIC)
    assert found.by is MatchedBy.SEARCH
    assert keys(found) == [(first[0].key, susi.key), (rule.key, rule.key)]


def test_what_was_asked_for_is_compared_whatever_its_role(configuration, rule):
    first = [configuration([70.0, 71.0], alpha=0.9), configuration([80.0, 82.0], alpha=0.5)]
    found = match((side(*first), side(rule)), metric=METRIC, is_selected=True)
    assert (found.by, keys(found)) == (MatchedBy.SELECTION, [(first[0].key, rule.key)])
    assert row_text(found.pairs[0], matching=found) == "wanda against maskpro"


def test_rows_of_choice(configuration):
    first = [configuration([70.0 + place], alpha=alpha, steps=steps)
             for place, (alpha, steps) in enumerate([(0.9, 10), (0.9, 20), (0.5, 10)])]  # fmt: skip
    second = [configuration([60.0], alpha=0.9, steps=40)]
    found = match((side(*first), side(*second)), metric=METRIC, rows=["alpha"])
    assert (found.by, keys(found), found.pairs[0].key) == (MatchedBy.ROWS, [(first[0].key, second[0].key)], (0.9,))
    assert [item.item.key for item in found.unmatched] == [first[2].key]


def test_what_lacks_a_run_or_a_value_is_listed_and_not_compared(configuration):
    whole = configuration([70.0, 71.0], alpha=0.9)
    broken = configuration([50.0, math.inf], alpha=0.9)
    other = with_metrics(configuration([60.0, 61.0], alpha=0.5), {METRIC: math.nan})
    found = match((side(whole), side(broken, other)), metric=METRIC)
    assert found.pairs == ()
    assert [item.reason for item in found.unmatched] == [
        "no counterpart",
        "1 of 2 runs finished (1 diverged)",
        "no value of perplexity",
    ]


def test_a_side_against_itself_has_every_configuration_once(configuration, rule):
    items = [configuration([70.0, 71.0], alpha=0.9), configuration([80.0, 82.0], alpha=0.5), rule]
    found = match((side(*items), side(*items)), metric=METRIC)
    assert keys(found) == [(item.key, item.key) for item in items]
    assert found.unmatched == ()
