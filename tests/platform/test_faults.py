"""Real kills in the middle of a launch: dispatcher, trial actor, Train controller, Train worker, driver.

One launch gets them all, is extended, killed again, resumed, and gives the results of trials run alone. Its trials wait
in their steps until a kill has been answered, and Ray's workers are forked. Trials that compute are killed in
``test_nodes``, and with them a node, the head of a cluster, the coordinator and pipeline stages; Ctrl-C ends the sweep
of ``test_second_user``. What each fault does in any order is in ``tests/platform/testing``, on a virtual clock.
"""

import os
import signal
import subprocess
import time
from dataclasses import dataclass, field

import pytest
import yaml
from forked_commands import ForkedProcess
from gates import PACED, STEPS, Gate
from receivers import SECRET, Receiver
from run_alone import run_alone, same_results

from nmlab.platform.testing.real_launches.launched import (
    Nmlab,
    check_complete,
    keys,
    kill_session,
    results,
    session,
    steps_so_far,
    wait_until,
    workers,
)

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]  # minutes only where others use the machine

CHECKPOINT_EVERY = 20
STUDY = {**PACED, "replica": {"count": 1, "slots": 2}}
MORE = ("--set", "seeds=[0, 1, 2]", "--set", "replica.count=2", "--set", "replica.slots=1")
PLANNED = 2 + 2 * 3


@dataclass
class Kill:
    """A process that was killed: when, and what the journal held then."""

    what: str
    pid: int
    time: float
    before: list
    saved: dict
    """The step of the newest checkpoint of each trial that has one."""


@dataclass
class Battered:
    """A launch whose processes are killed one after the other.

    Attributes:
        nmlab: its folder.
        gate: how far its trials may go.
        kills: by what was killed.
        refusal: of a second process that was to resume it meanwhile, the exit code and what it printed.
        mask_written: when the file of the initial mask was written, as it was before the first driver was killed.
        printed: by the process that ended it.
        receiver: what notifications are posted to.
    """

    nmlab: Nmlab
    gate: Gate
    receiver: Receiver
    process: subprocess.Popen | ForkedProcess | None = None
    kills: dict = field(default_factory=dict)
    refusal: tuple = ()
    mask_written: int = 0
    printed: dict = field(default_factory=dict)

    def start(self, *arguments):
        self.process = self.nmlab.start(*arguments, "--json", **self.variables)

    @property
    def variables(self):
        return {**self.gate.environment, "NMLAB_NOTIFY": self.receiver.url}

    def wait_until(self, condition, what):
        return self.nmlab.wait_until(
            lambda: condition(self.nmlab.journal()), process=self.process, what=what, seconds=600
        )

    def kill(self, what, title):
        """Kill a process of this launch by the title that Ray gives it; one that is being started is waited for."""
        pid = self.wait_until(lambda journal: min(self.pids(title), default=None), f"there was a {title}")
        self.kill_pid(what, pid)

    def pids(self, title):
        return [pid for pid, command in session(self.process.pid).items() if command.startswith(title)]

    def kill_pid(self, what, pid):
        self.kills[what] = Kill(what, pid, time.time(), self.nmlab.journal(), checkpoints(self.nmlab))
        os.kill(pid, signal.SIGKILL)

    def kill_driver(self, what):
        """Kill the driver, as with a lost machine; what it started must end by itself."""
        self.kill_pid(what, self.process.pid)
        self.process.wait()
        wait_until(lambda: not workers(self.process.pid), seconds=120, what="the replicas to end after their driver")
        self.kills[what].before = self.nmlab.journal()
        kill_session(self.process.pid)

    def since(self, what):
        """Return the records of the journal that came after a kill."""
        return since(self.kills[what], self.nmlab.journal())


def checkpoints(nmlab):
    """Return the step of the newest checkpoint of each trial."""
    found = {}
    for path in (nmlab.launch / "trials").glob("*/checkpoint-*.safetensors"):
        found[path.parent.name] = max(found.get(path.parent.name, 0), int(path.stem.partition("-")[2]))
    return found


def at_step(step, *, trials=2):
    """Return a condition: so many learned trials that have not ended have got as far as a step."""
    return lambda journal: sum(reached >= step for reached in steps_so_far(journal).values()) >= trials


def since(kill, journal):
    return journal[len(kill.before) :]


def events(records):
    return [record["event"] for record in records]


@pytest.fixture(scope="module")
def battered(new_nmlab, commands, paced, tmp_path_factory):
    """One launch whose dispatcher, trial actor, Train controller, worker and driver were killed in mid-trial."""
    gate = Gate(tmp_path_factory.mktemp("gate") / "limits.json", packages=paced)
    launch = Battered(new_nmlab(commands=commands), gate, Receiver(500, 200))
    (launch.nmlab.folder / "grid.yaml").write_text(yaml.safe_dump(STUDY))
    launch.gate.let({0: 60, 1: 60, 2: 60})
    try:
        launch.start("sweep", "grid.yaml", "--no-report", "--max-failures", "20")
        kill_what_runs_trials(launch)
        kill_drivers(launch)
        # The run of a replica is started again while the last trials end: the sweep must still end.
        launch.kill("controller again", "ray::TrainController")
        launch.gate.open()
    except BaseException:
        kill_session(launch.process.pid)
        raise
    launch.printed = launch.nmlab.finish(launch.process, seconds=600)
    return launch


def kill_what_runs_trials(launch):
    """Kill dispatcher, trial actor, Train controller and worker while two trials wait in their middle."""
    launch.wait_until(at_step(60), "two trials were in their middle")
    launch.refusal = launch.nmlab.run("resume", "--json", **launch.variables)
    launch.kill("dispatcher", "ray::Dispatcher")
    launch.gate.let({0: 90, 1: 90})
    launch.wait_until(at_step(90), "points arrived through another dispatcher")
    launch.kill("actor", "ray::TrialActor")
    launch.wait_until(lambda j: keys(launch.since("actor"), "trial actor lost"), "the trial actor was missed")
    launch.kill("controller", "ray::TrainController")
    both = {"train run lost", "replica lost"}
    launch.wait_until(lambda j: both <= set(events(launch.since("controller"))), "run and worker were missed")
    launch.gate.let({0: 120, 1: 120})
    launch.wait_until(at_step(120), "the trials went on")
    (victim,) = [record for record in launch.since("controller") if record["event"] == "replica"]
    launch.kill_pid("worker", victim["pid"])
    launch.wait_until(lambda j: "replica lost" in events(launch.since("worker")), "the worker was missed")
    launch.kill("dispatcher again", "ray::Dispatcher")


def kill_drivers(launch):
    """Kill the driver of the sweep, and that of its extension at once; resume that, until the last trials are left."""
    launch.gate.let({0: STEPS})  # the two trials of the other seed wait
    launch.wait_until(
        lambda j: learned(keys(j, "ended"), j) == 2 and at_step(60)(j), "two trials had ended, two were running"
    )
    launch.mask_written = initial_mask(launch.nmlab)
    launch.kill_driver("driver")
    launch.start("extend", PACED["name"], *MORE, "--no-report")
    launch.wait_until(lambda j: events(launch.since("driver")).count("launch began") == 1, "the extension had begun")
    launch.kill_driver("driver of the extension")
    launch.start("resume")
    launch.gate.let({1: STEPS, 2: 200})
    launch.wait_until(
        lambda j: learned(keys(j, "ended"), j) == 4 and at_step(200)(j), "the last trials were near their ends"
    )


def learned(ended, journal):
    """Return how many of these trials learn."""
    methods = {record["key"]: record["spec"]["method"] for record in journal if record["event"] == "trial"}
    return sum(methods[key] == "paced" for key in ended)


def initial_mask(nmlab):
    (file,) = (nmlab.launch / "initial_masks").rglob("mask.safetensors")
    return file.stat().st_mtime_ns


def test_every_trial_finishes_once_and_no_point_is_there_twice(battered):
    assert battered.printed["status"] == "finished"
    assert battered.printed["counts"] == {"finished": PLANNED}
    check_complete(battered.nmlab, trials=PLANNED)
    ended = keys(battered.nmlab.journal(), "ended")
    assert len(ended) == len(set(ended)) == PLANNED


def test_every_result_is_that_of_a_trial_run_alone(battered, paced_here, tmp_path):
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump({**STUDY, "seeds": [0, 1, 2]}))
    assert same_results(results(battered.nmlab), run_alone(tmp_path / "grid.yaml", tmp_path / "alone"))


@pytest.mark.parametrize("what", ["driver", "driver of the extension"])
def test_a_resumed_launch_runs_no_trial_again_that_had_ended(battered, what):
    kill = battered.kills[what]
    ended = set(keys(kill.before, "ended"))
    assert 0 < learned(ended, kill.before) < 6
    assert not ended & set(keys(battered.since(what), "leased"))


def test_both_versions_of_the_study_are_kept(battered):
    parent, _ = battered.nmlab.runs()
    assert parent.data.tags["nmlab.study_versions"] == "2"
    assert "seeds: [0, 1] -> [0, 1, 2]" in parent.data.tags["nmlab.extension.2"]
    assert {path.name for path in battered.nmlab.launch.glob("study*.yaml")} == {"study.yaml", "study-2.yaml"}
    assert "version 2 of the study" in (battered.nmlab.launch / "report" / "report.md").read_text()


def test_a_resumed_launch_takes_the_initial_mask_from_the_folder(battered):
    """It is computed once, recorded once (`Nmlab.runs` looks), and charged to one trial."""
    assert battered.mask_written == initial_mask(battered.nmlab)
    _, children = battered.nmlab.runs()
    metrics = [run.data.metrics for run in children if "nmlab.initial_mask_digest" in run.data.tags]
    assert len(metrics) == 6
    spent = [m["cost/spent_forwards"] > m["cost/forwards"] - m["cost/initial_forwards"] for m in metrics]
    assert sum(spent) == 1


def test_a_second_process_may_not_resume_a_launch_that_runs(battered):
    (code, printed, error), launch = battered.refusal, battered.nmlab.launch
    assert (code, printed) == (2, "")
    (line,) = error.splitlines()
    assert line.startswith(f"nmlab: launch {launch.name} is owned by process {battered.kills['driver'].pid} of ")


def test_each_load_of_the_model_is_recorded_once(battered):
    """The death of dispatcher or trial actor costs no load, that of controller or worker one, if there is time."""
    loads = [r for r in battered.nmlab.journal() if r["event"] == "replica"]
    assert len({(r["host"], r["incarnation"]) for r in loads}) == len(loads)
    assert 1 + 2 + 2 <= len(loads) <= 1 + 2 + 2 + 1


def test_a_dispatcher_that_dies_moves_no_trial(battered):
    kill = battered.kills["dispatcher"]
    running = steps_so_far(kill.before)
    meanwhile = battered.kills["actor"].before[len(kill.before) :]
    assert "replica lost" not in events(meanwhile)
    assert not set(running) & set(keys(meanwhile, "leased"))


def test_a_trial_that_was_moved_has_a_checkpoint_at_most_one_interval_before_its_last_point(battered):
    """From the newest one it goes on: `test_trial_resume`, and that results are those of trials run alone."""
    for what in ("controller", "worker", "controller again"):
        kill = battered.kills[what]
        reached = steps_so_far(kill.before)
        moved = {r["key"] for r in battered.since(what) if r["event"] == "leased"} & reached.keys()
        assert moved, f"killing the {what} moved no trial"
        for key in moved:
            assert kill.saved[key] >= (reached[key] - 1) // CHECKPOINT_EVERY * CHECKPOINT_EVERY


def test_the_end_is_posted_once_by_the_driver_that_reached_it_and_its_address_is_kept_nowhere(battered):
    """Two drivers were killed, and one was refused; the server failed at the first attempt."""
    first, again = battered.receiver.bodies
    assert first == again, "the same message, tried again"
    assert (again["event"], again["status"], again["failed"]) == ("ended", "finished", {})
    assert again["trials"]["planned"] == again["trials"]["ended"]
    files = [path for path in battered.nmlab.folder.rglob("*") if path.is_file()]
    assert any(battered.nmlab.launch.name.encode() in path.read_bytes() for path in files), "files are looked into"
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
