"""The state of a launch as users see it, while it runs and after it was killed."""

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from nmlab.platform.launches import launch as launches
from nmlab.platform.launches.state import LaunchState
from nmlab.platform.launches.status import StatusFile, read_status
from nmlab.platform.launches.view.live_view import status_lines, view_lines
from nmlab.platform.records.events import (
    ReplicaLeft,
    ReplicaLost,
    ReplicaStarted,
    TrialEnded,
    TrialLeased,
    TrialMetrics,
    TrialSubmitted,
    WeightsChecked,
)
from nmlab.trials.files.checked_json import read_checked, write_checked

METRIC = "eval/perplexity"
REPLICA = ReplicaStarted(host="replica-0", loads=1, pid=7, slots=1, shards=[{}], device="cpu")


def trial(key, seed=0, **hyperparameters):
    spec = {"method": "maskpro", "pattern": "2:4", "seed": seed, "hyperparameters": hyperparameters}
    return TrialSubmitted(key=key, spec=spec)


def metrics(key, step, **values):
    return TrialMetrics(key=key, step=step, time=0, values=values)


def leased(key, host="replica-0"):
    return TrialLeased(key=key, host=host, attempt=1)


def ended(key, status="finished", step=9, reason="", **values):
    result = {"key": key, "status": status, "step": step, "metrics": values, "reason": reason}
    return TrialEnded(key=key, result=result)


@pytest.fixture
def state():
    return LaunchState("study", "study-1", 3, METRIC, searched=("steps", "learning_rate"))


def test_a_trial_is_followed_from_the_queue_to_its_end(state):
    state.update([REPLICA, trial("x", seed=2, steps=9, learning_rate=0.123456)])
    line = state.trials["x"]
    assert (line.label, line.seed, line.steps) == ("maskpro 2:4 steps=9 learning_rate=0.123", 2, 9)
    assert (line.status, state.phase) == ("waiting", "starting")
    state.update([leased("x"), metrics("x", 0, **{METRIC: 90.0})])
    assert (line.status, line.host, state.phase) == ("running", "replica-0", "running")
    assert (line.initial, line.perplexity, line.loss) == (90.0, 90.0, None)
    state.update([metrics("x", 5, **{"train/loss": 4.0}), metrics("x", 9, **{METRIC: 80.0})])
    assert (line.step, line.loss, line.initial, line.perplexity) == (9, 4.0, 90.0, 80.0)
    state.update([ended("x")])
    assert line.status == "finished"
    assert state.ended == 1


def test_the_start_of_a_trial_is_no_value_of_what_it_learned(state):
    state.update([trial("x", steps=9), leased("x"), metrics("x", 0, **{"initial/perplexity": 90.0})])
    line = state.trials["x"]
    assert (line.initial, line.perplexity) == (90.0, None)
    state.update([metrics("x", 5, **{METRIC: 80.0})])
    assert (line.initial, line.perplexity) == (90.0, 80.0)


def test_a_moved_trial_repeats_steps_without_going_back(state):
    state.update([REPLICA, trial("x", steps=9), leased("x"), metrics("x", 6, **{"train/loss": 4.0})])
    state.update([metrics("x", 5, **{"train/loss": 4.1})])
    assert state.trials["x"].step == 6


def test_an_interrupted_trial_has_stopped_but_still_needs_work(state):
    state.update([REPLICA, trial("x", steps=9), leased("x")])
    interrupted = ended("x", status="stopped", step=4)
    interrupted.result["resumable"] = True
    state.update([interrupted])
    assert (state.ended, state.counts()) == (0, {"stopped": 1})
    state.update([leased("x"), ended("x")])
    assert (state.ended, state.counts()) == (1, {"finished": 1})


def test_trials_of_a_lost_replica_wait_and_those_of_others_go_on(state):
    state.update([REPLICA, replace(REPLICA, host="replica-1"), trial("x"), trial("y")])
    state.update([leased("x"), leased("y", "replica-1"), ReplicaLost(host="replica-0", reason="lost")])
    assert (state.trials["x"].status, state.trials["y"].status) == ("waiting", "running")
    assert [state.replicas[name]["state"] for name in ("replica-0", "replica-1")] == ["lost", "ready"]
    state.update([replace(REPLICA, loads=2)])
    assert state.replicas["replica-0"]["state"] == "ready"
    state.update([ReplicaLeft(host="replica-0", reason="lost")])
    assert state.replicas["replica-0"]["state"] == "done"
    assert state.snapshot()["model_loads"] == 3


def test_what_replicas_found_of_their_weights_outlives_the_process_and_a_change_is_never_forgotten(state):
    assert state.frozen_weights == "unverified"
    state.recall([REPLICA, WeightsChecked(host="replica-0", unchanged=True)], ended_for_good=())
    assert state.frozen_weights == "verified"
    state.update([WeightsChecked(host="replica-0", unchanged=False)])
    state.update([WeightsChecked(host="replica-1", unchanged=True)])
    assert state.frozen_weights == "mismatch"


def test_what_an_earlier_process_ended_counts_but_not_towards_the_pace(state):
    earlier = [trial("u"), leased("u"), ended("u"), trial("v"), leased("v"), ended("v"), trial("x"), leased("x")]
    state.recall([REPLICA, *earlier], ended_for_good={"u", "v"})
    assert (state.ended, state.time_left(), state.replicas) == (2, None, {})
    assert {key: line.status for key, line in state.trials.items()} == {
        "u": "finished",
        "v": "finished",
        "x": "waiting",
    }
    state.update([REPLICA, trial("x"), leased("x"), ended("x", status="diverged", reason="nan")])
    assert state.ended == 3
    assert state.snapshot()["eta_seconds"] == 0.0
    assert state.counts() == {"finished": 2, "diverged": 1}


def test_the_time_left_follows_what_trials_took_since_the_first_of_this_process_began(state):
    earlier = [trial("u", steps=9), leased("u"), ended("u", **{"cost/seconds": 5000.0})]
    state.recall([REPLICA, *earlier], ended_for_good={"u"})
    assert state.time_left() is None, "nothing of this process is measured"
    state.update([REPLICA, trial("x", steps=9), leased("x")])
    state.at_work_since = time.time() - 60
    state.update([ended("x", **{"cost/seconds": 50.0, "cost/spent_seconds": 40.0})])
    # 40 s of trials in 60 s; the third trial is expected to take the mean of 5000 s and 40 s
    assert state.snapshot()["eta_seconds"] == pytest.approx(2520 * 60 / 40, rel=0.01)


def test_a_method_that_is_not_measured_leaves_a_lower_bound_and_no_estimate(state):
    state.update([REPLICA, trial("x", steps=9), leased("x"), ended("x", **{"cost/seconds": 50.0})])
    state.at_work_since = time.time() - 60
    state.trials["y"] = replace(state.trials["x"], method="susi", ended=False, status="waiting", step=0, seconds=None)
    found = state.snapshot()
    assert found["eta_seconds"] is None
    # the third trial is expected to take the 50 s of the first, at the pace of 50 s of trials in 60 s
    assert found["eta_at_least"]["seconds"] == pytest.approx(60, rel=0.01)
    assert found["eta_at_least"]["unmeasured"] == ("susi",)


def test_a_snapshot_is_plain_json(state):
    state.update([REPLICA, trial("x", steps=9), leased("x"), ended("x", status="failed", reason="because")])
    snapshot = json.loads(json.dumps(state.snapshot()))
    assert snapshot["counts"] == {"failed": 1}
    assert snapshot["trials"]["x"]["reason"] == "because"
    assert snapshot["replicas"]["replica-0"]["pid"] == 7


@pytest.fixture
def launch(plan_of, tmp_path):
    return launches.create(plan_of().study, results=tmp_path, settings={})


HERE, ELSEWHERE = socket.gethostname(), "another-machine"


def write_status(launch, state, *, phase, seconds_ago=0.0, pid=None, machine=HERE):
    """Leave the file that a launch in this phase wrote so long ago, as this process or another."""
    state.phase = phase
    StatusFile(launch.status_file).write(state.snapshot(), force=True)
    written = read_checked(launch.status_file, kind="status", format=1, before=())
    written |= {"written": time.time() - seconds_ago, "pid": pid or os.getpid(), "machine": machine}
    write_checked(launch.status_file, written, format=1)


@pytest.fixture
def dead_pid():
    """The number of a process that has just ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("phase", ["starting", "running", "stopping"])
def test_a_launch_at_work_is_alive_while_it_writes_and_killed_when_it_is_silent(launch, state, phase):
    write_status(launch, state, phase=phase, seconds_ago=1)
    assert (read_status(launch)["phase"], read_status(launch)["alive"]) == (phase, True)
    write_status(launch, state, phase=phase, seconds_ago=3600)
    assert (read_status(launch)["phase"], read_status(launch)["alive"]) == ("killed", False)


def test_a_killed_process_of_this_machine_is_noticed_at_once(launch, state, dead_pid):
    write_status(launch, state, phase="running", pid=dead_pid)
    assert (read_status(launch)["phase"], read_status(launch)["alive"]) == ("killed", False)


def test_the_process_table_says_nothing_of_another_machine(launch, state, dead_pid):
    write_status(launch, state, phase="running", pid=dead_pid, machine=ELSEWHERE)
    assert read_status(launch)["alive"] is True


@pytest.mark.parametrize("phase", ["finished", "failed", "stopped"])
@pytest.mark.parametrize("seconds_ago", [1, 3600])
def test_a_launch_that_has_ended_keeps_saying_how(launch, state, phase, seconds_ago):
    write_status(launch, state, phase=phase, seconds_ago=seconds_ago)
    assert (read_status(launch)["phase"], read_status(launch)["alive"]) == (phase, False)


def test_the_status_is_written_once_a_second_and_always_when_it_matters(launch, state):
    file = StatusFile(launch.status_file)
    file.write(state.snapshot())
    state.phase = "running"
    file.write(state.snapshot())
    assert read_status(launch)["phase"] == "starting"
    file.write(state.snapshot(), force=True)
    assert read_status(launch)["phase"] == "running"
    assert [path.name for path in launch.folder.glob("status*")] == ["status.json"]


@pytest.mark.parametrize(("phase", "hint"), [("running", True), ("finished", False)])
def test_a_killed_launch_is_shown_with_how_to_go_on(launch, state, dead_pid, phase, hint):
    state.update(
        [
            replace(REPLICA, model_bytes=1),
            trial("x", steps=9),
            leased("x"),
            ended("x", status="oom", reason="full"),
        ]
    )
    write_status(launch, state, phase=phase, pid=dead_pid)
    text = "\n".join(line.text for line in status_lines(read_status(launch), width=200))
    assert ("go on with: nmlab resume study-1" in text) is hint
    assert "1 oom" in text
    assert "full" in text


def test_a_launch_without_a_status_has_not_started(launch):
    with pytest.raises(ValueError, match="has not started yet"):
        read_status(launch)


def test_the_best_so_far_is_a_mean_of_a_complete_configuration_beside_the_best_baseline():
    state = LaunchState("study", "study-1", 9, METRIC, searched=("steps",), seeds=2, baselines={"w": 1, "d": 1})
    for key, method in (("w", "wanda"), ("d", "dense")):
        state.update([replace(trial(key), spec={**trial(key).spec, "method": method})])
    for key, seed, steps in (("a0", 0, 9), ("a1", 1, 9), ("b0", 0, 8)):
        state.update([trial(key, seed, steps=steps)])
    values = {"w": 40.0, "d": 5.0, "a0": 31.0, "b0": 1.0}
    for key, value in values.items():
        state.update([metrics(key, 9, **{METRIC: value}), ended(key)])
    assert shown(state) == ["best baseline  40", "wanda 2:4"]
    state.update([metrics("a1", 9, **{METRIC: 33.0}), ended("a1")])
    best = ["best so far    32 (mean of 2 seeds)", "maskpro 2:4 steps=9"]
    difference = ["difference     8 better than the best baseline"]
    assert shown(state) == [*best, "best baseline  40", "wanda 2:4", *difference]


def shown(state):
    """Return what the live view says of the best."""
    lines = [line.text.strip() for line in view_lines(state.snapshot(), width=200)]
    return lines[lines.index(f"{METRIC}, lower is better") + 1 :]
