"""The simulated backend itself: its clock, its order, its processes, and that its invariants can fail."""

from dataclasses import replace

import pytest

from nmlab.platform.dispatch.leases import Leases
from nmlab.platform.dispatch.received import ReceivedRecords
from nmlab.platform.dispatch.record_log import RecordLog
from nmlab.platform.records.events import TrialEnded, TrialLeased, TrialMetrics
from nmlab.platform.testing.simulation import SimulatedLaunch, check_launch, run_with_random_faults
from nmlab.platform.testing.simulation.invariants import check_ends, check_leases
from nmlab.platform.testing.simulation.scheduler import Process, Scheduler, StuckError
from nmlab.platform.testing.simulation.virtual_modules import VirtualThreading, VirtualTime
from nmlab.trials.contract.run_status import LaunchStatus, TrialStatus


@pytest.fixture
def scheduler():
    scheduler = Scheduler(0)
    yield scheduler
    scheduler.close()


def test_the_clock_moves_only_while_all_wait(scheduler):
    time, seen = VirtualTime(scheduler), []

    def work(name, seconds):
        time.sleep(seconds)
        seen.append((name, round(scheduler.now, 1)))

    process = Process("p", "node")
    tasks = [scheduler.start(process, lambda each=each: work(*each), name="t") for each in (("a", 3600.0), ("b", 5.0))]
    scheduler.run(lambda: all(task.has_ended for task in tasks), within=4000.0, what="both")
    assert seen == [("b", 5.0), ("a", 3600.0)]


def test_who_waits_for_what_never_comes_is_named(scheduler):
    threading = VirtualThreading(scheduler, Process("outside", "node"))
    scheduler.start(Process("p", "node"), threading.Event().wait, name="waiter")
    with pytest.raises(StuckError, match="waited 10 virtual seconds for nothing; waiting: p/waiter"):
        scheduler.run(lambda: False, within=10.0, what="nothing")


def test_a_killed_process_has_no_effects_any_more(scheduler):
    time, effects = VirtualTime(scheduler), []

    def work():
        try:
            time.sleep(10.0)
            effects.append("after")
        finally:
            time.sleep(1.0)
            effects.append("at last")

    process = Process("p", "node")
    task = scheduler.start(process, work, name="t")
    scheduler.later(6.0, int)
    scheduler.run(lambda: scheduler.now > 5.0, within=10.0, what="a while")
    scheduler.kill(process)
    assert task.has_ended
    assert effects == []


def test_a_condition_is_seen_and_a_lock_excludes(scheduler):
    threading, time = VirtualThreading(scheduler, Process("outside", "node")), VirtualTime(scheduler)
    lock, condition, inside, most, box = threading.Lock(), threading.Condition(), [], [], []

    def work():
        for _ in range(20):
            with lock:
                inside.append(1)
                time.sleep(0.01)
                most.append(len(inside))
                inside.pop()
        with condition:
            box.append(1)
            condition.notify_all()

    def wait():
        with condition:
            assert condition.wait_for(lambda: len(box) == 3, timeout=60.0)

    process = Process("p", "node")
    tasks = [scheduler.start(process, target, name="t") for target in (work, work, work, wait)]
    scheduler.run(lambda: all(task.has_ended for task in tasks), within=100.0, what="all")
    assert max(most) == 1
    assert not scheduler.failures


def told(launch):
    """Return what the journal of a launch holds, without what differs from process to process."""
    return [
        (type(record).__name__, getattr(record, "key", ""), getattr(record, "step", "")) for record in launch.written
    ]


def test_equal_seeds_give_equal_launches_and_others_do_not(small_plan, in_memory):
    plan = small_plan()
    first, again, other = (run_with_random_faults(plan, in_memory / str(n), seed=s) for n, s in enumerate((5, 5, 6)))
    assert told(first) == told(again)
    assert first.scheduler.now == again.scheduler.now
    assert told(first) != told(other)


def test_an_undisturbed_launch_is_as_planned(small_plan, in_memory):
    with SimulatedLaunch(small_plan(), in_memory, seed=1) as launch:
        launch.start()
        result = launch.finish()
        assert (result.status, result.counts) == (LaunchStatus.FINISHED, {"finished": 5})
        assert (result.model_loads, result.frozen_weights) == (2, "verified")
        check_launch(launch)
        assert launch.scheduler.now < 60.0


def breaks(plan, folder, *, seed):
    """Return whether a launch with random faults breaks an invariant."""
    try:
        check_launch(run_with_random_faults(plan, folder, seed=seed))
    except AssertionError:
        return True
    return False


MUTATIONS = {
    "every record is fresh": (ReceivedRecords, "_is_fresh", lambda self, logged: True),
    "confirmed before it is acknowledged": (RecordLog, "confirmed", lambda self, process, *, received: received),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_random_launches_find_what_is_wrong(small_plan, in_memory, monkeypatch, name):
    """A filter that lets everything through, an outbox that is emptied too early."""
    kind, method, wrong = MUTATIONS[name]
    monkeypatch.setattr(kind, method, wrong)
    plan = small_plan()
    assert any(breaks(plan, in_memory / str(seed), seed=seed) for seed in range(40))


def miss_a_restart(launch):
    """Let a worker miss the restart of the dispatcher; its trial goes to the other, and it comes back."""
    launch.start()
    launch.run_until(lambda: sum(isinstance(record, TrialMetrics) and record.step > 2 for record in launch.written) > 4)
    launch.freeze_worker(14.0)
    launch.kill_actor("dispatcher")
    launch.finish()
    check_launch(launch)


LATE = ("fixed.steps=60", "baselines=[]", "seeds=[0]")


@pytest.mark.parametrize("seed", range(3))
def test_a_worker_that_misses_a_restart_is_not_believed_later(small_plan, in_memory, seed):
    with SimulatedLaunch(small_plan(*LATE), in_memory, seed=seed) as launch:
        miss_a_restart(launch)
        assert 2 in [record.attempt for record in launch.written if isinstance(record, TrialLeased)]


def test_with_its_fence_down_it_would_be(small_plan, in_memory, monkeypatch):
    monkeypatch.setattr(Leases, "is_current", lambda self, key, epoch: not self._trials[key].ended)
    with (
        SimulatedLaunch(small_plan(*LATE), in_memory, seed=0) as launch,
        pytest.raises(AssertionError, match=r"without its lease|is recorded twice"),
    ):
        miss_a_restart(launch)


LEASED = TrialLeased(key="k", host="a", attempt=1, epoch=5)
POINT = TrialMetrics(key="k", step=1, time=0, values={}, host="a")
OVER = TrialEnded(key="k", result={"key": "k", "status": TrialStatus.FINISHED}, host="a")


@pytest.mark.parametrize(
    ("check", "records", "message"),
    [
        (check_leases, [LEASED, POINT, POINT], "recorded twice"),
        (check_leases, [LEASED, replace(POINT, host="b")], "without its lease"),
        (check_leases, [LEASED, replace(OVER, host="b")], "without its lease"),
        (check_leases, [LEASED, replace(LEASED, epoch=4)], "go back"),
        (check_ends, [LEASED, OVER, OVER], "ends twice"),
        (check_ends, [LEASED, OVER, LEASED], "leased again"),
    ],
)
def test_each_invariant_can_fail(check, records, message):
    with pytest.raises(AssertionError, match=message):
        check(records)
