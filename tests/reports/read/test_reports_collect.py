"""Reading a study from a real sqlite store: rows, types, statuses, histories, launches."""

import math

import pandas as pd
import pytest
from mlflow.entities import Metric

from nmlab.reports.read.collect import collect, curve_runs
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.frame import trial_frame
from nmlab.reports.read.histories import read_histories
from nmlab.reports.read.objective import objective_of
from nmlab.reports.read.store import RunStore
from nmlab.reports.read.typed_text import typed


def test_every_child_run_is_a_row(runs):
    assert len(runs.trials) == 18
    assert trial_frame(runs.trials)["run_id"].is_unique
    assert trial_frame(runs.trials)["status"].value_counts().to_dict() == {"finished": 16, "diverged": 1, "failed": 1}


def test_parameters_have_their_types_back(runs):
    settings = next(trial.settings for trial in runs.trials if trial.method == "maskpro")
    assert isinstance(settings["alpha"], float)
    assert isinstance(settings["logit_magnitude"], int)
    assert settings["initial_mask"] == "wanda"
    assert runs.settings[:4] == ("alpha", "initial_mask", "logit_magnitude", "steps")
    assert "seed" not in runs.settings


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1", "2"], [1, 2]),
        (["1", "2.5"], [1.0, 2.5]),
        (["1e-3", None], [0.001, None]),
        (["wanda", "1"], ["wanda", "1"]),
        (["nan", "1"], ["nan", "1"]),
        (["None", "3"], [None, 3]),
        (["007", "12"], ["007", "12"]),
        (["1_000", "2"], ["1_000", "2"]),
        (["-2.5e-07", "3"], [-2.5e-07, 3.0]),
        ([None, ""], [None, None]),
    ],
)
def test_typed(texts, expected):
    values = typed(texts)
    assert values == expected
    assert [type(value) for value in values] == [type(value) for value in expected]


def test_initial_value_only_where_a_later_one_exists(runs):
    every = trial_frame(runs.trials)
    rows = every.set_index(["method", "seed"])
    finished = every[(every["method"] == "maskpro") & (every["status"] == "finished")]
    assert set(finished["initial/perplexity"]) == {119.0, 120.0, 121.0}
    assert math.isnan(rows.loc[("wanda", 0), "initial/perplexity"])
    assert rows.loc[("wanda", 0), "eval/perplexity"] == 120.0


def test_reasons_are_kept(runs):
    reasons = trial_frame(runs.trials).set_index("status")["reason"]
    assert reasons["diverged"] == "loss became nan at step 3"
    assert reasons["failed"] == "killed by the system"


def test_launch_and_objective(runs):
    assert (runs.launch.name, runs.launch.planned_runs, runs.launch.status) == ("maskpro-alpha-1", 18, "finished")
    assert runs.launch.ended > runs.launch.started
    assert (runs.objective.metric, runs.objective.mode) == ("eval/perplexity", "min")
    assert runs.objective.initial == "initial/perplexity"


def test_curves_hold_every_step_of_every_run(runs):
    assert len(runs.curves) == 15
    assert all(curve.step_T.tolist() == list(range(1, 101)) for curve in runs.curves.values())


def test_sql_and_client_read_the_same(store, runs):
    run_ids = list(trial_frame(runs.trials)["run_id"])[:4]
    names = ["train/residual", "eval/perplexity"]
    by_query = read_histories(store, run_ids=run_ids, metrics=names)
    by_client = read_histories(RunStore(uri="other://", client=store.client), run_ids=run_ids, metrics=names)
    pd.testing.assert_frame_equal(by_query, by_client, check_dtype=False)


def test_histories_restore_what_the_store_changed(writer, store, trial):
    writer.launch("odd-values", [trial("dense", 0, 40.0, role="baseline")], name="odd-values-1")
    run_id = trial_frame(collect(store, study="odd-values").trials)["run_id"].iloc[0]
    points = [(float("nan"), 0), (float("inf"), 1), (float("-inf"), 2), (1.0, 3)]
    writer.client.log_batch(run_id, metrics=[Metric("odd", value, 10, step) for value, step in points])
    writer.client.log_batch(run_id, metrics=[Metric("odd", 2.0, 20, 3)])
    history = read_histories(store, run_ids=[run_id], metrics=["odd"])
    assert list(history["step"]) == [0, 1, 2, 3]
    assert math.isnan(history["value"][0])
    assert list(history["value"][1:]) == [math.inf, -math.inf, 2.0]


def test_newest_launch_by_default_and_any_by_name(writer, store, trial):
    for number, value in ((1, 50.0), (2, 60.0)):
        trials = [trial("wanda", 0, value, role="baseline")]
        writer.launch("twice", trials, name=f"twice-{number}")
    newest, first = collect(store, study="twice"), collect(store, study="twice", launch="twice-1")
    assert trial_frame(newest.trials)["eval/perplexity"].tolist() == [60.0]
    assert trial_frame(first.trials)["eval/perplexity"].tolist() == [50.0]
    assert (newest.launch.position, first.launch.position) == ((2, 2), (1, 2))
    assert collect(store, study="twice", launch=first.launch.run_id).launch.name == "twice-1"


def test_finished_without_a_finite_value_is_not_finished(writer, store, trial):
    odd = [
        trial("wanda", 0, 50.0, role="baseline"),
        trial("maskpro", 0, float("inf"), 60.0, residual=[0.0], keeps_losses=False),
        trial("maskpro", 1, None, residual=[0.0]),
    ]
    writer.launch("not-finite", odd, name="not-finite-1")
    rows = trial_frame(collect(store, study="not-finite").trials).set_index(["method", "seed"])
    assert rows.loc[("maskpro", 0), "status"] == "diverged"
    assert rows.loc[("maskpro", 0), "reason"] == "eval/perplexity is inf"
    assert rows.loc[("maskpro", 1), "status"] == "failed"
    assert rows.loc[("maskpro", 1), "reason"] == "finished without a value of eval/perplexity"


def test_a_trial_recorded_twice_counts_once(writer, store, trial):
    same = trial("maskpro", 0, 70.0, 80.0, residual=[0.0])
    left_over = trial("maskpro", 0, None, status="running")
    writer.launch("repeated", [same, trial("maskpro", 0, 71.0, 80.0, residual=[0.0]), left_over], name="repeated-1")
    rows = trial_frame(collect(store, study="repeated").trials)
    assert sorted(rows["status"]) == ["duplicate", "duplicate", "finished"]
    kept = rows[rows["status"] == "finished"].iloc[0]
    assert kept["eval/perplexity"] == 71.0
    assert set(rows.loc[rows["status"] == "duplicate", "reason"]) == {f"same trial as run {kept['run_id']}"}


@pytest.mark.parametrize(
    ("study", "launch", "message"),
    [
        ("maskpro-alpah", None, "unknown study 'maskpro-alpah' in .*; did you mean 'maskpro-alpha'"),
        ("maskpro-alpha", "maskpro-alpha-9", "unknown launch 'maskpro-alpha-9' .*did you mean 'maskpro-alpha-1'"),
    ],
)
def test_unknown_names_get_the_nearest(store, study, launch, message):
    with pytest.raises(ReportError, match=message):
        collect(store, study=study, launch=launch)


def test_no_finished_run(writer, store, trial):
    gone = [trial("maskpro", 0, None, status="diverged"), trial("maskpro", 1, None, status="failed")]
    writer.launch("nothing", gone, name="nothing-1")
    with pytest.raises(ReportError, match="has no finished run with 'eval/perplexity': 1 diverged, 1 failed"):
        collect(store, study="nothing")


def test_no_run_with_the_searched_metric_names_the_nearest(writer, store, trial):
    trials = [trial("wanda", 0, 50.0, role="baseline")]
    writer.launch("other-metric", trials, name="other-metric-1", params={"search.metric": "eval/perplexty"})
    with pytest.raises(ReportError, match=r"'eval/perplexty'.*did you mean 'eval/perplexity'"):
        collect(store, study="other-metric")


def test_a_launch_without_children(writer, store):
    writer.launch("empty", [], name="empty-1")
    with pytest.raises(ReportError, match="launch 'empty-1' of study 'empty' has no child run"):
        collect(store, study="empty")


def test_a_foreign_child_run_is_named(writer, store, trial):
    writer.launch("foreign", [trial("wanda", 0, 50.0)], name="foreign-1")
    run_id = trial_frame(collect(store, study="foreign").trials)["run_id"].iloc[0]
    writer.client.delete_tag(run_id, "nmlab.configuration")
    with pytest.raises(ReportError, match=f"{run_id} has no tag 'nmlab.configuration'"):
        collect(store, study="foreign")


@pytest.mark.parametrize(
    ("params", "metric", "mode"),
    [
        ({}, "eval/perplexity", "min"),
        ({"search.metric": "eval/x/acc", "search.mode": "max"}, "eval/x/acc", "max"),
        ({"search.metric": "['eval/a', 'memory/peak_bytes']", "search.mode": "['min', 'min']"}, "eval/a", "min"),
        ({"search.metric": "eval/a, eval/b", "search.mode": "max,min"}, "eval/a", "max"),
    ],
)
def test_objective(params, metric, mode):
    objective = objective_of(params)
    assert (objective.metric, objective.mode) == (metric, mode)


def test_bad_mode():
    with pytest.raises(ReportError, match="'minimise'; expected 'min' or 'max'"):
        objective_of({"search.mode": "minimise"})


def test_of_many_runs_the_curves_of_good_and_bad_ones_are_read(store, runs):
    every = curve_runs(runs.trials, objective=runs.objective)
    assert every == list(trial_frame(runs.trials)["run_id"])
    some = curve_runs(runs.trials, objective=runs.objective, most=6)
    chosen = trial_frame(runs.trials)[trial_frame(runs.trials)["run_id"].isin(some)]
    assert set(chosen["role"]) == {"search"}
    assert len(chosen) < 15
    assert (chosen.groupby("configuration").size() == 3).all()  # all seeds of a configuration or none
    best = trial_frame(runs.trials).groupby("configuration")["eval/perplexity"].mean().drop(
        index=trial_frame(runs.trials).query("role == 'baseline'")["configuration"]).idxmin()  # fmt: skip
    assert best in set(chosen["configuration"])


def test_models_evaluated_later_are_no_runs_of_the_launch(writer, store, trial):
    external = trial("external", 0, 50.0, role="baseline", tags={"nmlab.judged": "true"})
    writer.launch("joined", [trial("dense", 0, 40.0), external], name="joined-1", tags={"nmlab.planned": "1"})
    runs = collect(store, study="joined")
    assert len(runs.trials) == 2
    assert (runs.recorded, runs.count("finished"), runs.external_models) == (1, 1, 1)
