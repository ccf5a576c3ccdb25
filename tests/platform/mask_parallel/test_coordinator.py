"""Several slots evaluate the masks of one trial, on real runs: threads stand for slots, and one shared exchange.

Whatever happens to those who take part, the leader's result is that of a trial run alone, bit for bit.
"""

import threading
import time
from contextlib import suppress

import pytest
import safetensors.torch
from coordinators import Counting, Listener, SharedLine, assert_same_masks, in_threads, trained

from nmlab.platform.mask_parallel.coordinator import MaskParallelCoordinator
from nmlab.platform.mask_parallel.group import LEADER
from nmlab.platform.mask_parallel.peer import Peer
from nmlab.platform.planning.study_plan import trial_spec
from nmlab.platform.search.points import points
from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.errors import GroupClosedError
from nmlab.trials.engines import MaskKey
from nmlab.trials.methods.maskpro.run import MaskProRun
from nmlab.trials.models import FrozenModel, ModelSource
from nmlab.trials.trial.checkpoint import CheckpointFolder
from nmlab.trials.trial.run import follow_trial, run_trial

STEPS = 24


@pytest.fixture(scope="module")
def frozen():
    return FrozenModel.load(ModelSource("builtin:tiny"))


@pytest.fixture
def spec(plan_of):
    plan = plan_of(
        f"fixed.steps={STEPS}",
        "fixed.masks_per_step=6",
        "cadence={log_every: 1, checkpoint_every: 5}",
        "search.samples=1",
    )
    return trial_spec(plan.study, next(points(plan.study)), seed=0)


def lead(line, spec, replica, folder, *, epoch=1, participants=3):
    events = Listener()
    body = spec.model_dump(mode="json")
    leader = Peer(line, key=spec.key, epoch=epoch, spec=body, participants=participants)
    result = run_trial(spec, replica=replica, folder=folder, events=events, evaluators=leader)
    notices = leader.notices()
    leader.go()
    return result, events, notices, leader


def take_part(line, spec, replica, folder, *, wrap=lambda participant: participant, patience=20):
    """Wait for an offer, take part until the trial is over, and return how many masks were evaluated."""
    deadline = time.monotonic() + patience
    while (offer := line.ask("offer", 0.1)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    participant = wrap(Peer(line, key=offer["key"], epoch=offer["epoch"], member=offer["member"]))
    counted = Counting(participant)
    follow_trial(spec, replica=replica, folder=folder, evaluators=counted)
    participant.go()
    return counted.evaluated


@pytest.fixture
def alone(spec, frozen, tmp_path):
    events = Listener()
    run_trial(spec, replica=ReplicaContext(frozen), folder=tmp_path / "alone", events=events)
    return events


@pytest.mark.parametrize("others", [1, 3])
def test_a_trial_is_the_same_however_many_take_part(spec, frozen, tmp_path, alone, others):
    line, replica, folder = SharedLine(), ReplicaContext(frozen), tmp_path / "shared"
    (result, events, notices, _), *evaluated = in_threads(
        lambda: lead(line, spec, replica, folder, participants=1 + others),
        *[lambda: take_part(line, spec, replica, folder) for _ in range(others)],
    )
    assert (result.status, notices) == ("finished", [])
    assert trained(events) == trained(alone)
    assert_same_masks(folder, tmp_path / "alone")
    assert all(sum(share.values()) > STEPS / 2 for share in evaluated)
    assert result.metrics["cost/forwards"] == alone.points[STEPS]["cost/forwards"]


class DyingError(Exception):
    pass


def test_one_that_dies_in_the_middle_of_a_step_costs_the_time_of_its_share(spec, frozen, tmp_path, alone):
    line, replica, folder = SharedLine(), ReplicaContext(frozen), tmp_path / "shared"

    class Mortal(Counting):
        def losses(self, step, count, *, evaluate, digest):
            def die(index):
                if step == 3:
                    raise DyingError
                return evaluate(index)

            return self._evaluators.losses(step, count, evaluate=die, digest=digest)

    def doomed():
        with pytest.raises(DyingError):
            take_part(line, spec, replica, folder, wrap=Mortal)

    (result, events, _, _), _ = in_threads(lambda: lead(line, spec, replica, folder), doomed)
    assert result.status == "finished"
    assert trained(events) == trained(alone)


def test_one_that_comes_late_catches_up_from_checkpoint_and_losses(spec, frozen, tmp_path, alone):
    line, replica, folder = SharedLine(), ReplicaContext(frozen), tmp_path / "shared"

    def late():
        while not list(folder.glob("checkpoint-*10.safetensors")):
            time.sleep(0.01)
        return take_part(line, spec, replica, folder)

    class Slow(Listener):
        def cancelled(self):
            time.sleep(0.03)
            return False

    def leader():
        events = Slow()
        evaluators = Peer(line, key=spec.key, epoch=1, spec=spec.model_dump(mode="json"), participants=2)
        run_trial(spec, replica=replica, folder=folder, events=events, evaluators=evaluators)
        evaluators.go()
        return events

    events, evaluated = in_threads(leader, late)
    assert trained(events) == trained(alone)
    assert min(evaluated) >= 10


def test_one_that_joins_while_a_checkpoint_is_written_leaves_it_alone(spec, frozen, tmp_path, alone, monkeypatch):
    line, replica, folder = SharedLine(), ReplicaContext(frozen), tmp_path / "shared"
    looked = threading.Event()
    save_file, newest = safetensors.torch.save_file, CheckpointFolder.newest

    def written_but_not_in_place(tensors, path, **others):
        save_file(tensors, path, **others)
        assert looked.wait(20)

    def looked_at(*args, **others):
        found = newest(*args, **others)
        looked.set()
        return found

    def late():
        while not list(folder.glob("*.partial")):
            time.sleep(0.01)
        monkeypatch.setattr(CheckpointFolder, "newest", looked_at)
        return take_part(line, spec, replica, folder)

    monkeypatch.setattr(safetensors.torch, "save_file", written_but_not_in_place)
    (result, events, notices, _), evaluated = in_threads(
        lambda: lead(line, spec, replica, folder, participants=2), late
    )
    assert (result.status, notices) == ("finished", [])
    assert trained(events) == trained(alone)
    assert evaluated


def test_one_that_goes_astray_is_brought_back_in_line_and_it_is_told(spec, frozen, tmp_path, alone, monkeypatch):
    line, replica, folder = SharedLine(), ReplicaContext(frozen), tmp_path / "shared"
    spoiled = threading.Event()
    step_of = MaskProRun.step

    def step(self, number):
        """Once, after three steps, the logits of whoever takes part are knocked over, as by a broken memory."""
        values = step_of(self, number)
        joined = getattr(self._evaluators, "_evaluators", None)
        if joined is not None and number == 3 and not spoiled.is_set():
            spoiled.set()
            self._engine.descend_from_keys([(MaskKey(seed=9, step=9), -5.0)], rate=100.0)
        return values

    monkeypatch.setattr(MaskProRun, "step", step)
    (_, events, notices, _), evaluated = in_threads(
        lambda: lead(line, spec, replica, folder, participants=2), lambda: take_part(line, spec, replica, folder)
    )
    assert spoiled.is_set()
    assert [notice for notice in notices if "other logits than the leader" in notice]
    assert trained(events) == trained(alone)
    assert max(evaluated) == STEPS - 1, "it took part again after it had started anew"


def test_a_leader_that_lost_its_lease_stops_and_the_next_one_goes_on(spec, frozen, tmp_path, alone):
    line, replica, folder = SharedLine(), ReplicaContext(frozen), tmp_path / "shared"
    later = Peer(line, key=spec.key, epoch=2, spec={}, participants=1)

    class Replaced(Listener):
        def metrics(self, step, values):
            super().metrics(step, values)
            if step == 7:
                later._open(6, 5)

    evaluators = Peer(line, key=spec.key, epoch=1, spec={}, participants=1)
    first = run_trial(spec, replica=replica, folder=folder, events=Replaced(), evaluators=evaluators)
    assert (first.status, first.step) == ("stopped", 7)
    second = Listener()
    assert run_trial(spec, replica=replica, folder=folder, events=second, evaluators=later).status == "finished"
    assert trained(second) == trained(alone)


def test_what_is_exchanged_does_not_grow_with_the_model(tmp_path):
    """Two steps of three masks, of which one is the other's: the bytes depend on masks and steps alone."""
    line = SharedLine()
    leader = Peer(line, key="k", epoch=1, spec={"seed": 0}, participants=2)
    other = []

    def follow():
        while (offer := line.ask("offer", 0.1)) is None:
            time.sleep(0.01)
        other.append(Peer(line, key="k", epoch=1, member=offer["member"]))
        with suppress(GroupClosedError):
            for step in range(1000):
                other[0].losses(step, 4, evaluate=float, digest=lambda: b"8 bytes.")

    def go_ahead():
        leader._open(4, 0)
        while not other:
            time.sleep(0.01)
        for step in range(200):
            assert leader.losses(step, 4, evaluate=float, digest=lambda: b"8 bytes.") == [0.0, 1.0, 2.0, 3.0]
            leader.saved(step)
        leader.go()

    in_threads(go_ahead, follow)
    assert leader.exchanged_bytes / 200 < 700
    assert other[0].exchanged_bytes / 200 < 700


def test_silent_participants_are_done_without_and_a_silent_leader_is_no_leader():
    coordinator = MaskParallelCoordinator()
    coordinator.open("k", 1, {}, 3, 4, 0, now=0.0)
    first, second = coordinator.offer(now=0.0), coordinator.offer(now=0.0)
    assert coordinator.offer(now=1.0) is None
    assert {first["member"], second["member"]} == {"participant-1", "participant-2"}
    assert coordinator.attend("k", 1, LEADER, 0, {}, b"", 0, now=9.0) == {"mine": [0, 3]}
    assert coordinator.attend("k", 1, "participant-1", 0, {}, b"", 0, now=9.0) == {"mine": [1]}
    assert coordinator.offer(now=12.0)["member"] == "participant-3"
    assert coordinator.attend("k", 1, "participant-2", 0, {}, b"", 0, now=12.0) == {"over": True}
    assert coordinator.notices("k") == ["participant-2 was silent for 10 s and is done without"]
    assert coordinator.offer(now=100.0) is None
    assert coordinator.attend("k", 1, LEADER, 0, {}, b"", 0, now=100.0) == {"unknown": True}


def test_the_party_that_lacks_most_is_offered_first():
    coordinator = MaskParallelCoordinator()
    coordinator.open("a", 1, {"seed": 0}, 2, 4, 0, now=0.0)
    coordinator.open("b", 1, {"seed": 1}, 4, 4, 0, now=0.0)
    assert [coordinator.offer(now=0.0)["key"] for _ in range(4)] == ["b", "b", "b", "a"]
    assert coordinator.offer(now=0.0) is None
    coordinator.leave("b", 1, "participant-2")
    assert coordinator.offer(now=0.0)["key"] == "b"
