"""Constraints in reports: what breaks one has no rank and no mark, is never the best, and is counted."""

from dataclasses import replace

from nmlab.reports.analysis.configurations import best_of, competing_group, ranks
from nmlab.reports.analysis.pairwise import winners_of
from nmlab.reports.read.objective import Objective, objective_of
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
