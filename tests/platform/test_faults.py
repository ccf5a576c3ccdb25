"""Real kills in the middle of a sweep: dispatcher, trial actor, Train controller, Train worker, driver.

One launch gets them all, is resumed, and gives the results of an undisturbed one. A node and the head of a cluster, the
coordinator and pipeline stages are killed in ``test_nodes``; Ctrl-C ends the sweep of ``test_second_user``. What each
fault does in any order is in ``tests/platform/testing``, on a virtual clock.
"""

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from nmlab.platform.testing.real_launches.launched import (
    GRID,
    NMLAB,
    PLANNED,
    STEPS,
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


@dataclass
class Kill:
    """A process that was killed: when, and what the journal held then."""

    what: str
    pid: int
    time: float
    before: list
    saved: dict
    """The step of the newest checkpoint of each trial that has one."""


class Sweep:
    """A running sweep whose processes are killed one after the other."""

    def __init__(self, nmlab, **changed):
        self.nmlab = nmlab
        (nmlab.folder / "grid.yaml").write_text(yaml.safe_dump({**GRID, **changed}))
        self.process = nmlab.start("sweep", "grid.yaml", "--json", "--no-report", "--max-failures", "20")

    def wait_until(self, condition, what):
        return self.nmlab.wait_until(
            lambda: condition(self.nmlab.journal()), process=self.process, what=what, seconds=600
        )

    def kill(self, title):
        """Kill a process of this sweep by the title that Ray gives it; one that is being started is waited for."""
        pid = self.wait_until(lambda journal: min(self.pids(title), default=None), f"there was a {title} to kill")
        return self.kill_pid(pid, title)

    def pids(self, title):
        return [pid for pid, command in session(self.process.pid).items() if command.startswith(title)]

    def kill_pid(self, pid, what):
        kill = Kill(what, pid, time.time(), self.nmlab.journal(), checkpoints(self.nmlab))
        os.kill(pid, signal.SIGKILL)
        return kill

    def kill_driver(self):
        """Kill the driver, as with a lost machine; what it started must end by itself."""
        kill = self.kill_pid(self.process.pid, "driver")
        self.process.wait()
        wait_until(lambda: not workers(self.process.pid), seconds=120, what="the replicas to end after their driver")
        kill.before = self.nmlab.journal()
        kill_session(self.process.pid)
        return kill

    def resume(self):
        self.process = self.nmlab.start("resume", "--json", "--no-report")


def checkpoints(nmlab):
    """Return the step of the newest checkpoint of each trial."""
    found = {}
    for path in (nmlab.launch / "trials").glob("*/checkpoint-*.safetensors"):
        found[path.parent.name] = max(found.get(path.parent.name, 0), int(path.stem.partition("-")[2]))
    return found


def in_the_middle(journal, *, trials=1):
    """Return whether so many learned trials are between a checkpoint and their end."""
    return sum(25 <= step < STEPS - 60 for step in steps_so_far(journal).values()) >= trials


def near_the_end(journal):
    """Return whether every trial that has not ended is in its second half."""
    steps = steps_so_far(journal)
    return len(keys(journal, "ended")) + len(steps) == PLANNED and all(step > STEPS // 2 for step in steps.values())


def since(kill, journal):
    return journal[len(kill.before) :]


def goes_on_after(kill):
    """Return a condition: a point that was computed after the kill is in the journal."""

    def condition(journal):
        return any(r["event"] == "metrics" and r["time"] / 1000 > kill.time + 0.5 for r in since(kill, journal))

    return condition


@dataclass
class Battered:
    nmlab: Nmlab
    printed: dict
    kills: dict
    environment: list
    refusal: subprocess.CompletedProcess
    mask: tuple
    """Of the file of the initial mask: the time of its writing before the driver was killed, and in the end."""


@pytest.fixture(scope="module")
def battered(new_nmlab):
    """One launch whose dispatcher, trial actor, Train controller, worker and driver were killed in mid-trial."""
    sweep, second, kills = Sweep(new_nmlab()), None, {}
    try:
        sweep.wait_until(lambda journal: journal, "the launch had begun")
        second = second_resume(sweep.nmlab)  # it has ended before the driver is killed, which waits for it
        sweep.wait_until(lambda journal: in_the_middle(journal, trials=2), "two trials were in their middle")
        kills["dispatcher"] = sweep.kill("ray::Dispatcher")
        sweep.wait_until(goes_on_after(kills["dispatcher"]), "points arrived through another dispatcher")
        kills["actor"] = sweep.kill("ray::TrialActor")
        sweep.wait_until(lambda j: keys(since(kills["actor"], j), "trial actor lost"), "the trial actor was missed")
        sweep.wait_until(in_the_middle, "a trial was in its middle")
        kills["controller"] = sweep.kill("ray::TrainController")
        both = {"train run lost", "replica lost"}
        sweep.wait_until(lambda j: both <= set(events(since(kills["controller"], j))), "run and worker were missed")
        victim = sweep.wait_until(lambda j: in_the_middle(j) and busy_replica(j), "a replica was at work")
        environment = Path(f"/proc/{victim['pid']}/environ").read_text().split("\0")
        kills["worker"] = sweep.kill_pid(victim["pid"], victim["host"])
        sweep.wait_until(lambda j: "replica lost" in events(since(kills["worker"], j)), "the worker was missed")
        kills["dispatcher again"] = sweep.kill("ray::Dispatcher")
        sweep.wait_until(
            lambda j: second.poll() is not None and keys(j, "ended") and in_the_middle(j),
            "a second resume and a trial had ended and another trial was running",
        )
        mask = initial_mask(sweep.nmlab)
        kills["driver"] = sweep.kill_driver()
        sweep.resume()
        # The run of a replica is started again while the last trials end: the sweep must still end.
        sweep.wait_until(near_the_end, "the last trial was near its end")
        kills["controller again"] = sweep.kill("ray::TrainController")
    except BaseException:
        for process in filter(None, (sweep.process, second)):
            kill_session(process.pid)
        raise
    printed = sweep.nmlab.finish(sweep.process, seconds=600)
    return Battered(sweep.nmlab, printed, kills, environment, ended(second), (mask, initial_mask(sweep.nmlab)))


def second_resume(nmlab):
    """Start a second process that is to resume the launch beside the first."""
    given = {"cwd": nmlab.folder, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([NMLAB, "resume", "--json"], start_new_session=True, **given)


def ended(process):
    """Return how a process that was started has ended."""
    printed, error = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, printed, error)


def initial_mask(nmlab):
    (file,) = (nmlab.launch / "initial_masks").rglob("mask.safetensors")
    return file.stat().st_mtime_ns


def events(records):
    return [record["event"] for record in records]


def busy_replica(journal):
    """Return the record of a replica that is up and at work, or None."""
    at_work = {r["key"]: r["host"] for r in journal if r["event"] == "leased" and r["key"] in steps_so_far(journal)}
    up: dict[str, dict] = {}
    for record in journal:
        if record["event"] == "replica":
            up[record["host"]] = record
        elif record["event"] == "replica lost":
            up.pop(record["host"], None)
    return next((record for host, record in up.items() if host in at_work.values()), None)


def test_every_trial_finishes_once_and_no_point_is_there_twice(battered):
    assert battered.printed["status"] == "finished"
    assert battered.printed["counts"] == {"finished": PLANNED}
    check_complete(battered.nmlab, planned=PLANNED)
    ended = keys(battered.nmlab.journal(), "ended")
    assert len(ended) == len(set(ended)) == PLANNED


def test_every_result_is_that_of_the_undisturbed_sweep(battered, undisturbed):
    found, expected = results(battered.nmlab), results(undisturbed[0])
    assert found.keys() == expected.keys()
    for key in expected:
        assert found[key] == expected[key], f"trial {key} differs from the undisturbed one"


def test_a_resumed_launch_runs_no_trial_again_that_had_ended(battered):
    kill = battered.kills["driver"]
    ended = set(keys(kill.before, "ended"))
    assert 0 < len(ended) < PLANNED
    assert not ended & set(keys(since(kill, battered.nmlab.journal()), "leased"))


def test_a_resumed_launch_takes_the_initial_mask_from_the_folder(battered):
    """It is computed once, recorded once (`Nmlab.runs` looks), and charged to one trial."""
    assert battered.mask[0] == battered.mask[1]
    _, children = battered.nmlab.runs()
    learned = [run.data.metrics for run in children if "nmlab.initial_mask_digest" in run.data.tags]
    assert len(learned) == 4
    spent = [m["cost/spent_forwards"] > m["cost/forwards"] - m["cost/initial_forwards"] for m in learned]
    assert sum(spent) <= 2, "at most one for each replica that was up first"


def test_a_second_process_may_not_resume_a_launch_that_runs(battered):
    done, launch = battered.refusal, battered.nmlab.launch
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"nmlab: launch {launch.name} is owned by process {battered.kills['driver'].pid} of ")


def test_each_load_of_the_model_is_recorded_once(battered):
    """The death of dispatcher or trial actor costs no load, that of controller or worker one, if there is time."""
    loads = [r for r in battered.nmlab.journal() if r["event"] == "replica"]
    assert len({(r["host"], r["incarnation"]) for r in loads}) == len(loads) <= 2 + 2 + 3


def test_threads_of_a_replica_sleep_while_they_wait(battered):
    assert "OMP_WAIT_POLICY=PASSIVE" in battered.environment


def test_a_dispatcher_that_dies_moves_no_trial(battered):
    kill = battered.kills["dispatcher"]
    running = steps_so_far(kill.before)
    meanwhile = battered.kills["actor"].before[len(kill.before) :]
    assert "replica lost" not in events(meanwhile)
    assert not set(running) & set(keys(meanwhile, "leased"))


def test_a_trial_that_was_moved_has_a_checkpoint_at_most_one_interval_before_its_last_point(battered):
    """From the newest one it goes on: `test_trial_resume`, and that results are those of the undisturbed sweep."""
    journal = battered.nmlab.journal()
    for kill in (battered.kills["controller"], battered.kills["worker"]):
        reached = steps_so_far(kill.before)
        moved = {r["key"] for r in since(kill, journal) if r["event"] == "leased"} & reached.keys()
        assert moved, f"killing {kill.what} moved no trial"
        for key in moved:
            assert kill.saved[key] >= (reached[key] - 1) // CHECKPOINT_EVERY * CHECKPOINT_EVERY
