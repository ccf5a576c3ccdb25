"""What an earlier launch searched: the same from its folder as from MLflow, also of a launch of the first version."""

import shutil

import pytest
from earlier import earlier_launch

from nmlab.platform.launches import launch as launches
from nmlab.platform.launches.journal import Journal
from nmlab.platform.planning.study_trials import trial_spec
from nmlab.platform.records.events import (
    LaunchBegan,
    LaunchEnded,
    ReplicaStarted,
    TrialEnded,
    TrialMetrics,
    TrialSubmitted,
)
from nmlab.platform.search.earlier_search import differences, earlier_configurations
from nmlab.platform.search.initial_points import points
from nmlab.platform.tracking import MlflowStore, Recorder
from nmlab.platform.tracking.earlier_launch import read_earlier_search

METRIC = "eval/perplexity"


@pytest.fixture
def plan(plan_of):
    return plan_of()


def told(search):
    """Return the outcomes of a search by configuration."""
    return {each.spec.configuration: each.outcome for each in earlier_configurations(search, constraints=())}


def trial_records(spec, value, *, status="finished"):
    result = {
        "key": spec.key,
        "status": status,
        "step": 4,
        "metrics": {METRIC: value},
        "reason": "",
        "resumable": False,
    }
    return [
        TrialSubmitted(key=spec.key, spec=spec.model_dump(mode="json")),
        TrialMetrics(key=spec.key, step=0, time=1000, values={"initial/perplexity": 90.0}),
        TrialMetrics(key=spec.key, step=2, time=1002, values={METRIC: value + 5.0}),
        TrialEnded(key=spec.key, result=result if status == "finished" else {**result, "metrics": {}, "step": 2}),
    ]


@pytest.fixture
def recorded(plan, tmp_path, tracking_uri):
    """A launch of which one configuration finished and one was stopped early, with one seed of a baseline."""
    launch = launches.create(plan.study, results=tmp_path / "results", settings={})
    store = MlflowStore(plan.study.name, launch=launch.name, uri=tracking_uri)
    keys = [spec.key for spec in plan.baselines]
    recorder = Recorder(launch, journal=Journal(launch), store=store, baselines=keys, tags={})
    launch.environment_file.write_text("{}")
    first, second, *_ = points(plan.study)
    specs = [[trial_spec(plan.study, point, seed=seed) for seed in (0, 1)] for point in (first, second)]
    recorder.record([LaunchBegan(tags={"nmlab.data_digest": "dd"}, params={"method": "maskpro"})])
    recorder.record([ReplicaStarted(host="a", model_digest="weights")])
    recorder.record(trial_records(plan.baselines[0], 20.0))
    for place, spec in enumerate(specs[0]):
        recorder.record(trial_records(spec, 30.0 + place))
    for spec in specs[1]:
        recorder.record(trial_records(spec, 50.0, status="stopped"))
    recorder.record([LaunchEnded(status="finished", time=5000, tags={})])
    recorder.close()
    return launch


def test_it_is_read_from_its_folder(plan, recorded, tmp_path, tracking_uri):
    search = read_earlier_search("quickstart", results=tmp_path / "results", tracking_uri=tracking_uri)
    assert (search.study, search.launch) == ("quickstart", recorded.name)
    assert (search.model_digest, search.data_digest, search.seeds) == ("weights", "dd", (0, 1))
    finished, stopped = told(search).values()
    assert (finished.values, finished.intermediate) == ([30.5], {2: 35.5, 4: 30.5})
    assert (stopped.pruned, stopped.intermediate) == (True, {2: 55.0})


@pytest.mark.parametrize("by", ["name", "study", "folder"])
def test_it_is_the_same_from_mlflow_where_the_folder_is_gone(recorded, tmp_path, tracking_uri, by):
    results = tmp_path / "results"
    before = read_earlier_search(recorded.name, results=results, tracking_uri=tracking_uri)
    shutil.rmtree(recorded.folder)
    text = {"name": recorded.name, "study": "quickstart", "folder": str(recorded.folder)}[by]
    after = read_earlier_search(text, results=results, tracking_uri=tracking_uri)
    assert told(after) == told(before)
    assert (after.launch, after.seeds, after.not_searched) == (before.launch, before.seeds, before.not_searched)
    assert (after.model_digest, after.data_digest) == ("weights", "dd")


def test_one_that_was_killed_and_has_no_folder_is_refused_in_one_line(recorded, tmp_path, tracking_uri, client):
    store = MlflowStore("quickstart", launch="quickstart-killed", uri=tracking_uri)
    store.begin({}, {})
    store.attach(recorded.folder / "study.yaml")
    with pytest.raises(ValueError, match=r"launch quickstart-killed has no log\.jsonl in MLflow, because") as refused:
        read_earlier_search("quickstart-killed", results=tmp_path / "results", tracking_uri=tracking_uri)
    assert "\n" not in str(refused.value)


def test_one_that_is_in_neither_is_refused_in_one_line(recorded, tmp_path, tracking_uri):
    with pytest.raises(ValueError, match=r"no launch 'quickstrat' in .*; did you mean 'quickstart'") as refused:
        read_earlier_search("quickstrat", results=tmp_path / "results", tracking_uri=tracking_uri)
    assert "\n" not in str(refused.value)


def test_a_launch_of_the_first_version_is_read(tmp_path):
    """Its texts and weights are those of a study that names the same ones today."""
    earlier = earlier_launch(tmp_path)
    search = read_earlier_search(
        "old-grid", results=earlier.folder / "results", tracking_uri=f"sqlite:///{earlier.folder / 'nmlab.db'}"
    )
    found = told(search)
    complete = [outcome for outcome in found.values() if outcome is not None]
    assert (len(found), len(complete)) == (2, 1), "one of its trials never ended"
    assert complete[0].values is not None
    assert len(search.model_digest) == 16
    assert search.data_digest


def test_a_launch_of_the_first_version_compares_with_its_own_study_of_today(tmp_path, monkeypatch):
    from nmlab.platform.driver.start_launch import plan_of as planned
    from nmlab.platform.driver.warm_start import model_digest

    earlier = earlier_launch(tmp_path)
    monkeypatch.chdir(earlier.folder)
    search = read_earlier_search("old-grid", results=earlier.folder / "results", tracking_uri="sqlite:///nmlab.db")
    plan = planned(launches.find("old-grid", results=earlier.folder / "results"))
    unlike = differences(
        search,
        spec=plan.examples[0],
        metrics=plan.study.search.metrics,
        modes=plan.study.search.modes,
        model_digest=model_digest(plan.study.model),
        data_digest=plan.facts.data_digest,
    )
    assert unlike == []
