"""Several slots evaluate the masks of one trial, in real runs: threads stand for slots, with one shared coordinator.

Whatever happens to the peers, the leader's result is that of a trial run alone, bit for bit.
"""

import threading
import time
from contextlib import suppress

import pytest
import safetensors.torch
from coordinators import Counting, Listener, SharedCoordinator, assert_same_masks, in_threads, once_all_are_in, trained

from nmlab.platform.mask_parallel.coordinator_state import MaskParallelCoordinator
from nmlab.platform.mask_parallel.messages import LEADER, AllLosses, Closed, Evaluate, Member, NotOpen, Wait
from nmlab.platform.mask_parallel.peer import Peer
from nmlab.platform.planning.study_trials import trial_spec
from nmlab.platform.search.initial_points import points
from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.errors import GroupClosedError
from nmlab.trials.engines import MaskKey
from nmlab.trials.methods.maskpro.run import MaskProRun
from nmlab.trials.models import FrozenModel, ModelSource, dense_teacher
from nmlab.trials.trial.checkpoint import CheckpointFolder
from nmlab.trials.trial.run import follow_trial, run_trial

STEPS = 12
SAVED = 4


@pytest.fixture(scope="module")
def replica():
    """What the slots of one replica share; the threads of a test are its slots."""
    return ReplicaContext(FrozenModel.load(ModelSource(source="builtin:tiny")))


@pytest.fixture(scope="module")
def spec(plan_of):
    plan = plan_of(
        f"fixed.steps={STEPS}",
        "fixed.masks_per_step=6",
        f"intervals={{log_every: 1, checkpoint_every: {SAVED}}}",
        "search.samples=1",
    )
    return trial_spec(plan.study, next(points(plan.study)), seed=0)


def lead(coordinator, spec, replica, folder, *, epoch=1, size=2, when=lambda: True):
    """Lead a trial; ``when()``, and after the first step, wait until all peers have started."""
    events = Listener(once_all_are_in(coordinator, size, when=when))
    body = spec.model_dump(mode="json")
    leader = Peer(coordinator, Member(spec.key, epoch), spec=body, size=size)
    result = run_trial(spec, replica=replica, folder=folder, events=events, evaluators=leader)
    notices = leader.notices()
    leader.leave()
    return result, events, notices, leader


def report(coordinator, name, step, *, now, given=None, digest=b""):
    member = Member("k", 1, name)
    return coordinator.report(member, step, given=given or {}, digest=digest, checkpoint=0, now=now)


def follow_leader(coordinator, spec, replica, folder, *, wrap=lambda peer: peer, patience=20):
    """Wait for an offer, follow the trial until it is over, and return how many masks were evaluated."""
    deadline = time.monotonic() + patience
    while (offer := coordinator.offer(within=0.1)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    peer = wrap(Peer(coordinator, offer.member))
    counted = Counting(peer)
    follow_trial(spec, replica=replica, folder=folder, evaluators=counted)
    peer.leave()
    return counted.evaluated


@pytest.fixture(scope="module")
def alone_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("alone")


@pytest.fixture(scope="module")
def alone(spec, replica, alone_folder):
    """The events of the trial that runs alone."""
    events = Listener()
    run_trial(spec, replica=replica, folder=alone_folder, events=events)
    return events


def test_a_trial_is_the_same_with_several_peers(spec, replica, tmp_path, alone, alone_folder):
    coordinator, folder = SharedCoordinator(), tmp_path / "shared"
    (result, events, notices, _), *evaluated = in_threads(
        lambda: lead(coordinator, spec, replica, folder, size=4),
        *[lambda: follow_leader(coordinator, spec, replica, folder) for _ in range(3)],
    )
    assert (result.status, notices) == ("finished", [])
    assert trained(events) == trained(alone)
    assert_same_masks(folder, alone_folder)
    assert all(sum(share.values()) > STEPS / 2 for share in evaluated)
    assert result.metrics["cost/forwards"] == alone.points[STEPS]["cost/forwards"]


def test_so_is_one_with_a_mask_for_every_sequence_whose_last_minibatch_is_smaller(spec, replica, tmp_path):
    ours = {"mask_per": "sequence", "masks_per_step": 1, "tracker": "leave_one_out"}
    walk = {"learning_rate": None, "walk_rate": 0.2, "learning_rate_schedule": "linear"}
    hyperparameters = {**spec.hyperparameters, **ours, **walk}
    calibration = spec.calibration.model_copy(update={"samples": 14, "batch_size": 6})
    own = spec.model_copy(update={"hyperparameters": hyperparameters, "calibration": calibration})
    coordinator, folder, alone, alone_folder = SharedCoordinator(), tmp_path / "shared", Listener(), tmp_path / "alone"
    run_trial(own, replica=replica, folder=alone_folder, events=alone)
    (result, events, notices, _), *evaluated = in_threads(
        lambda: lead(coordinator, own, replica, folder, size=3),
        *[lambda: follow_leader(coordinator, own, replica, folder) for _ in range(2)],
    )
    assert (result.status, notices) == ("finished", [])
    assert trained(events) == trained(alone)
    assert_same_masks(folder, alone_folder)
    assert all(sum(share.values()) > STEPS / 2 for share in evaluated)
    assert result.metrics["cost/tokens"] == alone.points[STEPS]["cost/tokens"]


@pytest.mark.parametrize("kept_bytes", [dense_teacher.KEPT_BYTES, pytest.param(0, marks=pytest.mark.thorough)])
def test_so_is_one_that_distills_whose_peers_run_the_dense_model_themselves(
    spec, replica, tmp_path, monkeypatch, kept_bytes
):
    monkeypatch.setattr(dense_teacher, "KEPT_BYTES", kept_bytes)
    own = spec.model_copy(update={"hyperparameters": {**spec.hyperparameters, "objective": "distill"}})
    coordinator, folder, alone, alone_folder = SharedCoordinator(), tmp_path / "shared", Listener(), tmp_path / "alone"
    run_trial(own, replica=ReplicaContext(replica.frozen), folder=alone_folder, events=alone)
    others = ReplicaContext(replica.frozen)
    (result, events, notices, _), *evaluated = in_threads(
        lambda: lead(coordinator, own, others, folder, size=3),
        *[lambda: follow_leader(coordinator, own, others, folder) for _ in range(2)],
    )
    assert (result.status, notices) == ("finished", [])
    assert trained(events) == trained(alone)
    assert_same_masks(folder, alone_folder)
    assert all(sum(share.values()) > STEPS / 2 for share in evaluated)
    for cost in ("cost/forwards", "cost/tokens"):
        assert result.metrics[cost] == alone.points[STEPS][cost]


class DyingError(Exception):
    pass


def test_the_leader_evaluates_the_share_of_a_peer_that_dies_within_a_step(spec, replica, tmp_path, alone):
    coordinator, folder = SharedCoordinator(), tmp_path / "shared"

    class Mortal(Counting):
        def losses(self, step, count, *, evaluate, digest):
            def die(index):
                if step == 3:
                    raise DyingError
                return evaluate(index)

            return self._evaluators.losses(step, count, evaluate=die, digest=digest)

    def doomed():
        with pytest.raises(DyingError):
            follow_leader(coordinator, spec, replica, folder, wrap=Mortal)

    (result, events, _, _), _ = in_threads(lambda: lead(coordinator, spec, replica, folder), doomed)
    assert result.status == "finished"
    assert trained(events) == trained(alone)


@pytest.mark.slow
def test_a_late_peer_replays_the_losses_since_a_checkpoint(spec, replica, tmp_path, alone):
    coordinator, folder = SharedCoordinator(), tmp_path / "shared"

    def late():
        while not list(folder.glob(f"checkpoint-*{SAVED}.safetensors")):
            time.sleep(0.01)
        return follow_leader(coordinator, spec, replica, folder)

    def has_joined():
        time.sleep(0.03)
        return any(held.starting for held in coordinator.coordinator._open.values())

    def leader():
        events = Listener(once_all_are_in(coordinator, 2, when=has_joined))
        evaluators = Peer(coordinator, Member(spec.key, 1), spec=spec.model_dump(mode="json"), size=2)
        run_trial(spec, replica=replica, folder=folder, events=events, evaluators=evaluators)
        evaluators.leave()
        return events

    events, evaluated = in_threads(leader, late)
    assert trained(events) == trained(alone)
    assert min(evaluated) >= SAVED


@pytest.mark.slow
def test_a_peer_that_joins_while_a_checkpoint_is_written_does_not_touch_it(spec, replica, tmp_path, alone, monkeypatch):
    coordinator, folder = SharedCoordinator(), tmp_path / "shared"
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
        return follow_leader(coordinator, spec, replica, folder)

    monkeypatch.setattr(safetensors.torch, "save_file", written_but_not_in_place)
    (result, events, notices, _), evaluated = in_threads(
        lambda: lead(coordinator, spec, replica, folder, when=looked.is_set), late
    )
    assert (result.status, notices) == ("finished", [])
    assert trained(events) == trained(alone)
    assert evaluated


@pytest.mark.slow
def test_a_peer_out_of_sync_starts_again_and_the_journal_says_so(spec, replica, tmp_path, alone, monkeypatch):
    coordinator, folder = SharedCoordinator(), tmp_path / "shared"
    spoiled = threading.Event()
    step_of = MaskProRun.step

    def step(self, number):
        """Change the logits of the peer once, after three steps, as broken memory would."""
        values = step_of(self, number)
        joined = getattr(self._evaluators, "_evaluators", None)
        if joined is not None and number == 3 and not spoiled.is_set():
            spoiled.set()
            self._engine.descend_from_keys([(MaskKey(seed=9, step=9), -5.0)], rate=100.0)
        return values

    monkeypatch.setattr(MaskProRun, "step", step)
    (_, events, notices, _), evaluated = in_threads(
        lambda: lead(coordinator, spec, replica, folder),
        lambda: follow_leader(coordinator, spec, replica, folder),
    )
    assert spoiled.is_set()
    assert [notice for notice in notices if "other logits than the leader" in notice]
    assert trained(events) == trained(alone)
    assert max(evaluated) == STEPS - 1, "it evaluated masks again after it had started from a checkpoint"


@pytest.mark.slow
def test_a_leader_that_lost_its_lease_stops_and_the_next_one_goes_on(spec, replica, tmp_path, alone):
    coordinator, folder = SharedCoordinator(), tmp_path / "shared"
    later = Peer(coordinator, Member(spec.key, 2), spec={}, size=1)

    class Replaced(Listener):
        def metrics(self, step, values):
            super().metrics(step, values)
            if step == 7:
                later._open(6, SAVED)

    evaluators = Peer(coordinator, Member(spec.key, 1), spec={}, size=1)
    first = run_trial(spec, replica=replica, folder=folder, events=Replaced(), evaluators=evaluators)
    assert (first.status, first.step) == ("stopped", 7)
    second = Listener()
    assert run_trial(spec, replica=replica, folder=folder, events=second, evaluators=later).status == "finished"
    assert trained(second) == trained(alone)


def test_what_is_exchanged_does_not_grow_with_the_model(tmp_path):
    """The bytes depend on the number of masks and steps alone."""
    coordinator = SharedCoordinator()
    leader = Peer(coordinator, Member("k", 1), spec={"seed": 0}, size=2)
    other = []

    def follow():
        while (offer := coordinator.offer(within=0.1)) is None:
            time.sleep(0.01)
        other.append(Peer(coordinator, offer.member))
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
        leader.leave()

    in_threads(go_ahead, follow)
    assert leader.exchanged_bytes / 200 < 700
    assert other[0].exchanged_bytes / 200 < 700


def test_silent_peers_and_groups_with_a_silent_leader_are_removed():
    coordinator = MaskParallelCoordinator()
    coordinator.open(Member("k", 1), spec={}, size=3, masks=4, step=0, now=0.0)
    first, second = coordinator.offer(now=0.0), coordinator.offer(now=0.0)
    assert coordinator.offer(now=1.0) is None
    assert {first.member.name, second.member.name} == {"peer-1", "peer-2"}
    assert report(coordinator, "peer-2", 0, now=2.0) == Evaluate([1, 3])
    assert report(coordinator, "peer-1", 0, now=59.0) is None, "it joined within the step"
    assert report(coordinator, LEADER, 0, now=59.0) == Evaluate([0, 2])
    assert coordinator.offer(now=63.0).member.name == "peer-3"
    assert report(coordinator, LEADER, 0, now=63.0) == Evaluate([0, 1, 2, 3])
    assert report(coordinator, "peer-2", 0, now=63.0) == Closed()
    assert coordinator.notices("k") == ["peer-2 was silent for 60 s; the trial goes on without it"]
    assert coordinator.offer(now=200.0) is None
    assert report(coordinator, LEADER, 0, now=200.0) == NotOpen()


def test_a_peer_that_starts_slowly_has_a_place_and_costs_the_others_nothing():
    """With a large model it makes its initial mask, or loads a checkpoint, for minutes before its first message."""
    coordinator = MaskParallelCoordinator()
    coordinator.open(Member("k", 1), spec={}, size=2, masks=2, step=0, now=0.0)
    assert coordinator.offer(now=0.0).member.name == "peer-1"
    for step in range(20):
        assert coordinator.report(
            Member("k", 1, LEADER), step, given={}, digest=b"", checkpoint=0, now=20.0 * step
        ) == Evaluate([0, 1])
        answer = report(coordinator, LEADER, step, given={0: 1.0, 1: 2.0}, digest=b"d", now=20.0 * step)
        assert answer == AllLosses([[1.0, 2.0]])
        assert coordinator.offer(now=20.0 * step) is None, "its place is kept"
    assert report(coordinator, "peer-1", 0, now=390.0) == AllLosses([[1.0, 2.0]] * 20)
    assert report(coordinator, LEADER, 20, now=400.0) == Evaluate([0])
    assert report(coordinator, "peer-1", 20, now=400.0) == Evaluate([1])
    assert coordinator.notices("k") == []


def test_a_peer_that_never_starts_loses_its_place():
    coordinator = MaskParallelCoordinator()
    coordinator.open(Member("k", 1), spec={}, size=2, masks=2, step=0, now=0.0)
    assert coordinator.offer(now=0.0).member.name == "peer-1"
    for seconds in range(0, 620, 50):
        report(coordinator, LEADER, 0, now=float(seconds))
    assert coordinator.offer(now=620.0).member.name == "peer-2"
    assert coordinator.notices("k") == ["peer-1 did not start within 600 s; the trial goes on without it"]


def test_a_member_that_works_for_long_is_not_silent(monkeypatch):
    """A share of masks, or a replay of many steps, can take longer than the limit of silence."""
    coordinator, clock = MaskParallelCoordinator(), [0.0]

    class Direct:
        def open(self, leader, **group):
            coordinator.open(leader, **group, now=clock[0])

        def heartbeat(self, member):
            coordinator.heartbeat(member, now=clock[0])

        def report(self, member, step, *, within, **given):
            return coordinator.report(member, step, **given, now=clock[0]) or Wait()

    def takes_long(index):
        clock[0] += 40.0
        return float(index)

    monkeypatch.setattr("nmlab.platform.mask_parallel.peer.time.monotonic", lambda: clock[0])
    leader = Peer(Direct(), Member("k", 1), spec={}, size=1)
    for step in range(3):
        leader.losses(step, 4, evaluate=takes_long, digest=lambda: b"8 bytes.")
        coordinator.offer(now=clock[0])
    assert report(coordinator, LEADER, 3, now=clock[0]) == Evaluate([0, 1, 2, 3])


def test_the_group_that_lacks_most_peers_is_offered_first():
    coordinator = MaskParallelCoordinator()
    coordinator.open(Member("a", 1), spec={"seed": 0}, size=2, masks=4, step=0, now=0.0)
    coordinator.open(Member("b", 1), spec={"seed": 1}, size=4, masks=4, step=0, now=0.0)
    assert [coordinator.offer(now=0.0).member.key for _ in range(4)] == ["b", "b", "b", "a"]
    assert coordinator.offer(now=0.0) is None
    coordinator.leave(Member("b", 1, "peer-2"))
    assert coordinator.offer(now=0.0).member.key == "b"


def test_an_older_lease_does_not_open_the_group_again():
    coordinator = MaskParallelCoordinator()
    coordinator.open(Member("k", 2), spec={}, size=1, masks=2, step=3, now=0.0)
    coordinator.open(Member("k", 1), spec={}, size=1, masks=2, step=0, now=0.0)
    assert report(coordinator, LEADER, 0, now=1.0) == Closed(), "the older leader is to stop"
    now = coordinator.report(Member("k", 2), 3, given={}, digest=b"", checkpoint=0, now=1.0)
    assert now == Evaluate([0, 1]), "the newer one goes on"
