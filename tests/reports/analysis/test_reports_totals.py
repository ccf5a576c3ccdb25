"""The total cost of all runs: the same sum in the headline, the cost table and the cost figure, with its gaps."""

from dataclasses import replace

import pytest
from measured import with_metrics

from nmlab.reports.analysis.analysis import analyse
from nmlab.reports.analysis.totals import Total, total_of, total_text, totals_by_method, totals_line
from nmlab.reports.figures import pareto_panels
from nmlab.reports.narrative.verdicts import verdict_sentences
from nmlab.reports.read.collect import collect
from nmlab.reports.tables.cost import cost_table

METRIC = "cost/seconds"


def trials_of(trial):
    """Twelve runs of 3 s, of which two thirds ended otherwise than by finishing, and one of a rule."""
    found = [trial("wanda", 0, 99.0, role="baseline", metrics={METRIC: 0.5})]
    ends = ("finished", "finished", "finished", "finished")
    for alpha, mean, statuses in (
        ("0.9", 80.0, ends),
        ("0.7", 90.0, ("diverged", "stopped", "oom", "failed")),
        ("0.5", 95.0, ("diverged", "failed", "running", "stopped")),
    ):
        for seed, status in enumerate(statuses):
            final = mean + seed if status == "finished" else None
            params, metrics = {"alpha": alpha}, {METRIC: 3.0}
            found.append(
                trial("maskpro", seed, final, 100.0, params, status=status, residual=[0.0] * 4, metrics=metrics)
            )
    return found


@pytest.fixture(scope="module")
def reported(writer, store, trial):
    """Return a function that writes a study and returns what its headline, cost table and cost figure say."""

    def report(name, trials):
        writer.launch(name, trials, name=f"{name}-1")
        found = analyse(store, runs=collect(store, study=name))
        (sentence,) = [text for text in verdict_sentences(found) if text.startswith("One run of")]
        table = cost_table(found.configurations)
        info = pareto_panels(found.front, objective=found.runs.objective, configurations=found.configurations)
        return sentence, table, info

    return report


def test_every_run_counts_whatever_its_status(reported, trial):
    sentence, table, info = reported("totals-known", trials_of(trial))
    assert sentence.endswith("; in total, 12 runs of maskpro cost 36.0 s.")
    assert table.notes[0] == "Together, finished or not: 36.5 s in 13 runs."
    each = "All runs of a method together: maskpro 36.0 s in 12 runs, wanda 0.500 s in 1 run."
    assert table.caption.endswith(each)
    assert info.totals == f"{table.notes[0]} {each}"


def test_runs_of_unknown_cost_are_counted_and_reported(reported, trial):
    trials = trials_of(trial)
    trials[6:8] = [replace(each, has_cost=False) for each in trials[6:8]]
    sentence, table, info = reported("totals-unknown", trials)
    assert sentence.endswith("; in total, 12 runs of maskpro cost 30.0 s (cost of 2 runs unknown).")
    assert table.notes[0] == "Together, finished or not: 30.5 s in 13 runs (cost of 2 runs unknown)."
    assert "maskpro 30.0 s in 12 runs (cost of 2 runs unknown)" in info.totals


def test_a_cost_known_up_to_a_checkpoint_is_reported_as_such(reported, trial):
    trials = trials_of(trial)
    trials[-1] = replace(trials[-1], tags={"nmlab.cost": "in part"}, metrics={METRIC: 1.0})
    trials[-2] = replace(trials[-2], has_cost=False, tags={"nmlab.cost": "unknown"})
    sentence, *_ = reported("totals-in-part", trials)
    gaps = "cost of 1 run unknown, of 1 run known up to the last checkpoint"
    assert sentence.endswith(f"; in total, 12 runs of maskpro cost 31.0 s ({gaps}).")


def test_external_models_are_not_among_the_runs(reported, trial):
    external = trial("external", 0, 120.0, role="baseline", tags={"nmlab.judged": "true"}, has_cost=False)
    _, table, _ = reported("totals-external", [*trials_of(trial), external])
    assert table.notes[0] == "Together, finished or not: 36.5 s in 13 runs."
    assert "external" not in table.caption


def test_the_sum_of_a_configuration(configuration):
    item = configuration([10.0, 11.0, float("nan")])
    assert total_of([item]) == Total(0.0, runs=3, unknown=3, in_part=0)
    assert totals_line([item]) == totals_by_method([item]) == ""
    with_metrics(item, {METRIC: [1.0, float("nan"), 4.0]})
    assert total_of([item, item]) == Total(10.0, runs=6, unknown=2, in_part=0)
    assert total_text(total_of([item])) == "5.00 s (cost of 1 run unknown)"
    assert total_of([item], metric="cost/spent_seconds").known == 0
