"""What MLflow refuses holds up nothing else, and deleted runs are created again."""

import time

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from nmlab.platform.launches import launch as launches
from nmlab.platform.launches.journal import Journal
from nmlab.platform.planning.study_trials import trial_spec
from nmlab.platform.records.events import LaunchBegan, LaunchEnded, TrialEnded, TrialMetrics, TrialSubmitted
from nmlab.platform.search.initial_points import points
from nmlab.platform.tracking import MlflowStore, Recorder, recorder


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(recorder, "_FIRST_RETRY_SECONDS", 0.02)


@pytest.fixture
def plan(plan_of):
    return plan_of()


@pytest.fixture
def launch(plan, tmp_path, tracking_uri):
    launch = launches.create(plan.study, results=tmp_path / "results", settings={})
    launch.environment_file.write_text("{}")
    return launch


@pytest.fixture
def specs(plan):
    point = next(points(plan.study))
    return [trial_spec(plan.study, point, seed=seed) for seed in (0, 1, 2)]


@pytest.fixture
def begin(launch, plan, tracking_uri):
    """Return a function that opens the recorder of a new process, and its store."""

    def begin(kind=MlflowStore):
        store = kind(plan.study.name, launch=launch.name, uri=tracking_uri)
        return Recorder(launch, journal=Journal(launch), store=store, baselines=[], tags={}), store

    return begin


BEGAN = LaunchBegan(tags={"nmlab.planned": "3"}, params={"method": "maskpro"})


def begun(spec):
    return TrialSubmitted(key=spec.key, spec=spec.model_dump(mode="json"))


def point(spec, step):
    return TrialMetrics(key=spec.key, step=step, time=1000 + step, values={"train/loss": step / 2})


def ended(spec, **others):
    result = {"key": spec.key, "status": "finished", "step": 9, "metrics": {}, "reason": "", "artifacts": ()}
    return TrialEnded(key=spec.key, result={**result, **others})


def whole(spec):
    return [begun(spec), *(point(spec, step) for step in range(4)), ended(spec)]


def drain(recorder):
    """Wait until the recorder has delivered, or set aside, all that is in the journal."""
    recorder.close(grace=20)
    assert recorder.waiting_bytes == 0


def runs(uri, study="quickstart"):
    """Return the parent's id and the child runs by key, all that are not deleted."""
    client = MlflowClient(tracking_uri=uri)
    found = client.search_runs([client.get_experiment_by_name(study).experiment_id])
    (parent,) = [run.info.run_id for run in found if run.data.tags["nmlab.kind"] == "study"]
    return parent, {r.data.tags["nmlab.trial_key"]: r for r in found if r.data.tags["nmlab.kind"] == "trial"}


def steps(uri, run):
    return [m.step for m in MlflowClient(tracking_uri=uri).get_metric_history(run.info.run_id, "train/loss")]


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("victim", ["running trial", "parent", "experiment"])
def test_what_is_deleted_while_it_is_written_is_created_again_and_whole(begin, specs, tracking_uri, victim):
    recorder, store = begin()
    recorder.record([BEGAN, *whole(specs[0]), begun(specs[1]), point(specs[1], 0)])
    wait_until(lambda: not recorder.waiting_bytes)
    client = MlflowClient(tracking_uri=tracking_uri)
    if victim == "running trial":
        client.delete_run(store.run_of(specs[1].key))
    elif victim == "parent":
        client.delete_run(store.parent)
    else:
        client.delete_experiment(client.get_experiment_by_name("quickstart").experiment_id)
    recorder.record([point(specs[1], step) for step in (1, 2, 3)] + [ended(specs[1]), *whole(specs[2])])
    recorder.record([LaunchEnded(status="finished", time=5, tags={})])
    drain(recorder)
    assert recorder.refused == {}
    parent, children = runs(tracking_uri)
    assert children.keys() == {spec.key for spec in specs}
    for run in children.values():
        assert run.data.tags["mlflow.parentRunId"] == parent
        assert run.info.status == "FINISHED"
        assert sorted(steps(tracking_uri, run)) == [0, 1, 2, 3]


class Choosy(MlflowStore):
    """A store that works and takes nothing about one trial."""

    victim = ""

    def end_trial(self, result, **others):
        if result["key"] == self.victim:
            raise MlflowException("the value is too long\nsecond line")
        super().end_trial(result, **others)


def test_a_record_that_is_refused_holds_up_nothing_else_and_is_tried_again(begin, specs, tracking_uri, monkeypatch):
    monkeypatch.setattr(Choosy, "victim", specs[1].key)
    recorder, _ = begin(Choosy)
    recorder.record([BEGAN, *whole(specs[0]), *whole(specs[1]), *whole(specs[2])])
    drain(recorder)
    assert recorder.refused == {f"trial {specs[1].key}": "MlflowException: the value is too long"}
    assert {k: r.info.status for k, r in runs(tracking_uri)[1].items()} == {
        specs[0].key: "FINISHED",
        specs[1].key: "RUNNING",
        specs[2].key: "FINISHED",
    }
    again, _ = begin()
    drain(again)
    assert again.refused == {}
    assert {run.info.status for run in runs(tracking_uri)[1].values()} == {"FINISHED"}


def test_a_store_that_does_not_work_refuses_nothing(begin, specs, monkeypatch):
    """It is out of reach: the records wait, however often they were tried."""
    monkeypatch.setattr(Choosy, "victim", specs[1].key)
    monkeypatch.setattr(Choosy, "works", lambda self: False)
    recorder, _ = begin(Choosy)
    recorder.record([BEGAN, *whole(specs[1])])
    wait_until(lambda: "too long" in recorder.trouble)
    with pytest.raises(Exception, match="too long"):
        recorder.close(grace=1)
    assert recorder.refused == {}
    assert recorder.waiting_bytes > 0


def test_a_run_whose_file_is_gone_is_closed_and_named(begin, specs, tracking_uri):
    recorder, _ = begin()
    recorder.record([BEGAN, begun(specs[0]), ended(specs[0], artifacts=("mask.safetensors",)), *whole(specs[1])])
    drain(recorder)
    (about, why) = next(iter(recorder.refused.items()))
    assert about == f"trial {specs[0].key}"
    assert "mask.safetensors is gone" in why
    _, children = runs(tracking_uri)
    assert {run.info.status for run in children.values()} == {"FINISHED"}
    assert children[specs[0].key].data.tags["nmlab.missing_artifacts"] == "mask.safetensors"


def test_records_of_a_trial_whose_beginning_is_missing_hold_up_nothing(begin, specs, tracking_uri):
    """A damaged line was taken out of the journal."""
    recorder, _ = begin()
    recorder.record([BEGAN, *whole(specs[0])[1:], *whole(specs[1])])
    drain(recorder)
    assert list(recorder.refused) == [f"trial {specs[0].key}"]
    assert runs(tracking_uri)[1].keys() == {specs[1].key}
