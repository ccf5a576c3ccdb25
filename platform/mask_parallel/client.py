"""A replica's side of mask parallelism: its slots lead their own trials, and follow others when they are free."""

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
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.parallel.mask_parallel import MaskEvaluators, PipelineEvaluators
from nmlab.trials.parallel.pipeline_group import PipelineGroup
from nmlab.trials.trial.run import follow_trial

Record = dict[str, Any]
_OFFER_S = 0.5


class MaskParallelClient:
    """Lets the slots of a replica lead and follow trials of several masks a step.

    Args:
        settings: name and namespace of the coordinator, and how many slots share a trial (``size``); None where every
            slot evaluates all masks of its trials itself.
        replica: what the trials of the replica share.
        folder: of the launch's trials.
        link: takes the messages for the journal.
    """

    def __init__(self, settings: Record | None, *, replica: ReplicaContext, folder: Path, link: WorkerLink) -> None:
        self._size = 1 if settings is None else int(settings["size"])
        self._coordinator = None
        if settings is not None:
            self._coordinator = DispatchClient(settings["coordinator"], namespace=settings["namespace"])
        self._replica, self._folder, self._link = replica, folder, link

    def is_shared(self, job: Record) -> bool:
        """Return whether the slots share a trial: it draws several masks a step, and there is a coordinator."""
        return self._coordinator is not None and int(job["spec"]["hyperparameters"].get("masks_per_step") or 1) > 1

    @contextmanager
    def lead(self, job: Record, pipeline: PipelineGroup) -> Iterator[MaskEvaluators | None]:
        """Lead a trial for as long as the block lasts; yields what evaluates its masks, or None if it is not shared."""
        if self._coordinator is None or not self.is_shared(job):
            yield None
            return
        named = {"key": job["key"], "epoch": job["epoch"]}
        leader = Peer(self._coordinator, **named, spec=job["spec"], size=self._size)
        try:
            yield _as_pipeline(leader, pipeline)
        finally:
            for notice in leader.notices():
                self._link.enqueue("party notice", key=job["key"], notice=notice)
            self._link.enqueue("party ended", key=job["key"], exchanged_bytes=leader.exchanged_bytes)
            leader.leave()

    def offer(self) -> Record | None:
        """Wait up to half a second for a trial that lacks a peer; the caller follows it. None if there is none."""
        if self._coordinator is None:
            return None
        offer: Record | None = self._coordinator.ask("offer", within=_OFFER_S)
        return offer

    def follow(self, offer: Record, pipeline: PipelineGroup) -> None:
        """Follow a trial of another slot, as one of its peers, until it is over.

        An error other than a lost dispatcher or pipeline does not end the slot: it is recorded in the journal.
        """
        assert self._coordinator is not None
        named = {name: offer[name] for name in ("key", "epoch", "member")}
        peer = Peer(self._coordinator, **named, leaving=lambda: self._link.stopping)
        spec = TrialSpec.from_record(offer["spec"])
        self._link.enqueue("participant", key=offer["key"], member=offer["member"])
        try:
            evaluators = _as_pipeline(peer, pipeline)
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
        except Exception as error:  # the trial goes on without this peer; the reason goes to the journal
            reason = f"{type(error).__name__}: {error}"
            self._link.enqueue("participant lost", key=offer["key"], member=offer["member"], reason=reason)
        finally:
            peer.leave()


def _as_pipeline(peer: Peer, pipeline: PipelineGroup) -> MaskEvaluators:
    return peer if pipeline.size == 1 else PipelineEvaluators(pipeline, peer)
