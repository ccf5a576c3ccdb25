"""The start of a run: recorded under initial/*, or as earlier versions did, and read as the same curve."""

from dataclasses import replace

import pandas as pd
import pytest

from nmlab.reports.analysis.analysis import analyse
from nmlab.reports.analysis.configurations import configurations_of
from nmlab.reports.analysis.training.progress import progress_by_tokens
from nmlab.reports.narrative.headline import headline_of
from nmlab.reports.narrative.verdicts import verdict_sentences
from nmlab.reports.read.collect import collect
from nmlab.reports.read.frame import trial_frame
from nmlab.reports.read.histories import with_starts
from nmlab.reports.tables.comparison import comparison_tables

METRIC, INITIAL = "eval/perplexity", "initial/perplexity"


def trials_of(trial):
    """Two configurations of three seeds and a rule; one seed diverged before it was evaluated, and one was stopped."""
    found = [trial("wanda", 0, 99.0, role="baseline")]
    for alpha, mean in (("0.9", 80.0), ("0.7", 90.0)):
        for seed in range(3):
            params, residual = {"alpha": alpha, "steps": "20"}, [0.0] * 20
            found.append(trial("maskpro", seed, mean + seed, 100.0 + seed, params, residual=residual))
    found[-1] = replace(found[-1], final=None, status="diverged", reason="nan", has_cost=False)
    found[-2] = replace(found[-2], final=None, status="stopped", reason="interrupted", residual=(), has_cost=False)
    return found


@pytest.fixture(scope="module", params=["initial", "both"])
def launches(request, writer, store, trial):
    """The same study as an earlier version recorded it, and as this one does, alone or going on with the earlier."""
    old, new = f"starts-old-{request.param}", f"starts-{request.param}"
    writer.launch(old, trials_of(trial), name="starts-1")
    writer.launch(new, [replace(each, start=request.param) for each in trials_of(trial)], name="starts-1")
    return collect(store, study=old), collect(store, study=new)


def plain(table):
    """A table without the columns that differ between two stores."""
    return table.drop(columns="run_id").reset_index(drop=True)


def test_both_layouts_are_one_table(launches):
    old, new = launches
    pd.testing.assert_frame_equal(plain(trial_frame(old.trials)), plain(trial_frame(new.trials)))
    assert old.metrics == new.metrics
    assert not [name for name in new.metrics if name.startswith("initial/")]


def test_both_layouts_are_one_curve(launches):
    old, new = (
        sorted(point for curve in runs.progress.values() for point in curve.by_step.items()) for runs in launches
    )
    assert old == new
    assert [value for step, value in new if step == 0] == [99.0, 100.0, 100.0, 101.0, 101.0, 102.0, 102.0]
    found = [progress_by_tokens(configurations_of(runs), summary_rows=(), progress=runs.progress) for runs in launches]
    assert found[0] == found[1]


def test_both_layouts_are_one_report(launches, store):
    found = [analyse(store, runs=runs) for runs in launches]
    sentences = [headline_of(each.runs, configurations=each.configurations) for each in found]
    assert sentences[0] == sentences[1]
    assert verdict_sentences(found[0]) == verdict_sentences(found[1])
    for tables in zip(*map(comparison_tables, found), strict=True):
        old, new = ([[cell.value for cell in row.cells][1:] for row in table.rows] for table in tables)
        if tables[0].key != "runs":
            assert old == new, tables[0].key
        assert tables[0].notes == tables[1].notes


def test_a_run_that_never_learned_has_a_start_and_no_evaluation(launches):
    for runs in launches:
        unfinished = trial_frame(runs.trials)[trial_frame(runs.trials)["status"] != "finished"]
        assert list(unfinished["status"]) == ["stopped", "diverged"]
        assert unfinished[METRIC].isna().all()
        assert list(unfinished[INITIAL]) == [101.0, 102.0]
        finished = trial_frame(runs.trials)[trial_frame(runs.trials)["status"] == "finished"]
        assert finished[METRIC].notna().all()


def test_a_rule_has_an_evaluation_at_step_0_and_no_start(launches):
    for runs in launches:
        (rule,) = trial_frame(runs.trials)[trial_frame(runs.trials)["method"] == "wanda"].to_dict("records")
        assert rule[METRIC] == 99.0
        assert pd.isna(rule[INITIAL])


def test_a_rule_whose_mask_has_no_finite_perplexity_keeps_it(writer, store, trial):
    """It diverged at its only evaluation, which has a recorded cost and so is not a start."""
    trials = [
        trial("wanda", 0, 50.0, role="baseline"),
        trial("random", 0, float("inf"), role="baseline", status="diverged"),
    ]
    writer.launch("starts-infinite", trials, name="infinite-1")
    rows = trial_frame(collect(store, study="starts-infinite").trials)
    assert list(rows[rows["method"] == "random"][METRIC]) == [float("inf")]


def test_curves_begin_with_the_start_wherever_it_is_recorded():
    columns = ["run_id", "metric", "step", "value"]
    rows = [
        ("old", METRIC, 0, 9.0),
        ("old", METRIC, 5, 8.0),
        ("new", METRIC, 5, 7.0),
        ("new", INITIAL, 0, 10.0),
        ("both", METRIC, 0, 9.0),
        ("both", INITIAL, 0, 9.0),
        ("both", METRIC, 5, 6.0),
    ]
    found = with_starts(pd.DataFrame(rows, columns=columns))
    assert found.to_numpy().tolist() == [
        ["both", METRIC, 0, 9.0],
        ["both", METRIC, 5, 6.0],
        ["new", METRIC, 0, 10.0],
        ["new", METRIC, 5, 7.0],
        ["old", METRIC, 0, 9.0],
        ["old", METRIC, 5, 8.0],
    ]
    assert with_starts(pd.DataFrame({name: [] for name in columns})).empty
