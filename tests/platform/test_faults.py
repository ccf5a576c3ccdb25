"""Real kills in the middle of a sweep: dispatcher, trial actor, Train controller, Train worker; results stay the same.

The driver's death is in ``test_sweep``, a node's in ``test_nodes``.
"""

import itertools
import os
import signal
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from launched import (
    GRID,
    PLANNED,
    STEPS,
    Nmlab,
    check_complete,
    keys,
    kill_session,
    results,
    session,
    standstills,
    steps_so_far,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # minutes only where others use the machine

CHECKPOINT_EVERY = 20
REPEATED_WITHIN_MS = 100
"""In which a trial repeats all points of its checkpoint, on a busy machine too; ten steps take longer."""


@dataclass
class Kill:
    """A process that was killed: when, and what the journal held then."""

    what: str
    pid: int
    time: float
    before: list


class Sweep:
    """A running sweep whose processes are killed one after the other."""

    def __init__(self, nmlab, **changed):
        self.nmlab = nmlab
        (nmlab.folder / "grid.yaml").write_text(yaml.safe_dump({**GRID, **changed}))
        self.process = nmlab.start("sweep", "grid.yaml", "--json", "--no-report", "--max-failures", "20")

    def wait_until(self, condition, what):
        return self.nmlab.wait_until(lambda: condition(self.nmlab.journal()), process=self.process, what=what)

    def kill(self, title):
        """Kill a process of this sweep by the title that Ray gives it."""
        found = sorted(pid for pid, command in session(self.process.pid).items() if command.startswith(title))
        assert found, f"no {title}"
        return self.kill_pid(found[0], title)

    def kill_pid(self, pid, what):
        kill = Kill(what, pid, time.time(), self.nmlab.journal())
        os.kill(pid, signal.SIGKILL)
        return kill


def in_the_middle(journal, *, trials=1):
    """Return whether so many learned trials are between a checkpoint and their end."""
    return sum(25 <= step < STEPS - 60 for step in steps_so_far(journal).values()) >= trials


def near_the_end(journal):
    """Return whether every trial that has not ended is in its last third."""
    steps = steps_so_far(journal)
    return len(keys(journal, "ended")) + len(steps) == PLANNED and all(step > 2 * STEPS // 3 for step in steps.values())


def since(kill, journal):
    return journal[len(kill.before) :]


def goes_on_after(kill):
    """Return a condition: a point that was computed after the kill is in the journal."""

    def condition(journal):
        return any(r["event"] == "metrics" and r["time"] / 1000 > kill.time + 0.5 for r in since(kill, journal))

    return condition


def longest_gap(journal, key, *, start, end):
    """Return the longest time without a point of a trial within a window, over what is usual for it, in seconds."""
    times = [r["time"] / 1000 for r in journal if r["event"] == "metrics" and r["key"] == key]
    gaps = list(itertools.pairwise(times))
    usual = statistics.median(after - before for before, after in gaps)
    return max(min(after, end) - max(before, start) for before, after in gaps) - 5 * usual


@dataclass
class Battered:
    nmlab: Nmlab
    printed: dict
    kills: dict
    environment: list


@pytest.fixture(scope="module")
def battered(new_nmlab):
    """One sweep whose dispatcher, trial actor, Train controller and worker were killed in mid-trial, some twice."""
    sweep, kills = Sweep(new_nmlab()), {}
    try:
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
        # The run of a replica is started again while the last trials end: the sweep must still end.
        sweep.wait_until(near_the_end, "the last trial was near its end")
        kills["controller again"] = sweep.kill("ray::TrainController")
    except BaseException:
        kill_session(sweep.process.pid)
        raise
    return Battered(sweep.nmlab, sweep.nmlab.finish(sweep.process), kills, environment)


def others_on_a_core():
    """Return how many processes share a core of this machine; the limits are for a machine without other work."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


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


def test_the_models_are_loaded_again_only_where_they_were_lost(battered):
    """The death of dispatcher or trial actor costs no load, that of controller or worker one, if there is time."""
    assert battered.printed["model_loads"] in (3, 4, 5)
    loads = [r for r in battered.nmlab.journal() if r["event"] == "replica"]
    assert len({(r["host"], r["incarnation"]) for r in loads}) == len(loads) == battered.printed["model_loads"]


def test_threads_of_a_replica_sleep_while_they_wait(battered):
    assert "OMP_WAIT_POLICY=PASSIVE" in battered.environment


def test_a_dispatcher_that_dies_delays_no_trial_and_moves_none(battered):
    journal, kill = battered.nmlab.journal(), battered.kills["dispatcher"]
    running = steps_so_far(kill.before)
    until = battered.kills["actor"].time
    for key in running:
        assert longest_gap(journal, key, start=kill.time, end=until) <= 2.0
    meanwhile = battered.kills["actor"].before[len(kill.before) :]
    assert "replica lost" not in events(meanwhile)
    assert not set(running) & set(keys(meanwhile, "leased"))


def test_a_trial_that_was_moved_repeats_at_most_one_checkpoint_interval(battered):
    """It first repeats the points of its checkpoint, within a moment; the last of them is where it goes on."""
    journal = battered.nmlab.journal()
    for kill in (battered.kills["controller"], battered.kills["worker"]):
        reached = steps_so_far(kill.before)
        moved = [r for r in since(kill, journal) if r["event"] == "leased" and r["key"] in reached]
        assert moved, f"killing {kill.what} moved no trial"
        for lease in moved:
            points = [
                r for r in journal[journal.index(lease) :] if r["event"] == "metrics" and r["key"] == lease["key"]
            ]
            resumed = max(r["step"] for r in points if r["time"] - points[0]["time"] < REPEATED_WITHIN_MS)
            assert resumed >= (reached[lease["key"]] - 1) // CHECKPOINT_EVERY * CHECKPOINT_EVERY


def test_a_trial_that_is_taken_over_goes_on_within_ten_seconds(battered):
    """On a replica that is up or, if both were killed, on one that loads the model again."""
    at_hand, restarted = standstills(battered.nmlab.journal())
    assert [*at_hand, *restarted], "nothing was moved"
    assert all(seconds <= 10.0 * others_on_a_core() for seconds in at_hand), at_hand
    assert all(seconds <= 20.0 * others_on_a_core() for seconds in restarted), restarted


def test_ctrl_c_lets_trials_save_themselves_and_ends_in_time(new_nmlab):
    sweep = Sweep(new_nmlab())
    try:
        sweep.wait_until(in_the_middle, "a trial was in its middle")
        reached = steps_so_far(sweep.nmlab.journal())
        start = time.monotonic()
        sweep.process.send_signal(signal.SIGINT)
        assert sweep.process.wait(60) == 1
        took = time.monotonic() - start
    finally:
        kill_session(sweep.process.pid)
    ended = {r["key"]: r["result"] for r in sweep.nmlab.journal() if r["event"] == "ended"}
    for key in reached:
        assert (ended[key]["status"], ended[key]["resumable"]) == ("stopped", True)
        assert (sweep.nmlab.launch / "trials" / key / f"checkpoint-{ended[key]['step']:09d}.safetensors").is_file()
    assert sweep.nmlab.status()["phase"] == "stopped"
    assert took < 10.0 * others_on_a_core()


def test_trials_shorter_than_the_start_of_an_actor_outlive_one(new_nmlab):
    """Tune starts an actor in place of the lost one, and gives its trial to another before the first is up."""
    short, seeds = {**GRID["fixed"], "steps": 40}, list(range(6))
    sweep = Sweep(new_nmlab(), fixed=short, seeds=seeds)
    try:
        sweep.wait_until(lambda journal: len(keys(journal, "ended")) >= 4, "four trials had ended")
        sweep.kill("ray::TrialActor")
    except BaseException:
        kill_session(sweep.process.pid)
        raise
    printed = sweep.nmlab.finish(sweep.process)
    assert printed["counts"] == {"finished": 2 + 2 * len(seeds)}


def test_out_of_time_trials_save_themselves_and_can_go_on(new_nmlab):
    long = {**GRID["fixed"], "steps": 1_000_000}
    one = {**GRID["replica"], "count": 1}
    limit = round(45 * max(1.0, others_on_a_core() / 3))  # a replica is up well within it
    sweep = Sweep(new_nmlab(), fixed=long, baselines=[], replica=one, budget={"time_limit": f"{limit}s"})
    try:
        assert sweep.process.wait(limit + 150) == 1
    finally:
        kill_session(sweep.process.pid)
    learned = [record["result"] for record in sweep.nmlab.journal() if record["event"] == "ended"]
    assert {(result["status"], result["resumable"]) for result in learned} == {("stopped", True)}
    assert len(learned) == one["count"]
    for result in learned:
        assert result["step"] > 0
        saved = sweep.nmlab.launch / "trials" / result["key"] / f"checkpoint-{result['step']:09d}.safetensors"
        assert saved.is_file()
