"""The one writer: journal first, MLflow behind the caller's back, nothing twice, errors not lost."""

import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from nmlab.platform.launches import launch as launches
from nmlab.platform.launches.journal import Journal
from nmlab.platform.planning.study_trials import trial_spec
from nmlab.platform.records.events import (
    ConfirmationChosen,
    LaunchBegan,
    ReplicaStarted,
    TrialActorLost,
    TrialEnded,
    TrialLeased,
    TrialMetrics,
    TrialSubmitted,
)
from nmlab.platform.search.initial_points import points
from nmlab.platform.tracking import MlflowStore, Recorder

TAGS = {"nmlab.data_digest": "dd"}


@pytest.fixture
def plan(plan_of):
    return plan_of()


@pytest.fixture
def launch(plan, tmp_path, tracking_uri):
    return launches.create(plan.study, results=tmp_path / "results", settings={})


@pytest.fixture
def specs(plan):
    point = next(points(plan.study))
    return [trial_spec(plan.study, point, seed=seed) for seed in (0, 1)]


def open_recorder(launch, plan, uri, *, kind=MlflowStore):
    """Return a recorder of the launch as a new process makes it, and its store."""
    store = kind(plan.study.name, launch=launch.name, uri=uri)
    store.begin({}, {})
    baselines = [spec.key for spec in plan.baselines]
    return Recorder(launch, journal=Journal(launch), store=store, baselines=baselines, tags=TAGS), store


def begun(spec):
    return TrialSubmitted(key=spec.key, spec=spec.model_dump(mode="json"))


def point(spec, step):
    return TrialMetrics(key=spec.key, step=step, time=1000 + step, values={"train/loss": step / 2})


def ended(spec, status="finished", artifacts=(), **others):
    result = {"key": spec.key, "status": status, "step": 9, "metrics": {}, "reason": "", "artifacts": artifacts}
    result |= others
    return TrialEnded(key=spec.key, result=result)


def story(spec, *, steps=10):
    """All records of the dispatcher on one undisturbed trial."""
    leased = TrialLeased(key=spec.key, host="replica-0", attempt=1)
    return [begun(spec), leased, *(point(spec, step) for step in range(steps)), ended(spec)]


def runs(store):
    """Return the child runs by trial key."""
    client = MlflowClient(tracking_uri=store.uri)
    found = client.search_runs([client.get_experiment_by_name("quickstart").experiment_id])
    return {run.data.tags["nmlab.trial_key"]: run for run in found if "nmlab.trial_key" in run.data.tags}


def repeated(uri):
    """Return the (run, metric, step) that the database holds more than once, and how many it holds in all."""
    query = "select run_uuid, key, step, count(*) from metrics group by 1, 2, 3"
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as database:
        counts = list(database.execute(query))
    return [row for row in counts if row[3] > 1], len(counts)


def test_interleaved_trials_are_each_recorded_whole(launch, plan, specs, tracking_uri):
    recorder, store = open_recorder(launch, plan, tracking_uri)
    for pair in zip(*(story(spec) for spec in specs), strict=True):
        recorder.record(list(pair))
    recorder.close()
    found = runs(store)
    assert set(found) == {spec.key for spec in specs}
    for run in found.values():
        assert run.info.status == "FINISHED"
        assert run.data.metrics == {"train/loss": 4.5}
        assert run.data.tags["nmlab.data_digest"] == "dd"
        assert run.data.tags["nmlab.role"] == "search"
    assert repeated(tracking_uri) == ([], 20)


class NotingStore(MlflowStore):
    """A store that notes in which order it is called."""

    calls: list

    def begin(self, tags, params):
        self.calls = []
        super().begin(tags, params)

    def begin_trial(self, spec, **others):
        self.calls.append(("begin", spec.key))
        super().begin_trial(spec, **others)

    def log_points(self, key, points):
        self.calls += [(point["step"], key) for point in points]
        super().log_points(key, points)

    def end_trial(self, result, **others):
        self.calls.append(("end", result["key"]))
        super().end_trial(result, **others)


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_mlflow_hears_of_each_trial_in_the_order_of_the_hub(launch, plan, specs, tracking_uri, batch):
    """However the records are batched: nothing of a trial before its beginning, nothing after its end."""
    recorder, store = open_recorder(launch, plan, tracking_uri, kind=NotingStore)
    records = [record for pair in zip(*(story(spec) for spec in specs), strict=True) for record in pair]
    for start in range(0, len(records), batch):
        recorder.record(records[start : start + batch])
    recorder.close()
    for spec in specs:
        calls = [call for call, key in store.calls if key == spec.key]
        assert calls == ["begin", *range(10), "end"]


def test_baselines_are_known_by_their_keys(launch, plan, specs, tracking_uri):
    recorder, store = open_recorder(launch, plan, tracking_uri)
    recorder.record([begun(plan.baselines[0]), begun(specs[0])])
    recorder.close()
    roles = {key: run.data.tags["nmlab.role"] for key, run in runs(store).items()}
    assert roles == {plan.baselines[0].key: "baseline", specs[0].key: "search"}


def test_what_is_recorded_is_in_the_journal_at_once_and_in_order(launch, plan, specs, tracking_uri):
    recorder, _ = open_recorder(launch, plan, tracking_uri)
    records = story(specs[0])
    recorder.record(records[:3])
    recorder.record(records[3:])
    assert list(Journal(launch).read()) == _as_json(records)
    recorder.close()


@pytest.mark.parametrize("cut", [1, 4, 8, 13])
def test_a_journal_delivered_again_by_a_second_process_gives_nothing_twice(launch, plan, specs, tracking_uri, cut):
    """The first process was killed when MLflow had the beginning and the journal had everything."""
    records = story(specs[0])
    first, _ = open_recorder(launch, plan, tracking_uri)
    first.record(records[:cut])
    first.close()
    Journal(launch).write(records[cut:])
    second, store = open_recorder(launch, plan, tracking_uri)
    second.close()
    (run,) = runs(store).values()
    assert run.info.status == "FINISHED"
    assert repeated(tracking_uri) == ([], 10)


def test_a_trial_that_moved_repeats_steps_which_are_recorded_once(launch, plan, specs, tracking_uri):
    spec = specs[0]
    recorder, _ = open_recorder(launch, plan, tracking_uri)
    recorder.record([begun(spec), *(point(spec, step) for step in range(6))])
    later = [replace(point(spec, step), time=9000 + step) for step in range(3, 10)]
    recorder.record([*later, ended(spec)])
    recorder.close()
    assert repeated(tracking_uri) == ([], 10)


def test_an_interrupted_trial_that_goes_on_is_shown_as_running(launch, plan, specs, tracking_uri):
    """In the process that resumes the launch: first the old journal, then new records of the dispatcher."""
    first, _ = open_recorder(launch, plan, tracking_uri)
    first.record([begun(specs[0]), ended(specs[0], "stopped", resumable=True)])
    first.close()
    second, store = open_recorder(launch, plan, tracking_uri)
    second.record([begun(specs[0])])
    second.close()
    (run,) = runs(store).values()
    assert (run.info.status, run.data.tags["nmlab.status"]) == ("RUNNING", "running")
    third, store = open_recorder(launch, plan, tracking_uri)
    third.record([ended(specs[0])])
    third.close()
    (run,) = runs(store).values()
    assert run.data.tags["nmlab.status"] == "finished"


def test_events_that_are_not_mlflows_business_pass_through_to_the_journal(launch, plan, tracking_uri):
    recorder, store = open_recorder(launch, plan, tracking_uri)
    new_records = [
        ReplicaStarted(host="a", loads=1),
        TrialActorLost(key="x", error="e"),
    ]
    recorder.record(new_records)
    recorder.close()
    assert list(Journal(launch).read()) == new_records
    assert recorder.waiting_bytes == 0
    assert runs(store) == {}


class SlowStore(MlflowStore):
    """A store whose every write waits until it is let go."""

    go = threading.Event()

    def begin_trial(self, spec, **others):
        assert self.go.wait(30)
        super().begin_trial(spec, **others)


def test_the_caller_never_waits_for_mlflow(launch, plan, specs, tracking_uri):
    recorder, store = open_recorder(launch, plan, tracking_uri, kind=SlowStore)
    for record in story(specs[0], steps=100):
        recorder.record([record])  # which returns while the store holds everything up
    assert runs(store) == {}
    SlowStore.go.set()
    recorder.close()
    assert runs(store)[specs[0].key].info.status == "FINISHED"
    assert repeated(tracking_uri) == ([], 100)


def test_a_finished_trials_files_are_attached(launch, plan, specs, tracking_uri):
    folder = launch.trial_folder(specs[0].key)
    folder.mkdir(parents=True)
    (folder / "trial.json").write_text("{}")
    recorder, store = open_recorder(launch, plan, tracking_uri)
    recorder.record([begun(specs[0]), ended(specs[0], artifacts=("trial.json",))])
    recorder.close()
    (run,) = runs(store).values()
    client = MlflowClient(tracking_uri=tracking_uri)
    assert [item.path for item in client.list_artifacts(run.info.run_id)] == ["trial.json"]
    assert Path(launch.folder).is_dir()


def _as_json(records):
    """Records as they come back from JSON: tuples are lists there."""
    return [
        replace(r, result={**r.result, "artifacts": list(r.result["artifacts"])}) if isinstance(r, TrialEnded) else r
        for r in records
    ]


def test_after_it_has_given_up_nobody_reads_the_journal(launch, plan, specs, tracking_uri):
    """A driver that ends on a full disk closes the journal while MLflow lacks a part of it."""
    recorder, _ = open_recorder(launch, plan, tracking_uri)
    recorder.record([begun(specs[0])])
    recorder.give_up()
    assert not recorder._thread.is_alive()


def confirmation(plan, spec, *baselines, seeds=(5, 6)):
    roles = {"search": [spec], "baseline": baselines}
    chosen = [
        {"configuration": each.configuration, "role": role, "spec": each.model_dump(mode="json")}
        for role, own in roles.items()
        for each in own
    ]
    tags = {"nmlab.planned": "8", "nmlab.confirmation_seeds": "5,6"}
    return ConfirmationChosen(seeds=seeds, chosen=chosen, metric="eval/perplexity", asked=1, looked_at=3, tags=tags)


def test_trials_that_confirm_a_search_bear_that_as_a_tag_and_keep_their_roles(launch, plan, specs, tracking_uri):
    recorder, store = open_recorder(launch, plan, tracking_uri)
    own, rule = (spec.model_copy(update={"seed": 5}) for spec in (specs[0], plan.baselines[1]))
    recorder.record([*story(specs[0]), confirmation(plan, specs[0], plan.baselines[1]), *story(own), *story(rule)])
    recorder.close()
    tags = {key: run.data.tags for key, run in runs(store).items()}
    found = {key: (own["nmlab.role"], own.get("nmlab.confirmation")) for key, own in tags.items()}
    assert found == {specs[0].key: ("search", None), own.key: ("search", "true"), rule.key: ("baseline", "true")}
    assert tags[own.key]["nmlab.configuration"] == tags[specs[0].key]["nmlab.configuration"]
    parent = MlflowClient(tracking_uri=store.uri).get_run(store.parent).data.tags
    assert (parent["nmlab.planned"], parent["nmlab.confirmation_seeds"]) == ("8", "5,6")


def test_a_second_process_knows_them_from_the_journal(launch, plan, specs, tracking_uri):
    fresh = specs[0].model_copy(update={"seed": 6})
    first, _ = open_recorder(launch, plan, tracking_uri)
    first.record([*story(specs[0]), confirmation(plan, specs[0])])
    first.close()
    second, store = open_recorder(launch, plan, tracking_uri)
    second.record(story(fresh))
    second.close()
    assert runs(store)[fresh.key].data.tags["nmlab.confirmation"] == "true"


def test_a_later_process_takes_no_mark_from_what_confirms_an_extended_launch(launch, plan, specs, tracking_uri):
    """An extension made seed 5 one of the study; seed 6 and a later choice confirm, also when all is told again."""
    one, other, last = (specs[0].model_copy(update={"seed": seed}) for seed in (5, 6, 7))
    extended = LaunchBegan(tags={"nmlab.study_versions": "2", "nmlab.confirmation_seeds": "6,7"}, params={})
    told = [confirmation(plan, specs[0]), *story(one), *story(other), extended]
    told += [confirmation(plan, specs[0], seeds=(6, 7)), *story(last)]
    for _ in range(2):
        recorder, store = open_recorder(launch, plan, tracking_uri)
        recorder.record(told)
        recorder.close()
        told = []
        found = {key: run.data.tags.get("nmlab.confirmation") for key, run in runs(store).items()}
        assert found == {one.key: None, other.key: "true", last.key: "true"}
