"""What happens while nothing can be written: an MLflow store that fails, a disk that is full.

The store is made to fail for real: by an exclusive lock, by a folder that takes no new file (sqlite needs one to
write), by a file that is gone. The full disk is a small tmpfs of its own, mounted for the test.
"""

import errno
import os
import sqlite3
import time
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from outages import disk, fill, locked, moved_away, read_only

from nmlab.platform.launches import launch as launches
from nmlab.platform.launches.journal import Journal
from nmlab.platform.planning.study_trials import trial_spec
from nmlab.platform.records.events import LaunchBegan, LaunchEnded, TrialEnded, TrialMetrics, TrialSubmitted
from nmlab.platform.search.initial_points import points
from nmlab.platform.tracking import MlflowStore, Recorder, UndeliveredError
from nmlab.trials.files.disk import DiskFullError, is_disk_full, retry_while_disk_full


@pytest.fixture
def plan(plan_of):
    return plan_of()


@pytest.fixture
def launch(plan, tmp_path, tracking_uri):
    launch = launches.create(plan.study, results=tmp_path / "results", settings={})
    launch.environment_file.write_text("{}")
    return launch


@pytest.fixture
def spec(plan):
    return trial_spec(plan.study, next(points(plan.study)), seed=0)


def open_recorder(launch, plan, uri):
    store = MlflowStore(plan.study.name, launch=launch.name, uri=uri)
    return Recorder(launch, journal=Journal(launch), store=store, baselines=[], tags={})


BEGAN = LaunchBegan(tags={"nmlab.planned": "1"}, params={"method": "maskpro"})
OVER = LaunchEnded(status="finished", time=5000, tags={"nmlab.frozen_weights": "verified"})


def story(spec, *, steps=10):
    points = [
        TrialMetrics(key=spec.key, step=step, time=1000 + step, values={"train/loss": step / 2})
        for step in range(steps)
    ]
    result = {"key": spec.key, "status": "finished", "step": 9, "metrics": {}, "reason": "", "artifacts": ()}
    trial = TrialSubmitted(key=spec.key, spec=spec.model_dump(mode="json"))
    return [trial, *points, TrialEnded(key=spec.key, result=result)]


def assert_everything_is_there_once(uri, spec):
    client = MlflowClient(tracking_uri=uri)
    found = client.search_runs([client.get_experiment_by_name("quickstart").experiment_id])
    kinds = {run.data.tags["nmlab.kind"]: run for run in found}
    assert sorted(run.data.tags["nmlab.kind"] for run in found) == ["study", "trial"]
    assert {run.info.status for run in found} == {"FINISHED"}
    assert kinds["study"].data.tags["nmlab.frozen_weights"] == "verified"
    assert kinds["trial"].data.tags["nmlab.trial_key"] == spec.key
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as database:
        rows = list(database.execute("select step, value from metrics where key = 'train/loss' order by step"))
    assert rows == [(step, step / 2) for step in range(10)]


def wait_until(condition, *, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("outage", "recorded_before"),
    [*((outage, before) for outage in (read_only, moved_away) for before in (0, 1, 6)), (locked, 6)],
)
def test_records_wait_in_the_journal_until_mlflow_takes_them(launch, plan, spec, tracking_uri, outage, recorded_before):
    records = [BEGAN, *story(spec)]
    recorder = open_recorder(launch, plan, tracking_uri)
    if recorded_before:
        recorder.record(records[:recorded_before])
        wait_until(lambda: recorder.waiting_bytes == 0)
    with outage(tracking_uri):
        recorder.record(records[recorded_before:])  # which returns while MLflow takes nothing
        wait_until(lambda: recorder.trouble)
        assert recorder.waiting_bytes > 0
    recorder.record([OVER])
    recorder.close()
    assert recorder.trouble == ""
    assert_everything_is_there_once(tracking_uri, spec)


def test_a_launch_that_ends_during_the_outage_is_delivered_by_a_later_process(launch, plan, spec, tracking_uri):
    recorder = open_recorder(launch, plan, tracking_uri)
    recorder.record([BEGAN, *story(spec)[:4]])
    wait_until(lambda: recorder.waiting_bytes == 0)
    with read_only(tracking_uri):
        recorder.record([*story(spec)[4:], OVER])
        with pytest.raises(UndeliveredError, match=r"unable to open|readonly"):
            recorder.close(grace=1)
    later = open_recorder(launch, plan, tracking_uri)
    later.close()
    assert_everything_is_there_once(tracking_uri, spec)


@pytest.fixture
def small_disk(tmp_path):
    with disk(tmp_path / "disk", size="256k") as folder:
        yield folder


def test_a_journal_on_a_full_disk_is_as_it_was_and_takes_the_same_records_later(plan, spec, small_disk):
    launch = launches.create(plan.study, results=small_disk, settings={})
    journal = Journal(launch)
    records = story(spec, steps=400)
    journal.write(records[:5])
    ballast = fill(small_disk)
    before = launch.journal_file.read_bytes()
    with pytest.raises(OSError, match="No space left") as raised:
        journal.write(records[5:])
    assert is_disk_full(raised.value)
    assert launch.journal_file.read_bytes() == before
    ballast.unlink()
    journal.write(records[5:])
    assert len(list(journal.read())) == len(records)


def test_writing_goes_on_once_there_is_room(small_disk):
    ballast = fill(small_disk)
    attempts = []

    def write():
        attempts.append(len(attempts))
        if len(attempts) == 2:
            ballast.unlink()
        (small_disk / "result").write_bytes(bytes(100_000))
        return "written"

    assert retry_while_disk_full(write, given_up=lambda: False) == "written"
    assert len(attempts) == 2


def test_nothing_waits_for_room_that_is_not_needed(small_disk):
    fill(small_disk)
    with pytest.raises(DiskFullError, match="stayed full"):
        retry_while_disk_full(lambda: (small_disk / "result").write_bytes(bytes(100_000)), given_up=lambda: True)


def test_other_errors_are_not_taken_for_a_full_disk():
    with pytest.raises(IsADirectoryError):
        retry_while_disk_full(lambda: Path("/").write_text("x"), given_up=lambda: False)
    assert not is_disk_full(OSError(errno.EACCES, os.strerror(errno.EACCES)))
    assert is_disk_full(OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)))
