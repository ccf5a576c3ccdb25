"""Launches in the simulated backend with one kind of fault each: what is lost, what goes on, what is said."""

import errno
import json
import signal

import pytest

from nmlab.platform.driver.notifications import Notifications
from nmlab.platform.launches.endings import RefusedError, SweepError
from nmlab.platform.records.events import (
    GroupEnded,
    PeerJoined,
    ReplicaLost,
    ReplicaRefused,
    ReplicaStarted,
    TrialEnded,
    TrialLeased,
    TrialMetrics,
)
from nmlab.platform.testing.simulation import SimulatedLaunch, check_journal, check_launch
from nmlab.platform.testing.simulation.simulated_ray import DRIVERS_NODE
from nmlab.platform.testing.simulation.simulated_trials import value_of
from nmlab.trials.contract.run_status import LaunchStatus, TrialStatus

every_seed = pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])


def of_kind(launch, kind):
    return [record for record in launch.written if isinstance(record, kind)]


def reached(launch):
    """Return the last step of each trial that has not ended."""
    ended = launch.ended()
    return {record.key: record.step for record in of_kind(launch, TrialMetrics) if record.key not in ended}


def in_the_middle(launch, *, trials=1, first=3):
    return sum(step >= first for step in reached(launch).values()) >= trials


def losses(launch):
    """Return every loss in MLflow: by trial and step."""
    return {
        key: {step: v for (name, step), v in run.points.items() if name == "train/loss"}
        for key, run in launch.store.runs.items()
    }


def check_values(launch):
    """Check that each loss is that of its trial and step, whoever computed it."""
    for key, points in losses(launch).items():
        assert points == {step: value_of(key, step) for step in points}


@every_seed
def test_a_killed_driver_is_resumed_and_runs_nothing_again(small_plan, in_memory, seed):
    with SimulatedLaunch(small_plan("fixed.steps=20"), in_memory, seed=seed) as launch:
        launch.start()
        launch.run_until(lambda: 2 <= len(launch.ended()) < 5 and in_the_middle(launch))
        before = launch.ended()
        launch.kill_driver()
        first = len(launch.written)
        launch.run_for(5.0)
        assert len(launch.written) == first, "the dead write nothing"
        launch.start()
        assert launch.finish().status == LaunchStatus.FINISHED
        check_launch(launch)
        again = {record.key for record in launch.written[first:] if isinstance(record, TrialLeased)}
        assert not again & set(before), "a trial that had ended was run again"
        check_values(launch)


@every_seed
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_on_a_signal_trials_save_themselves_and_a_resumed_launch_goes_on_from_there(
    small_plan, in_memory, seed, number
):
    with SimulatedLaunch(small_plan("fixed.steps=20"), in_memory, seed=seed) as launch:
        launch.start(exits=True)
        launch.run_until(lambda: in_the_middle(launch))
        running, asked = reached(launch), launch.scheduler.now
        launch.interrupt(number)
        result = launch.finish()
        assert launch.scheduler.now - asked < 8.5, "nothing is killed that still answers"
        assert (result.status, result.interrupted) == (LaunchStatus.STOPPED, True)
        ended = launch.ended()
        for key in running:
            if ended[key]["status"] != TrialStatus.FINISHED:
                assert (ended[key]["status"], ended[key]["resumable"]) == (TrialStatus.STOPPED, True)
                assert launch.trials.checkpoints[key] == ended[key]["step"] >= running[key]
        launch.start()
        launch.finish()
        check_launch(launch)
        check_values(launch)


@every_seed
def test_a_second_signal_ends_the_driver_at_once_and_the_launch_can_be_resumed(small_plan, in_memory, seed):
    with SimulatedLaunch(small_plan("fixed.steps=50"), in_memory, seed=seed) as launch:
        launch.start(exits=True)
        launch.run_until(lambda: in_the_middle(launch))
        launch.interrupt()
        launch.interrupt()
        launch.run_until(lambda: not launch.is_running)
        assert not launch.results
        launch.start()
        launch.finish()
        check_launch(launch)


@every_seed
def test_a_driver_whose_replicas_hang_is_ended_in_bounded_time(small_plan, in_memory, seed):
    with SimulatedLaunch(small_plan("fixed.steps=50"), in_memory, seed=seed) as launch:
        launch.start(exits=True)
        launch.run_until(lambda: in_the_middle(launch, trials=2))
        launch.freeze_worker(1000.0)
        launch.freeze_worker(1000.0)
        asked = launch.scheduler.now
        launch.interrupt()
        launch.run_until(lambda: not launch.is_running)
        assert launch.scheduler.now - asked < 46.0
        check_journal(launch)
        launch.start()
        launch.finish()
        check_launch(launch)


@every_seed
def test_out_of_time_trials_save_themselves_and_can_go_on(small_plan, in_memory, seed):
    plan = small_plan("fixed.steps=100", "budget.time_limit=8s", "baselines=[]")
    with SimulatedLaunch(plan, in_memory, seed=seed) as launch:
        launch.start()
        result = launch.finish()
        assert (result.status, result.interrupted) == (LaunchStatus.STOPPED, False)
        ended = launch.ended()
        assert len(ended) == 2, "as many as there are slots"
        for key, found in ended.items():
            assert (found["status"], found["resumable"]) == (TrialStatus.STOPPED, True)
            assert launch.trials.checkpoints[key] == found["step"] > 0
        launch.run_for(5.0)
        for _ in range(30):
            if launch.results[-1].status != LaunchStatus.FINISHED:
                launch.start()
                launch.finish()
        check_launch(launch)


@every_seed
def test_trials_shorter_than_the_start_of_an_actor_outlive_one(small_plan, in_memory, seed):
    """Tune starts an actor in place of the lost one, and gives its trial to another before the first is up."""
    plan = small_plan("fixed.steps=1", "seeds=[0, 1, 2, 3, 4, 5]")
    with SimulatedLaunch(plan, in_memory, seed=seed, seconds=(0.0, 0.02)) as launch:
        launch.start()
        for number in range(1, 8):
            launch.run_until(lambda number=number: len(launch.ended()) >= number)
            launch.kill_trial_actor()
        assert launch.finish().counts == {"finished": 13}
        check_launch(launch)


@every_seed
def test_a_dispatcher_that_dies_again_and_again_moves_no_trial(small_plan, in_memory, seed):
    with SimulatedLaunch(small_plan("fixed.steps=20"), in_memory, seed=seed) as launch:
        launch.start()
        launch.run_until(lambda: in_the_middle(launch, trials=2))
        for _ in range(4):
            launch.kill_actor("dispatcher")
            launch.run_for(launch.scheduler.random.uniform(0.5, 3.0))
        launch.finish()
        check_launch(launch)
        leased = [record.key for record in of_kind(launch, TrialLeased)]
        assert len(leased) == len(set(leased)), "a trial was moved"
        assert not of_kind(launch, ReplicaLost)
        assert launch.results[-1].model_loads == 2


@every_seed
def test_a_worker_that_dies_costs_the_steps_since_the_checkpoint_and_one_load(small_plan, in_memory, seed):
    with SimulatedLaunch(small_plan("fixed.steps=20"), in_memory, seed=seed) as launch:
        launch.start()
        launch.run_until(lambda: in_the_middle(launch, trials=2))
        before, first = reached(launch), len(launch.written)
        launch.kill_worker()
        launch.finish()
        check_launch(launch)
        check_values(launch)
        assert launch.results[-1].model_loads in (2, 3)
        (moved,) = {r.key for r in launch.written[first:] if isinstance(r, TrialLeased) and r.attempt == 2}
        assert launch.trials.checkpoints[moved] >= before[moved] // 2 * 2


@every_seed
def test_a_worker_that_falls_silent_is_replaced_and_not_believed_later(small_plan, in_memory, seed):
    with SimulatedLaunch(small_plan("fixed.steps=100"), in_memory, seed=seed) as launch:
        launch.start()
        launch.run_until(lambda: in_the_middle(launch, trials=2))
        launch.freeze_worker(25.0)
        launch.finish()
        check_launch(launch)
        (lost,) = of_kind(launch, ReplicaLost)
        assert "was silent for 15 s" in lost.reason


@every_seed
def test_a_controller_that_dies_is_started_again(small_plan, in_memory, seed):
    with SimulatedLaunch(small_plan("fixed.steps=40"), in_memory, seed=seed) as launch:
        launch.start()
        launch.run_until(lambda: in_the_middle(launch, trials=2))
        launch.kill_controller()
        launch.run_until(lambda: len(of_kind(launch, ReplicaStarted)) == 3)
        launch.finish()
        check_launch(launch)


@every_seed
def test_a_node_that_does_not_see_the_folder_is_refused_and_another_is_taken(small_plan, in_memory, seed):
    with SimulatedLaunch(small_plan("fixed.steps=60"), in_memory, seed=seed) as launch:
        launch.ray.nodes_up[DRIVERS_NODE] = False  # of which the driver is a guest only
        launch.add_node("good")
        launch.start()
        launch.run_until(lambda: in_the_middle(launch, trials=2))
        launch.lose_node("good")
        launch.add_node("blind", is_blind=True)
        launch.run_until(lambda: len(of_kind(launch, ReplicaRefused)) == 2)
        assert launch.snapshots[-1]["trouble"]["node blind"].startswith("refused: replica-")
        launch.add_node("good")
        launch.finish()
        check_launch(launch)
        assert all("cannot read the launch's folder" in record.reason for record in of_kind(launch, ReplicaRefused))


def test_a_study_that_fits_nowhere_ends_with_the_reason(small_plan, in_memory):
    with SimulatedLaunch(small_plan(), in_memory, seed=0) as launch:
        launch.why_too_large = "weights 80 GB, but 8 GB are free"
        launch.start()
        with pytest.raises(RefusedError, match="weights 80 GB, but 8 GB are free"):
            launch.finish()
        assert launch.store.status == LaunchStatus.STOPPED, "no trial has run: a resumed launch may find room"
        assert all(end["resumable"] for end in launch.ended().values())


def test_replicas_that_never_come_up_end_the_sweep_and_not_for_good(small_plan, in_memory, monkeypatch):
    with SimulatedLaunch(small_plan(), in_memory, seed=0, max_failures=1) as launch:
        from nmlab.platform.replicas import worker

        def fails(source, **where):
            raise OSError("model.safetensors is damaged")

        with monkeypatch.context() as patch:
            patch.setattr(worker.FrozenModel, "load", fails)
            launch.start()
            with pytest.raises(SweepError, match=r"no replica is left to run trials .*model.safetensors is damaged"):
                launch.finish()
        launch.start()
        launch.finish()
        check_launch(launch)


@every_seed
def test_a_store_out_of_reach_delays_no_trial_and_misses_nothing(small_plan, in_memory, seed):
    with SimulatedLaunch(small_plan("fixed.steps=20"), in_memory, seed=seed) as launch:

        def locked():
            launch.scheduler.check()
            raise OSError("database is locked")

        launch.start()
        launch.run_until(lambda: in_the_middle(launch, trials=2))
        reachable, launch.store.check = launch.store.check, locked
        ended = len(launch.ended())
        launch.run_until(lambda: len(launch.ended()) > ended, what="a trial to end in the outage")
        launch.run_until(lambda: launch.snapshots[-1]["trouble"].keys() == {"mlflow"}, what="the trouble to be shown")
        launch.store.check = reachable
        launch.finish()
        check_launch(launch)


def test_what_a_store_never_took_is_delivered_by_a_later_process(small_plan, in_memory):
    with SimulatedLaunch(small_plan(), in_memory, seed=0) as launch:

        def locked():
            launch.scheduler.check()
            raise OSError("database is locked")

        reachable = launch.store.check
        launch.start()
        launch.run_until(lambda: len(launch.ended()) == 2)
        launch.store.check = locked
        assert "database is locked" in launch.finish().undelivered
        launch.store.check = reachable
        loads = launch.train.loads
        launch.start()
        launch.finish()
        check_launch(launch)
        assert launch.train.loads == loads, "nothing is started for that"


class Posted(list):
    """Stands for a poster, and keeps what is posted."""

    post = list.append


def messages_on(launch):
    """Return the events that the snapshots of a launch lead to."""
    posted = Posted()
    messages = Notifications(posted, study="study", launch="launch")
    for snapshot in launch.snapshots:
        messages.watch(snapshot)
    return [message["event"] for message in posted]


@every_seed
def test_a_full_disk_is_waited_out(small_plan, in_memory, seed):
    with SimulatedLaunch(small_plan("fixed.steps=20"), in_memory, seed=seed) as launch:

        def full():
            raise OSError(errno.ENOSPC, "No space left on device")

        launch.start()
        launch.run_until(lambda: in_the_middle(launch, trials=2))
        launch.before_write = full
        launch.run_for(6.0)
        assert "waiting for room" in launch.snapshots[-1]["trouble"]["disk"]
        launch.before_write = lambda: None
        launch.finish()
        check_launch(launch)
        assert messages_on(launch) == ["disk full"], "one, however often the write is tried"
        leased = [record.key for record in of_kind(launch, TrialLeased)]
        assert len(leased) == len(set(leased)), "trials learned on meanwhile"


@every_seed
def test_a_trial_whose_files_cannot_be_read_is_run_again(small_plan, in_memory, seed):
    with SimulatedLaunch(small_plan(), in_memory, seed=seed) as launch:
        refused = []

        def unreadable(record: TrialEnded) -> str:
            if refused:
                return ""
            refused.append(record.key)
            return "result.txt is not there"

        launch.unreadable = unreadable
        launch.start()
        launch.finish()
        check_launch(launch)
        assert [r.attempt for r in of_kind(launch, TrialLeased) if r.key == refused[0]] == [1, 2]


SHARED = ("fixed.masks_per_step=4", "fixed.steps=12", "replica.mask_parallel=2", "baselines=[]", "seeds=[0]")


@every_seed
def test_slots_share_a_trial_whose_coordinator_and_peers_die(small_plan, in_memory, seed):
    """Every loss of every step is checked by the trial itself; see `SimulatedTrials`."""
    plan = small_plan(*SHARED, "space={alpha: {grid: [0.9]}}")
    with SimulatedLaunch(plan, in_memory, seed=seed) as launch:
        launch.start()
        launch.run_until(lambda: of_kind(launch, PeerJoined) and in_the_middle(launch))
        launch.kill_actor("coordinator")
        launch.run_for(2.0)
        launch.kill_worker()
        launch.finish()
        check_launch(launch)
        check_values(launch)
        assert of_kind(launch, GroupEnded)


def test_what_the_status_says_is_what_the_journal_says(small_plan, in_memory):
    with SimulatedLaunch(small_plan(), in_memory, seed=3) as launch:
        launch.start()
        launch.finish()
        status = json.loads(launch.launch.status_file.read_text())
    assert (status["phase"], status["ended"], status["planned"]) == (LaunchStatus.FINISHED, 5, 5)
    assert {line["status"] for line in status["trials"].values()} == {TrialStatus.FINISHED}
