"""A replica's part in parties: its slots lead those of their own trials, and take part in others when they are free."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nmlab.platform.dispatch.client import DispatchClient, DispatcherLostError
from nmlab.platform.dispatch.worker_link import WorkerLink
from nmlab.platform.mask_parallel.peer import Peer
from nmlab.platform.pipeline.setup import give_work
from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.errors import PipelineLostError
from nmlab.trials.parallel.mask_parallel import MaskEvaluators, PipelineEvaluators
from nmlab.trials.parallel.pipeline_group import PipelineGroup
from nmlab.trials.spec import TrialSpec
from nmlab.trials.trial.run import follow_trial

Record = dict[str, Any]
_OFFER_S = 0.5


class MaskParallelClient:
    """The line to the exchange of a launch; without one (``settings`` None) every slot works for itself.

    ``settings`` names the exchange and says how many slots take part in a trial.
    """

    def __init__(self, settings: Record | None, *, replica: ReplicaContext, folder: Path, link: WorkerLink) -> None:
        self._participants = 1 if settings is None else int(settings["participants"])
        self._line = None
        if settings is not None:
            self._line = DispatchClient(settings["coordinator"], namespace=settings["namespace"])
        self._replica, self._folder, self._link = replica, folder, link

    def is_shared(self, job: Record) -> bool:
        """Say whether the masks of a trial's steps are shared out: whether it draws several, and others take part."""
        return self._line is not None and int(job["spec"]["hyperparameters"].get("masks_per_step") or 1) > 1

    @contextmanager
    def led(self, job: Record, pipeline: PipelineGroup) -> Iterator[MaskEvaluators | None]:
        """Lead the party of a trial of several masks a step for as long as the block lasts."""
        if self._line is None or not self.is_shared(job):
            yield None
            return
        named = {"key": job["key"], "epoch": job["epoch"]}
        leader = Peer(self._line, **named, spec=job["spec"], participants=self._participants)
        try:
            yield _as_pipeline(leader, pipeline)
        finally:
            for notice in leader.notices():
                self._link.enqueue("party notice", key=job["key"], notice=notice)
            self._link.enqueue("party ended", key=job["key"], exchanged_bytes=leader.exchanged_bytes)
            leader.go()

    def offer(self) -> Record | None:
        """Ask for a trial that lacks participants; the caller takes part in it."""
        offer: Record | None = None if self._line is None else self._line.ask("offer", within=_OFFER_S)
        return offer

    def take_part(self, offer: Record, pipeline: PipelineGroup) -> None:
        """Take part in a trial until it is over."""
        assert self._line is not None
        named = {name: offer[name] for name in ("key", "epoch", "member")}
        participant = Peer(self._line, **named, leaving=lambda: self._link.stopping)
        spec = TrialSpec.model_validate(offer["spec"])
        self._link.enqueue("participant", key=offer["key"], member=offer["member"])
        try:
            evaluators = _as_pipeline(participant, pipeline)
            give_work(pipeline, offer)
            follow_trial(
                spec,
                replica=self._replica,
                folder=self._folder / offer["key"],
                pipeline=pipeline,
                evaluators=evaluators,
            )
        except (DispatcherLostError, PipelineLostError):
            raise
        except Exception as error:  # the trial goes on without it; what went wrong travels to the journal
            reason = f"{type(error).__name__}: {error}"
            self._link.enqueue("participant lost", key=offer["key"], member=offer["member"], reason=reason)
        finally:
            participant.go()


def _as_pipeline(participant: Peer, pipeline: PipelineGroup) -> MaskEvaluators:
    return participant if pipeline.size == 1 else PipelineEvaluators(pipeline, participant)
