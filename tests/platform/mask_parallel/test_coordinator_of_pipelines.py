"""Mask parallelism between replicas with pipeline stages: each slot of such a replica is a pipeline group.

Whatever happens to the peers, the leader's result is that of one whole model alone, bit for bit.
"""

import threading
import time
from contextlib import suppress

import pytest
from coordinators import Listener, SharedCoordinator, assert_same_masks, once_all_are_in, trained

from nmlab.platform.mask_parallel.messages import Member
from nmlab.platform.mask_parallel.peer import Peer
from nmlab.platform.planning.study_trials import trial_spec
from nmlab.platform.search.initial_points import points
from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.engines import MaskKey
from nmlab.trials.methods.maskpro.run import MaskProRun
from nmlab.trials.models import FrozenModel, ModelSource
from nmlab.trials.parallel.mask_parallel import PipelineEvaluators
from nmlab.trials.parallel.pipeline_group import SINGLE_PROCESS
from nmlab.trials.trial.run import follow_trial, run_trial

pytestmark = pytest.mark.slow

STEPS = 10
SAVED = 4
STAGES = 2  # builtin:tiny has two decoder blocks


@pytest.fixture(scope="module")
def spec(plan_of):
    plan = plan_of(
        f"fixed.steps={STEPS}",
        "fixed.masks_per_step=4",
        f"intervals={{log_every: 1, checkpoint_every: {SAVED}}}",
        "search.samples=1",
    )
    return trial_spec(plan.study, next(points(plan.study)), seed=0)


@pytest.fixture(scope="module")
def alone_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("alone")


@pytest.fixture(scope="module")
def alone(spec, alone_folder):
    """What the trial records that one whole model runs alone."""
    events = Listener()
    replica = ReplicaContext(FrozenModel.load(ModelSource(source="builtin:tiny")))
    run_trial(spec, replica=replica, folder=alone_folder, events=events, pipeline=SINGLE_PROCESS)
    return trained(events)


_LOADED = {}


def load_once(pipeline):
    """Load the model of a rank of a group once for all tests; they change no weight."""
    key = (pipeline.name, pipeline.size, pipeline.rank)
    if key not in _LOADED:  # on all ranks of the group or on none
        _LOADED[key] = FrozenModel.load(ModelSource(source="builtin:tiny"), pipeline=pipeline)
    return _LOADED[key]


class Sharing:
    """A trial that pipeline group 0 leads and every other group follows once ``joins()`` is true."""

    def __init__(self, spec, folder, *, pipelines, joins=lambda: True, delay=0.0):
        self.spec, self.folder, self.coordinator = spec, folder, SharedCoordinator()
        self._pipelines, self._joins, self._delay = pipelines, joins, delay
        self._hold_back = once_all_are_in(self.coordinator, pipelines, when=joins)
        self.events = Listener(self._before_step)
        self.evaluated, self.notices = [], []

    def _before_step(self):
        time.sleep(self._delay)
        self._hold_back()

    def work(self, pipeline):
        replica = ReplicaContext(load_once(pipeline))
        return self._lead(pipeline, replica) if pipeline.name == "slot-0" else self._follow(pipeline, replica)

    def _lead(self, pipeline, replica):
        body = self.spec.model_dump(mode="json")
        leader = Peer(self.coordinator, Member(self.spec.key, 1), spec=body, size=self._pipelines)
        evaluators = PipelineEvaluators(pipeline, leader if pipeline.leads else None)
        events = self.events if pipeline.leads else None
        result = run_trial(
            self.spec, replica=replica, folder=self.folder, events=events, pipeline=pipeline, evaluators=evaluators
        )
        if pipeline.leads:
            self.notices = leader.notices()
            leader.leave()
        return result.status

    def _follow(self, pipeline, replica):
        peer = self._peer() if pipeline.leads else None
        with suppress(MemoryError):
            follow_trial(
                self.spec,
                replica=replica,
                folder=self.folder,
                pipeline=pipeline,
                evaluators=PipelineEvaluators(pipeline, peer),
            )
        if peer is not None:
            peer.leave()
        return pipeline.broadcast("in step" if pipeline.leads else None)  # which fails if a rank is at another call

    def _peer(self):
        while not self._joins() or (offer := self.coordinator.offer(within=0.1)) is None:
            time.sleep(0.01)
        peer = Peer(self.coordinator, offer.member)
        losses = peer.losses

        def counted(step, count, *, evaluate, digest):
            return losses(step, count, evaluate=lambda index: self._count(step, evaluate(index)), digest=digest)

        peer.losses = counted
        return peer

    def _count(self, step, loss):
        self.evaluated.append(step)
        return loss


def test_replicas_with_pipeline_stages_share_the_masks_of_a_step(spec, tmp_path, alone, alone_folder, run_pipeline):
    sharing = Sharing(spec, tmp_path / "shared", pipelines=2)
    assert run_pipeline(STAGES, sharing.work, slots=2) == ["finished"] * STAGES + ["in step"] * STAGES
    assert sharing.notices == []
    assert trained(sharing.events) == alone
    assert_same_masks(tmp_path / "shared", alone_folder)
    assert len(sharing.evaluated) > STEPS / 2


def test_a_late_peer_starts_from_the_checkpoints_of_all_stages(spec, tmp_path, alone, run_pipeline):
    folder = tmp_path / "shared"
    saved = [folder / f"shard-{rank}-of-{STAGES}" / f"checkpoint-{SAVED:09d}.safetensors" for rank in range(STAGES)]
    sharing = Sharing(spec, folder, pipelines=2, joins=lambda: all(path.exists() for path in saved), delay=0.05)
    assert run_pipeline(STAGES, sharing.work, slots=2) == ["finished"] * STAGES + ["in step"] * STAGES
    assert trained(sharing.events) == alone
    assert sharing.evaluated
    assert min(sharing.evaluated) >= SAVED


@pytest.mark.parametrize("rank", range(STAGES))
def test_a_stage_out_of_sync_takes_its_group_back_to_the_checkpoint(
    spec,
    tmp_path,
    alone,
    run_pipeline,
    monkeypatch,
    rank,
):
    spoiled, step_of = threading.Event(), MaskProRun.step

    def step(self, number):
        """Change the logits of one stage of the peer once, after three steps."""
        values = step_of(self, number)
        pipeline = self._model.pipeline
        if (pipeline.name, pipeline.rank, number) == ("slot-1", rank, 3) and not spoiled.is_set():
            spoiled.set()
            self._engine.descend_from_keys([(MaskKey(seed=9, step=9), -5.0)], rate=100.0)
        return values

    monkeypatch.setattr(MaskProRun, "step", step)
    sharing = Sharing(spec, tmp_path / "shared", pipelines=2, delay=0.02)
    assert run_pipeline(STAGES, sharing.work, slots=2) == ["finished"] * STAGES + ["in step"] * STAGES
    assert spoiled.is_set()
    assert [notice for notice in sharing.notices if "other logits than the leader" in notice]
    assert trained(sharing.events) == alone
    assert max(sharing.evaluated) == STEPS - 1, "it evaluated masks again after it had started from a checkpoint"


@pytest.mark.parametrize("rank", range(STAGES))
def test_a_stage_without_memory_takes_its_own_group_out_of_the_trial_and_no_other(
    spec, tmp_path, alone, run_pipeline, monkeypatch, rank
):
    step_of = MaskProRun.step

    def step(self, number):
        pipeline = self._model.pipeline
        if (pipeline.name, pipeline.rank, number) == ("slot-1", rank, 3):
            raise MemoryError("no room for this step")
        return step_of(self, number)

    monkeypatch.setattr(MaskProRun, "step", step)
    sharing = Sharing(spec, tmp_path / "shared", pipelines=2, delay=0.02)
    assert run_pipeline(STAGES, sharing.work, slots=2) == ["finished"] * STAGES + ["in step"] * STAGES
    assert trained(sharing.events) == alone
    assert max(sharing.evaluated) == 2


def test_a_group_whose_trial_has_another_leader_leaves_it_and_runs_the_next(spec, tmp_path, run_pipeline):
    def work(pipeline):
        replica = ReplicaContext(load_once(pipeline))
        gone = Peer(SharedCoordinator(), Member("nobody's", 1, "peer-1")) if pipeline.leads else None
        follow_trial(
            spec,
            replica=replica,
            folder=tmp_path / "shared",
            pipeline=pipeline,
            evaluators=PipelineEvaluators(pipeline, gone),
        )
        result = run_trial(spec, replica=replica, folder=tmp_path / "next", events=Listener(), pipeline=pipeline)
        return result.status

    assert run_pipeline(STAGES, work) == ["finished"] * STAGES
    assert not (tmp_path / "shared").exists()
