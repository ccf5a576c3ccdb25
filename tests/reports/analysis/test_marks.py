"""The rule of marks: the best of comparable masks, what no test separates from it, and the next best mean."""

import numpy as np
import pytest

from nmlab.reports.analysis.analysis import analyse
from nmlab.reports.analysis.budgets import EqualBudget, Reached
from nmlab.reports.analysis.marks import MarkEvidence, configuration_marks, group_marks
from nmlab.reports.analysis.pairwise import winners_of
from nmlab.reports.compare import compare
from nmlab.reports.read.collect import collect
from nmlab.reports.read.evaluations import RunEvaluation
from nmlab.reports.statistics import mean_interval
from nmlab.reports.tables.cells import marked
from nmlab.reports.tables.comparison import comparison_tables
from nmlab.reports.values import Cell, Direction, Mark

METRIC = "eval/perplexity"
TOKENS = np.full(40, 100)


def marks(values, direction=Direction.LOWER):
    return [str(mark) for mark in group_marks(values, direction=direction, is_distinct=[True] * len(values))]


def of(items, **evidence):
    return [
        str(mark) for mark in configuration_marks(items, metrics=[METRIC], evidence=MarkEvidence(**evidence))[METRIC]
    ]


def column(table, key=METRIC):
    return {row.cells[-1].value: str(cell.mark) for row, cell in zip(table.rows, table.column(key), strict=True)}


def windows(item, perplexity, seed=0):
    loss = 100 * (np.log(perplexity) + 0.05 * np.random.default_rng(seed).normal(size=40))
    return {run_id: RunEvaluation(loss, TOKENS, np.full(40, 60), None) for run_id in item.run_ids}


def test_lowest_is_best_and_highest_where_higher_is_better():
    assert marks([3.0, 1.0, 2.0]) == ["", "best", "second"]
    assert marks([3.0, 1.0, 2.0], Direction.HIGHER) == ["best", "", "second"]
    assert marks([3.0, 1.0], Direction.NONE) == ["", ""]


def test_equal_values_share_a_mark():
    assert marks([1.0, 1.0, 2.0, 3.0]) == ["best", "best", "second", ""]
    assert marks([2.0, 1.0, 2.0 + 1e-12]) == ["second", "best", "second"]


def test_a_lone_row_wins_nothing():
    assert marks([1.0]) == [""]
    assert marks([]) == []


def test_what_is_not_found_worse_shares_the_mark_and_second_is_the_best_of_the_rest():
    found = group_marks(
        [1.0, 1.1, 1.2, 1.3, 1.4], direction=Direction.LOWER, is_distinct=[None, False, True, None, True]
    )
    assert [str(mark) for mark in found] == ["best", "tied", "second", "tied", ""]


def test_nothing_is_marked_where_nothing_could_be_tested():
    found = group_marks([1.0, 2.0, 3.0], direction=Direction.LOWER, is_distinct=[None, None, None])
    assert set(found) == {Mark.NONE}


def test_marks_keep_everything_else():
    (cell, _) = marked([Cell(1.0, 0.5, 1.5, 3, ("r",)), Cell(2.0)], marks=[Mark.BEST, Mark.SECOND])
    assert cell == Cell(1.0, 0.5, 1.5, 3, ("r",), Mark.BEST)


def test_masks_compete_only_within_their_group_and_the_dense_model_nowhere(configuration):
    def item(values, pattern="2:4", **settings):
        made = configuration(values, **settings)
        object.__setattr__(made, "pattern", pattern)
        return made

    items = [item([37.0], method="dense", role="baseline")]
    items += [item([value, value + 1.0, value + 2.1], alpha=value) for value in (80.0, 70.0)]
    items += [item([value, value + 1.0, value + 2.1], "4:8", alpha=value) for value in (60.0, 50.0)]
    assert of(items) == ["", "second", "best", "second", "best"]


def test_a_mean_that_is_missing_or_lacks_a_seed_wins_nothing(configuration):
    items = [configuration(values, alpha=place) for place, values in enumerate([(80.0, 81.2), (70.0, 71.0)])]
    lacking = configuration([10.0, float("nan")], alpha=3)
    assert of([lacking, *items]) == ["", "second", "best"]


def test_rules_are_tested_over_windows_where_these_were_kept(configuration):
    best, worse = (configuration([value], method=name, role="baseline") for name, value in (("a", 20.0), ("b", 30.0)))
    assert of([best, worse]) == ["", ""]
    assert of([best, worse], evaluations={**windows(best, 20.0), **windows(worse, 30.0, 1)}) == ["best", "second"]


def test_what_the_winner_leaves_undecided_shares_the_mark_of_the_best_of_the_search_only(configuration):
    """Against a rule that is better than all of the search, the tests of the table decide alone."""
    near = configuration([70.0, 71.0, 72.0], alpha=1), configuration([70.4, 72.6, 71.4], alpha=2)
    rest = [configuration([base, base + 1.0, base + 2.2], alpha=base) for base in (90.0, 95.0)]
    (winner,) = winners_of([*near, *rest], evaluations={}, progress={}).values()
    assert [other.item.key for other in winner.undecided] == [near[1].key]
    assert of([*near, *rest], winners=[winner]) == ["best", "tied", "second", ""]
    rule = configuration([20.0], method="wanda", role="baseline")
    assert of([rule, *near, *rest], winners=[winner]) == ["best", "second", "", "", ""]


def by_row(pivot):
    return {row.cells[0].value: str(row.cells[-1].mark) for row in pivot.rows}


def launched(trial, method, alpha, values):
    """Runs of one configuration, one for each value."""
    return [trial(method, seed, value, 300.0, {"alpha": alpha}, residual=[0.0]) for seed, value in enumerate(values)]


@pytest.fixture(scope="module")
def searched(writer, store, trial):
    """Two methods close to each other: tests with few rows separate them, the tests of the whole search do not."""
    trials = [trial("dense", 0, 40.0, role="baseline"), trial("wanda", 0, 300.0, role="baseline")]
    trials += launched(trial, "maskpro", "0.9", (70.0, 71.0, 72.0))
    trials += launched(trial, "susi", "0.9", (70.9, 71.6, 72.8))
    for alpha, base in (("0.5", 90.0), ("0.6", 91.0), ("0.7", 92.0), ("0.8", 93.0)):
        trials += launched(trial, "maskpro", alpha, (base - 18.0, base, base + 20.0))
    writer.launch("one-rule", trials, name="one-rule-1")
    return analyse(store, runs=collect(store, study="one-rule"))


def test_every_table_of_a_report_and_a_comparison_marks_the_same_masks(searched, writer):
    (winner,) = searched.winners.values()
    (susi,) = [item for item in searched.configurations if item.method == "susi"]
    assert susi.key in {other.item.key for other in winner.undecided}
    tables = {table.key: table for table in comparison_tables(searched)}
    best = {name: column(tables[name]) for name in ("summary", "configurations", "learned_vs_initial")}
    assert {name: marks[winner.best.key] for name, marks in best.items()} == dict.fromkeys(best, "best")
    assert {name: marks[susi.key] for name, marks in best.items()} == dict.fromkeys(best, "tied")
    pivot = compare(["one-rule"], tracking_uri=writer.uri).document.tables[0]
    assert by_row(pivot) == {"dense": "", "maskpro": "best", "susi": "tied", "wanda": "second"}


def test_a_comparison_of_studies_tests_rules_over_windows_as_a_report_does(writer, store, trial):
    trials = [trial(name, 0, value, role="baseline") for name, value in (("wanda", 60.0), ("magnitude", 90.0))]
    writer.launch("rules-alone", trials, name="rules-alone-1")
    (summary, *_) = comparison_tables(analyse(store, runs=collect(store, study="rules-alone")))
    assert [str(cell.mark) for cell in summary.column(METRIC)] == ["best", "second"]
    pivot = compare(["rules-alone"], tracking_uri=writer.uri).document.tables[0]
    assert by_row(pivot) == {
        "wanda": "best",
        "magnitude": "second",
    }


def test_a_comparison_of_studies_marks_no_mask_against_another_pattern(writer, trial):
    trials = [
        trial("maskpro", seed, value + seed, 99.0, residual=[0.0], pattern=pattern)
        for pattern, value in (("2:4", 80.0), ("4:8", 60.0))
        for seed in range(3)
    ]
    writer.launch("patterns-as-rows", trials, name="patterns-as-rows-1")
    pivot = compare(["patterns-as-rows"], tracking_uri=writer.uri, rows=["pattern"]).document.tables[0]
    assert [str(row.cells[-1].mark) for row in pivot.rows] == ["", ""]


def test_one_configuration_in_two_studies_is_two_rows(writer, trial):
    """Its key is the same in both, so a mark must not go by the key."""
    for name, values in (("twice-a", (50.0, 51.0, 52.1)), ("twice-b", (90.0, 91.0, 92.1))):
        trials = [trial("maskpro", seed, value, 99.0, residual=[0.0]) for seed, value in enumerate(values)]
        writer.launch(name, trials, name=f"{name}-1")
    trials = [trial("susi", seed, value, 99.0, residual=[0.0]) for seed, value in enumerate((50.5, 50.9, 52.3))]
    writer.launch("twice-c", trials, name="twice-c-1")
    names = ["twice-a", "twice-b", "twice-c"]
    pivot = compare(names, tracking_uri=writer.uri, rows=["study"]).document.tables[0]
    assert by_row(pivot) == {
        "twice-a": "best", "twice-b": "second", "twice-c": "tied"}  # fmt: skip


def test_at_equal_budget_seeds_without_spread_are_no_test(configuration):
    """A spread of zero does not measure noise; the test would find any difference significant."""

    def reached(item, *values):
        return Reached(item, mean_interval(values), dict(enumerate(values)), 1, 1, item.run_ids)

    first, second = (configuration([1.0, 1.0, 1.0], method=name, depends_on_seed="true") for name in ("a", "b"))
    equal = EqualBudget("2:4", "tokens", 1.0, (reached(first, 70.0, 70.0, 70.0), reached(second, 80.0, 80.0, 80.0)))
    assert set(equal.marks) == {Mark.NONE}
    spread = EqualBudget("2:4", "tokens", 1.0, (reached(first, 70.0, 71.0, 72.2), reached(second, 80.0, 81.0, 82.4)))
    assert [str(mark) for mark in spread.marks] == ["best", "second"]
