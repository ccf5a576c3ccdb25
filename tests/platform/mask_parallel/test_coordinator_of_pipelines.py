"""The masks of one trial, shared by replicas whose model is spread over shards: crews stand for slots of such replicas.

The leader's result is that of one whole model alone, bit for bit, whatever happens to those who take part.
"""

import threading
import time
from contextlib import suppress

import pytest
from coordinators import Listener, SharedLine, assert_same_masks, trained

from nmlab.platform.mask_parallel.peer import Peer
from nmlab.platform.planning.study_plan import trial_spec
from nmlab.platform.search.points import points
from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.engines import MaskKey
from nmlab.trials.methods.maskpro.run import MaskProRun
from nmlab.trials.models import FrozenModel, ModelSource
from nmlab.trials.parallel.mask_parallel import PipelineEvaluators
from nmlab.trials.parallel.pipeline_group import SINGLE_PROCESS
from nmlab.trials.trial.run import follow_trial, run_trial

STEPS = 16
SHARDS = 2  # builtin:tiny has two decoder blocks


@pytest.fixture
def spec(plan_of):
    plan = plan_of(
        f"fixed.steps={STEPS}",
        "fixed.masks_per_step=4",
        "cadence={log_every: 1, checkpoint_every: 5}",
        "search.samples=1",
    )
    return trial_spec(plan.study, next(points(plan.study)), seed=0)


@pytest.fixture
def alone(spec, tmp_path):
    events = Listener()
    replica = ReplicaContext(FrozenModel.load(ModelSource("builtin:tiny")))
    run_trial(spec, replica=replica, folder=tmp_path / "alone", events=events, pipeline=SINGLE_PROCESS)
    return trained(events)


class Sharing:
    """A trial that crew 0 leads and every other crew takes part in as soon as ``joins()`` says so."""

    def __init__(self, spec, folder, *, pipelines, joins=lambda: True, delay=0.0):
        self.spec, self.folder, self.line, self.events = spec, folder, SharedLine(), Listener()
        self._pipelines, self._joins, self._delay = pipelines, joins, delay
        self.helped, self.notices = [], []
        self.events.cancelled = lambda: bool(time.sleep(delay))

    def work(self, pipeline):
        replica = ReplicaContext(FrozenModel.load(ModelSource("builtin:tiny"), pipeline=pipeline))
        return self._lead(pipeline, replica) if pipeline.name == "slot-0" else self._take_part(pipeline, replica)

    def _lead(self, pipeline, replica):
        body = self.spec.model_dump(mode="json")
        leader = Peer(self.line, key=self.spec.key, epoch=1, spec=body, participants=self._pipelines)
        evaluators = PipelineEvaluators(pipeline, leader if pipeline.leads else None)
        events = self.events if pipeline.leads else None
        result = run_trial(
            self.spec, replica=replica, folder=self.folder, events=events, pipeline=pipeline, evaluators=evaluators
        )
        if pipeline.leads:
            self.notices = leader.notices()
            leader.go()
        return result.status

    def _take_part(self, pipeline, replica):
        participant = self._participant() if pipeline.leads else None
        with suppress(MemoryError):
            follow_trial(
                self.spec,
                replica=replica,
                folder=self.folder,
                pipeline=pipeline,
                evaluators=PipelineEvaluators(pipeline, participant),
            )
        if participant is not None:
            participant.go()
        return pipeline.broadcast("in step" if pipeline.leads else None)  # which fails where a member is elsewhere

    def _participant(self):
        while not self._joins() or (offer := self.line.ask("offer", 0.1)) is None:
            time.sleep(0.01)
        participant = Peer(self.line, key=offer["key"], epoch=offer["epoch"], member=offer["member"])
        losses = participant.losses

        def counted(step, count, *, evaluate, digest):
            return losses(step, count, evaluate=lambda index: self._count(step, evaluate(index)), digest=digest)

        participant.losses = counted
        return participant

    def _count(self, step, loss):
        self.helped.append(step)
        return loss


@pytest.mark.parametrize("pipelines", [2, 3])
def test_replicas_of_shards_share_the_masks_of_a_step(spec, tmp_path, alone, run_pipeline, pipelines):
    sharing = Sharing(spec, tmp_path / "shared", pipelines=pipelines)
    ends = run_pipeline(SHARDS, sharing.work, slots=pipelines)
    assert ends == ["finished"] * SHARDS + ["in step"] * SHARDS * (pipelines - 1)
    assert sharing.notices == []
    assert trained(sharing.events) == alone
    assert_same_masks(tmp_path / "shared", tmp_path / "alone")
    assert len(sharing.helped) > STEPS / 2


def test_one_that_comes_late_catches_up_from_the_checkpoints_of_all_shards(spec, tmp_path, alone, run_pipeline):
    folder = tmp_path / "shared"
    saved = [folder / f"shard-{rank}-of-{SHARDS}" / "checkpoint-000000010.safetensors" for rank in range(SHARDS)]
    sharing = Sharing(spec, folder, pipelines=2, joins=lambda: all(path.exists() for path in saved), delay=0.05)
    assert run_pipeline(SHARDS, sharing.work, slots=2) == ["finished"] * SHARDS + ["in step"] * SHARDS
    assert trained(sharing.events) == alone
    assert sharing.helped
    assert min(sharing.helped) >= 10


@pytest.mark.parametrize("rank", range(SHARDS))
def test_one_shard_that_goes_astray_takes_its_crew_back_to_the_checkpoint(
    spec,
    tmp_path,
    alone,
    run_pipeline,
    monkeypatch,
    rank,
):
    spoiled, step_of = threading.Event(), MaskProRun.step

    def step(self, number):
        """Once, after three steps, the logits of one shard of the crew that takes part are knocked over."""
        values = step_of(self, number)
        pipeline = self._model.pipeline
        if (pipeline.name, pipeline.rank, number) == ("slot-1", rank, 3) and not spoiled.is_set():
            spoiled.set()
            self._engine.descend_from_keys([(MaskKey(seed=9, step=9), -5.0)], rate=100.0)
        return values

    monkeypatch.setattr(MaskProRun, "step", step)
    sharing = Sharing(spec, tmp_path / "shared", pipelines=2, delay=0.02)
    assert run_pipeline(SHARDS, sharing.work, slots=2) == ["finished"] * SHARDS + ["in step"] * SHARDS
    assert spoiled.is_set()
    assert [notice for notice in sharing.notices if "other logits than the leader" in notice]
    assert trained(sharing.events) == alone
    assert max(sharing.helped) == STEPS - 1, "it took part again after it had started anew"


@pytest.mark.parametrize("rank", range(SHARDS))
def test_a_shard_without_memory_takes_its_crew_out_of_the_trial_and_nobody_else(
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
    assert run_pipeline(SHARDS, sharing.work, slots=2) == ["finished"] * SHARDS + ["in step"] * SHARDS
    assert trained(sharing.events) == alone
    assert max(sharing.helped) == 2


def test_a_trial_that_another_leads_sends_the_whole_crew_home_ready_for_the_next(spec, tmp_path, run_pipeline):
    def work(pipeline):
        replica = ReplicaContext(FrozenModel.load(ModelSource("builtin:tiny"), pipeline=pipeline))
        gone = Peer(SharedLine(), key="nobody's", epoch=1, member="participant-1") if pipeline.leads else None
        follow_trial(
            spec,
            replica=replica,
            folder=tmp_path / "shared",
            pipeline=pipeline,
            evaluators=PipelineEvaluators(pipeline, gone),
        )
        result = run_trial(spec, replica=replica, folder=tmp_path / "next", events=Listener(), pipeline=pipeline)
        return result.status

    assert run_pipeline(SHARDS, work) == ["finished"] * SHARDS
    assert not (tmp_path / "shared").exists()
