"""What MLflow's pages show of a launch: its note, its best value, and the saved views of its study's runs."""

import json

import pytest
from earlier import STUDY, earlier_launch
from stores import LAUNCH, experiment_id, result_of

from nmlab.platform.compat.mlflow_pages import view_tag
from nmlab.platform.launches.endings import flat_study
from nmlab.platform.planning.study_trials import trial_spec
from nmlab.platform.tracking.data_sets import dataset_inputs
from nmlab.platform.tracking.launch_page import Findings, best_means, describe_launch
from nmlab.platform.tracking.saved_views import MEANS_VIEW, RUNS_VIEW, save_views
from nmlab.reports.read.store import open_store

VALUES = {0.9: (30.0, 32.0), 0.97: (20.0, 22.0)}
FINDINGS = Findings(("alpha=0.97 is best | by far.", "It cost <3 s."), "report.html", {"": 21.0})


@pytest.fixture
def study(plan_of):
    return plan_of("space={alpha: {choice: [0.9, 0.97]}}", "seeds=[0, 1]").study


@pytest.fixture
def launched(reopen, study, tmp_path):
    """A store with two configurations of two seeds, and a third whose one seed diverged at a low value."""
    store = reopen()
    store.begin({}, {"search.metric": study.search.metrics[0], "search.mode": "min"})
    for alpha, values in {**VALUES, 0.99: (1.0,)}.items():
        for seed, value in enumerate(values):
            run_trial(store, study, alpha=alpha, seed=seed, value=value, folder=tmp_path)
    return store


def run_trial(store, study, *, alpha, seed, value, folder):
    metric, has_diverged = study.search.metrics[0], alpha == 0.99
    point = {"method": "maskpro", "pattern": "2:4", "alpha": alpha}
    spec = trial_spec(study, point, seed=seed)
    store.begin_trial(spec, role="search", tags={"nmlab.data_digest": "dd"}, words=f"maskpro alpha={alpha}")
    curve = [{"step": step, "time": step, "values": {"train/loss": 5.0 - step / 9}} for step in (1, 2)]
    last = {"step": 4, "time": 4, "values": {metric: value, "eval/perplexity": value, "train/mask_change": 0.5}}
    store.log_points(spec.key, [*curve, last])
    ended = result_of(spec, "diverged" if has_diverged else "finished", metrics={"cost/seconds": 2.0 + value})
    store.end_trial(ended, folder=folder, objective=None if has_diverged else value)


def view_of(client, key):
    return json.loads(client.get_experiment(experiment_id(client)).tags[view_tag(key)])


def sorted_runs(client, view):
    order = f"{view['orderByKey']} {'ASC' if view['orderByAsc'] else 'DESC'}"
    return client.search_runs([experiment_id(client)], view["searchFilter"], order_by=[order])


def test_the_view_has_what_varies_seed_metric_status_and_seconds(launched, client, tracking_uri):
    assert save_views(open_store(tracking_uri), experiment_id(client))
    columns = view_of(client, RUNS_VIEW)["selectedColumns"]
    first = ["params.`method`", "params.`seed`", "metrics.`objective`"]
    assert columns[:3] == first
    assert {"metrics.`cost/seconds`", "tags.`nmlab.status`", "params.`alpha`"} <= {*columns}
    assert "params.`steps`" not in columns


def test_trials_are_sorted_best_first_and_diverged_ones_last(launched, client, tracking_uri):
    save_views(open_store(tracking_uri), experiment_id(client))
    runs = sorted_runs(client, view_of(client, RUNS_VIEW))
    assert [run.info.run_name for run in runs] == [
        "maskpro alpha=0.97, seed 0",
        "maskpro alpha=0.97, seed 1",
        "maskpro alpha=0.9, seed 0",
        "maskpro alpha=0.9, seed 1",
        "maskpro alpha=0.99, seed 0",
    ]


def test_charts_begin_with_curves_and_none_is_of_a_constant(launched, client, tracking_uri):
    save_views(open_store(tracking_uri), experiment_id(client))
    view = view_of(client, RUNS_VIEW)
    sections = [section["name"] for section in view["compareRunSections"]]
    assert sections[0] == "Curves"
    cards = {card.get("metricKey"): card for card in view["compareRunCharts"]}
    assert (cards["train/loss"]["type"], cards["train/loss"]["deleted"]) == ("LINE", False)
    assert cards["train/mask_change"]["deleted"]
    assert not cards["cost/seconds"]["deleted"]
    recorded = {name for run in sorted_runs(client, view) for name in run.data.metrics}
    assert recorded <= {*cards}, "the page adds a chart of a metric that the view does not name"


def test_the_view_of_means_groups_by_configuration(launched, client, tracking_uri):
    save_views(open_store(tracking_uri), experiment_id(client))
    assert view_of(client, MEANS_VIEW)["groupBy"] == {
        "aggregateFunction": "average",
        "groupByKeys": [{"mode": "tag", "groupByData": "nmlab.configuration_name"}],
    }
    assert view_of(client, RUNS_VIEW)["groupBy"] is None
    assert "params.`seed`" not in view_of(client, MEANS_VIEW)["selectedColumns"]
    closed = view_of(client, MEANS_VIEW)["groupsExpanded"]
    assert closed == {f"tag.nmlab.configuration_name.maskpro alpha={alpha}": False for alpha in (0.9, 0.97, 0.99)}


def test_runs_of_earlier_versions_are_sorted_by_the_searched_metric_and_grouped_by_digest(
    reopen, study, client, tracking_uri, tmp_path
):
    store = reopen()
    store.begin({}, {"search.metric": "eval/perplexity"})
    spec = trial_spec(study, {"method": "maskpro", "pattern": "2:4", "alpha": 0.9}, seed=0)
    store.begin_trial(spec, role="search", tags={})
    store.log_points(spec.key, [{"step": 4, "time": 4, "values": {"eval/perplexity": 30.0}}])
    store.end_trial(result_of(spec), folder=tmp_path)
    save_views(open_store(tracking_uri), experiment_id(client))
    view = view_of(client, MEANS_VIEW)
    assert view["orderByKey"] == "metrics.`eval/perplexity`"
    assert view["groupBy"]["groupByKeys"][0]["groupByData"] == "nmlab.configuration"


def test_a_launch_of_an_earlier_version_gets_its_page_and_views_without_an_error(tmp_path):
    """It was killed, so a run is still open, and runs that a later process adds are named otherwise."""
    folder = earlier_launch(tmp_path).folder
    store = open_store(f"sqlite:///{folder / 'nmlab.db'}")
    experiment = store.experiment_id(STUDY)
    (parent,) = store.launches(experiment)
    describe_launch(store, study=STUDY, launch=parent.data.tags["nmlab.launch"], findings=FINDINGS)
    tags = store.client.get_experiment(experiment).tags
    assert json.loads(tags[view_tag(RUNS_VIEW)])["orderByKey"] == "metrics.`eval/perplexity`"
    note = store.client.get_run(parent.info.run_id).data.tags["mlflow.note.content"]
    assert all(run.info.run_id in note for run in store.children(experiment, parent=parent.info.run_id))


def test_views_are_written_where_something_changed_and_not_otherwise(launched, client, tracking_uri, monkeypatch):
    store, written = open_store(tracking_uri), []
    save_views(store, experiment_id(client))
    set_tag = store.client.set_experiment_tag
    monkeypatch.setattr(store.client, "set_experiment_tag", lambda *given: (written.append(given[1]), set_tag(*given)))
    save_views(store, experiment_id(client))
    assert not written
    launched.tag_parent({"nmlab.param.search.mode": "max"})  # as an extension does
    save_views(store, experiment_id(client))
    assert sorted(written) == sorted(map(view_tag, (RUNS_VIEW, MEANS_VIEW)))


def test_a_study_without_trials_has_no_view(store, client, tracking_uri):
    assert not save_views(open_store(tracking_uri), experiment_id(client))


def test_the_page_of_a_launch_says_what_was_found_and_leads_to_its_trials(launched, client, tracking_uri):
    describe_launch(open_store(tracking_uri), study="quickstart", launch=LAUNCH, findings=FINDINGS)
    parent = client.get_run(launched.parent)
    note = parent.data.tags["mlflow.note.content"]
    assert note.startswith("[report](#/experiments/")
    assert "\n\n**alpha=0.97 is best \\| by far.**\n\n- It cost &lt;3 s." in note
    assert f"runs/{launched.parent}/artifacts/report/report.html" in note
    rows = [line for line in note.splitlines() if line.startswith("| maskpro")]
    assert [row.split(" | ")[0] for row in rows] == [f"| maskpro alpha={alpha}" for alpha in (0.97, 0.9, 0.99)]
    assert "| 21 |" in rows[0]
    assert "[0 diverged]" in rows[2]
    assert all(run.info.run_id in note for run in sorted_runs(client, view_of(client, RUNS_VIEW)))
    assert parent.data.metrics == {"best/eval/perplexity": 21.0}


def test_a_note_that_would_be_too_long_counts_what_it_leaves_out(launched, study, client, tracking_uri, tmp_path):
    for place in range(80):
        spec = trial_spec(study, {"method": "maskpro", "pattern": "2:4", "alpha": 0.5 + place / 1000}, seed=0)
        launched.begin_trial(spec, role="search", tags={}, words=f"maskpro alpha={0.5 + place / 1000:.3f}")
    describe_launch(open_store(tracking_uri), study="quickstart", launch=LAUNCH, findings=FINDINGS)
    note = client.get_run(launched.parent).data.tags["mlflow.note.content"]
    shown = sum(line.startswith("| maskpro") for line in note.splitlines())
    assert note.endswith(f"\n\n{83 - shown} more configurations are in the table of all runs.")
    assert 0 < shown < 83


def test_the_texts_of_a_trial_are_entities_of_their_own(launched, client):
    (run, *_) = client.search_runs([experiment_id(client)], "tags.`nmlab.kind` = 'trial'")
    used = {each.tags[0].value: each.dataset for each in run.inputs.dataset_inputs}
    assert {"calibration", "evaluation"} <= {*used}
    assert used["evaluation"].name == run.data.params["data.evaluation.source"]
    assert used["evaluation"].digest != used["calibration"].digest
    profile = json.loads(used["calibration"].profile)
    assert str(profile["samples"]) == run.data.params["data.calibration.samples"]


WINNER = {"pattern": "2:4", "best": "aa", "mean": 20.0, "fresh": None}
FRESH = {"finalists": [{"configuration": "bb", "fresh_mean": 1.0}, {"configuration": "aa", "fresh_mean": 22.0}]}


def test_the_best_mean_is_that_of_fresh_seeds_where_there_are_any():
    assert best_means([WINNER]) == {"": 20.0}
    assert best_means([{**WINNER, "fresh": FRESH}]) == {"": 22.0}
    assert best_means([WINNER, {**WINNER, "pattern": "4:8", "mean": 9.0}]) == {"2 of 4": 20.0, "4 of 8": 9.0}
    assert best_means([]) == {}


def test_neutral_texts_are_entities_and_parameters_by_name(plan_of, study):
    assert "data.neutral" not in " ".join(flat_study(study))
    study = plan_of("data.neutral=[news.txt, {source: law.txt, name: law, windows: 2}]").study
    settings = trial_spec(study, {"method": "magnitude", "pattern": "2:4"}, seed=0).flat()
    of_launch = flat_study(study)
    names = [name for name in settings if name.startswith("data.neutral.")]
    assert {name: of_launch[name] for name in names} == {name: settings[name] for name in names}
    assert (settings["data.neutral.news.windows"], settings["data.neutral.law.windows"]) == (4, 2)
    used = {each.tags[0].value: each.dataset for each in dataset_inputs(settings, data_digest="d")}
    assert {use: each.name for use, each in used.items() if use.startswith("neutral")} == {
        "neutral news": "news.txt",
        "neutral law": "law.txt",
    }
