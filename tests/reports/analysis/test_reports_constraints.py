"""Constraints in reports: what breaks one has no rank and no mark, is never the best, on no front, and counted."""

from dataclasses import replace

import pytest

from nmlab.reports.analysis.budgets import front_points
from nmlab.reports.analysis.claims.claim import Selector
from nmlab.reports.analysis.claims.select import NotTestableError, chosen
from nmlab.reports.analysis.compared_studies import ComparedConfiguration
from nmlab.reports.analysis.configurations import best_of, competing_group, ranks
from nmlab.reports.analysis.cross_tabulation import cross_tabulation, layout_of
from nmlab.reports.analysis.pairwise import winners_of
from nmlab.reports.figures.pareto import draw_pareto, pareto_panels
from nmlab.reports.read.objective import Objective, objective_of
from nmlab.reports.tables.budget import pareto_table
from nmlab.reports.tables.cells import rank_cell
from nmlab.reports.tables.pivot import pivot_table
from nmlab.search_spaces.schema.constraints import Constraint

METRIC, MEMORY = "eval/perplexity", "memory/peak_bytes"
LIMITED = Objective(METRIC, "min", constraints=(Constraint(MEMORY, max=100.0),))


def constrained(configuration, values, *, memory, alpha, role="search"):
    """A configuration with one value and one memory for each seed."""
    item = configuration(values, alpha=alpha, role=role)
    trials = [
        replace(trial, metrics={**trial.metrics, MEMORY: own}) for trial, own in zip(item.trials, memory, strict=True)
    ]
    return replace(item, trials=tuple(trials), objective=LIMITED)


def three(configuration):
    greedy = constrained(configuration, [9.0, 9.1, 9.2], memory=[90.0, 90.0, 101.0], alpha=0.9)
    modest = constrained(configuration, [20.0, 20.1, 20.2], memory=[100.0, 90.0, 90.0], alpha=0.95)
    worse = constrained(configuration, [30.0, 30.1, 30.2], memory=[10.0, 10.0, 10.0], alpha=0.99)
    return greedy, modest, worse


def test_the_constraints_of_a_study_are_read_from_the_parameters_of_its_launch():
    params = {
        "search.constraints.memory/peak_bytes.max": "2000000000.0",
        "search.constraints.train/flips.min": "1",
        "search.constraints.train/flips.max": "5",
    }
    wanted = (Constraint(MEMORY, max=2e9), Constraint("train/flips", min=1.0, max=5.0))
    assert objective_of(params).constraints == wanted
    assert objective_of({}).constraints == ()


def test_what_breaks_a_constraint_on_one_seed_is_not_the_best_and_has_no_rank(configuration):
    greedy, modest, worse = three(configuration)
    assert greedy.breaks_constraint
    assert best_of([greedy, modest, worse]) is modest
    assert ranks([greedy, modest, worse]) == {modest.key: 1, worse.key: 2}
    assert competing_group(greedy) is None
    assert competing_group(modest) is not None


def test_the_winner_is_tested_against_feasible_ones_alone(configuration):
    greedy, modest, worse = three(configuration)
    (winner,) = winners_of([modest, worse, greedy], evaluations={}, progress={}).values()
    assert winner.best is modest
    assert [other.item for other in winner.against_all] == [worse]


def test_a_baseline_has_no_constraints(configuration):
    assert not constrained(configuration, [9.0], memory=[1e9], alpha=0.9, role="baseline").breaks_constraint


def test_a_configuration_without_a_finished_run_has_not_broken_any(configuration):
    item = constrained(configuration, [float("nan")], memory=[1e9], alpha=0.9)
    assert not item.finished
    assert not item.breaks_constraint


def with_costs(item, *, seconds):
    trials = [replace(trial, metrics={**trial.metrics, "cost/seconds": seconds}) for trial in item.trials]
    return replace(item, trials=tuple(trials))


def test_what_breaks_one_is_on_no_front_and_keeps_no_other_off_it(configuration):
    """It is the best and the cheapest."""
    greedy, modest, worse = (
        with_costs(item, seconds=seconds) for item, seconds in zip(three(configuration), (1.0, 2.0, 3.0), strict=True)
    )
    points = {point.item.key: point.on_front for point in front_points([modest, worse, greedy])}
    assert points == {greedy.key: (), modest.key: ("cost/seconds", MEMORY), worse.key: (MEMORY,)}
    panels = pareto_panels(front_points([modest, worse, greedy]), objective=LIMITED)
    seconds = panels.panels[0]
    (series,) = seconds.series
    assert dict(zip(series.values, series.is_infeasible, strict=True)) == {
        greedy.value.mean: True,
        modest.value.mean: False,
        worse.value.mean: False,
    }
    assert [value for _, value in seconds.stairs] == [modest.value.mean]
    assert "Crossed: it breaks a constraint of the search" in draw_pareto(panels).caption
    feasible = pareto_panels(front_points([modest, worse]), objective=LIMITED)
    assert "Crossed" not in draw_pareto(feasible).caption
    table = pareto_table([modest, worse, greedy], points=front_points([modest, worse, greedy]))
    assert table.notes == ("On no front, because a constraint of the search is broken: 1 configuration.",)


def members(*items):
    return [ComparedConfiguration("study", "launch", "1", item) for item in items]


def test_a_pivot_table_shows_the_best_that_keeps_them(configuration):
    own = members(*three(configuration))
    layout = layout_of(own, rows=["method"], columns=[], metrics=[])
    table = pivot_table(cross_tabulation(own, layout=layout), members=own)
    (cell,) = table.column(METRIC)
    assert cell.value == own[1].item.value.mean
    assert table.notes[-1] == (
        "Never the best of a cell, because a constraint of the search is broken: 1 configuration "
        "(memory/peak_bytes at most 100)."
    )


def test_a_cell_of_a_pivot_table_that_has_no_other_says_so(configuration):
    own = members(*three(configuration))
    layout = layout_of(own, rows=["alpha"], columns=[], metrics=[])
    table = pivot_table(cross_tabulation(own, layout=layout), members=own)
    assert [cell.value for cell in table.column(METRIC)] == [
        "infeasible",
        own[1].item.value.mean,
        own[2].item.value.mean,
    ]
    assert table.column(METRIC)[0].run_ids == own[0].item.run_ids
    assert table.notes[-1].endswith("A cell that has no other says infeasible.")


def test_a_claim_is_not_won_by_what_breaks_one(configuration):
    greedy, modest, worse = three(configuration)
    wanted = Selector(method=greedy.method)
    assert chosen(wanted, configurations=[greedy, worse, modest], metric=METRIC).item is modest
    with pytest.raises(NotTestableError, match="breaks a constraint of the search wherever it finished"):
        chosen(wanted, configurations=[greedy], metric=METRIC)


def test_an_incomplete_one_that_breaks_them_does_not_keep_a_claim_open(configuration):
    greedy, modest, _ = three(configuration)
    lacking = replace(greedy, expected=4)
    assert chosen(Selector(method=greedy.method), configurations=[lacking, modest], metric=METRIC).item is modest


def test_its_rank_says_so(configuration):
    greedy, modest, worse = three(configuration)
    places = ranks([greedy, modest, worse])
    assert [rank_cell(item, places=places).value for item in (greedy, modest, worse)] == ["infeasible", 1, 2]
