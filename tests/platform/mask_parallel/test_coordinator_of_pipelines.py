"""The masks of one trial, shared by replicas whose model is spread over shards: crews stand for slots of such replicas.

The leader's result is that of one whole model alone, bit for bit, whatever happens to those who take part.
"""

import threading
import time
from contextlib import suppress

import pytest
from exchanges import Listener, SharedLine, assert_same_masks, trained

from nmlab.platform.mask_parallel.peer import Participant
from nmlab.platform.planning.study_plan import trial_spec
from nmlab.platform.search.points import points
from nmlab.trials.context.replica_context import Workbench
from nmlab.trials.engines import MaskKey
from nmlab.trials.methods.maskpro.run import MaskProRun
from nmlab.trials.models import FrozenModel, ModelSource
from nmlab.trials.parallel.mask_parallel import CrewParty
from nmlab.trials.parallel.pipeline_group import ALONE
from nmlab.trials.trial.loop import assist_trial, run_trial

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
    bench = Workbench(FrozenModel.load(ModelSource("builtin:tiny")))
    run_trial(spec, bench=bench, folder=tmp_path / "alone", events=events, crew=ALONE)
    return trained(events)


class Sharing:
    """A trial that crew 0 leads and every other crew takes part in as soon as ``joins()`` says so."""

    def __init__(self, spec, folder, *, crews, joins=lambda: True, delay=0.0):
        self.spec, self.folder, self.line, self.events = spec, folder, SharedLine(), Listener()
        self._crews, self._joins, self._delay = crews, joins, delay
        self.helped, self.notices = [], []
        self.events.cancelled = lambda: bool(time.sleep(delay))

    def work(self, crew):
        bench = Workbench(FrozenModel.load(ModelSource("builtin:tiny"), crew=crew))
        return self._lead(crew, bench) if crew.name == "slot-0" else self._take_part(crew, bench)

    def _lead(self, crew, bench):
        body = self.spec.model_dump(mode="json")
        leader = Participant(self.line, key=self.spec.key, epoch=1, spec=body, participants=self._crews)
        party = CrewParty(crew, leader if crew.leads else None)
        events = self.events if crew.leads else None
        result = run_trial(self.spec, bench=bench, folder=self.folder, events=events, crew=crew, party=party)
        if crew.leads:
            self.notices = leader.notices()
            leader.go()
        return result.status

    def _take_part(self, crew, bench):
        participant = self._participant() if crew.leads else None
        with suppress(MemoryError):
            assist_trial(self.spec, bench=bench, folder=self.folder, crew=crew, party=CrewParty(crew, participant))
        if participant is not None:
            participant.go()
        return crew.tell("in step" if crew.leads else None)  # which fails where a member is elsewhere

    def _participant(self):
        while not self._joins() or (offer := self.line.ask("offer", 0.1)) is None:
            time.sleep(0.01)
        participant = Participant(self.line, key=offer["key"], epoch=offer["epoch"], member=offer["member"])
        losses = participant.losses

        def counted(step, count, *, evaluate, digest):
            return losses(step, count, evaluate=lambda index: self._count(step, evaluate(index)), digest=digest)

        participant.losses = counted
        return participant

    def _count(self, step, loss):
        self.helped.append(step)
        return loss


@pytest.mark.parametrize("crews", [2, 3])
def test_replicas_of_shards_share_the_masks_of_a_step(spec, tmp_path, alone, crewed, crews):
    sharing = Sharing(spec, tmp_path / "shared", crews=crews)
    ends = crewed(SHARDS, sharing.work, slots=crews)
    assert ends == ["finished"] * SHARDS + ["in step"] * SHARDS * (crews - 1)
    assert sharing.notices == []
    assert trained(sharing.events) == alone
    assert_same_masks(tmp_path / "shared", tmp_path / "alone")
    assert len(sharing.helped) > STEPS / 2


def test_one_that_comes_late_catches_up_from_the_checkpoints_of_all_shards(spec, tmp_path, alone, crewed):
    folder = tmp_path / "shared"
    saved = [folder / f"shard-{rank}-of-{SHARDS}" / "checkpoint-000000010.safetensors" for rank in range(SHARDS)]
    sharing = Sharing(spec, folder, crews=2, joins=lambda: all(path.exists() for path in saved), delay=0.05)
    assert crewed(SHARDS, sharing.work, slots=2) == ["finished"] * SHARDS + ["in step"] * SHARDS
    assert trained(sharing.events) == alone
    assert sharing.helped
    assert min(sharing.helped) >= 10


@pytest.mark.parametrize("rank", range(SHARDS))
def test_one_shard_that_goes_astray_takes_its_crew_back_to_the_checkpoint(
    spec,
    tmp_path,
    alone,
    crewed,
    monkeypatch,
    rank,
):
    spoiled, step_of = threading.Event(), MaskProRun.step

    def step(self, number):
        """Once, after three steps, the logits of one shard of the crew that takes part are knocked over."""
        values = step_of(self, number)
        crew = self._model.crew
        if (crew.name, crew.rank, number) == ("slot-1", rank, 3) and not spoiled.is_set():
            spoiled.set()
            self._engine.descend_from_keys([(MaskKey(seed=9, step=9), -5.0)], rate=100.0)
        return values

    monkeypatch.setattr(MaskProRun, "step", step)
    sharing = Sharing(spec, tmp_path / "shared", crews=2, delay=0.02)
    assert crewed(SHARDS, sharing.work, slots=2) == ["finished"] * SHARDS + ["in step"] * SHARDS
    assert spoiled.is_set()
    assert [notice for notice in sharing.notices if "other logits than the leader" in notice]
    assert trained(sharing.events) == alone
    assert max(sharing.helped) == STEPS - 1, "it took part again after it had started anew"


@pytest.mark.parametrize("rank", range(SHARDS))
def test_a_shard_without_memory_takes_its_crew_out_of_the_trial_and_nobody_else(
    spec, tmp_path, alone, crewed, monkeypatch, rank
):
    step_of = MaskProRun.step

    def step(self, number):
        crew = self._model.crew
        if (crew.name, crew.rank, number) == ("slot-1", rank, 3):
            raise MemoryError("no room for this step")
        return step_of(self, number)

    monkeypatch.setattr(MaskProRun, "step", step)
    sharing = Sharing(spec, tmp_path / "shared", crews=2, delay=0.02)
    assert crewed(SHARDS, sharing.work, slots=2) == ["finished"] * SHARDS + ["in step"] * SHARDS
    assert trained(sharing.events) == alone
    assert max(sharing.helped) == 2


def test_a_trial_that_another_leads_sends_the_whole_crew_home_ready_for_the_next(spec, tmp_path, crewed):
    def work(crew):
        bench = Workbench(FrozenModel.load(ModelSource("builtin:tiny"), crew=crew))
        gone = Participant(SharedLine(), key="nobody's", epoch=1, member="participant-1") if crew.leads else None
        assist_trial(spec, bench=bench, folder=tmp_path / "shared", crew=crew, party=CrewParty(crew, gone))
        result = run_trial(spec, bench=bench, folder=tmp_path / "next", events=Listener(), crew=crew)
        return result.status

    assert crewed(SHARDS, work) == ["finished"] * SHARDS
    assert not (tmp_path / "shared").exists()
