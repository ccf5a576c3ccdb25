"""The trials that several slots share: a slot of this replica leads those it leased, and follows others when free."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nmlab.platform.dispatch.actor_calls import ActorLostError
from nmlab.platform.dispatch.messages import Lease
from nmlab.platform.dispatch.worker_link import WorkerLink
from nmlab.platform.mask_parallel.coordinator_client import CoordinatorClient, CoordinatorSettings
from nmlab.platform.mask_parallel.messages import Member, Offer
from nmlab.platform.mask_parallel.peer import Peer
from nmlab.platform.pipeline.setup import Work, give_work
from nmlab.platform.records.events import GroupEnded, GroupNotice, PeerJoined, PeerLost
from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.errors import PipelineLostError
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.parallel.mask_parallel import MaskEvaluators, PipelineEvaluators
from nmlab.trials.parallel.pipeline_group import PipelineGroup
from nmlab.trials.trial.run import follow_trial

_OFFER_SECONDS = 0.5
"""How long a free slot waits for a trial to follow, before it asks the dispatcher for one of its own again."""


class SharedTrials:
    """Trials whose masks several slots evaluate: a slot of this replica leads one that it leased, or follows another's.

    Args:
        settings: of the coordinator; None where every slot evaluates all masks of its trials itself.
        replica: what the trials of the replica share.
        folder: of the launch's trials.
        link: takes the messages for the journal.
    """

    def __init__(
        self, settings: CoordinatorSettings | None, *, replica: ReplicaContext, folder: Path, link: WorkerLink
    ) -> None:
        self._size = 1 if settings is None else settings.size
        self._coordinator = None if settings is None else CoordinatorClient(settings)
        self._replica, self._folder, self._link = replica, folder, link

    def _is_shared(self, lease: Lease) -> bool:
        """Return whether the slots share a trial: it draws several masks a step, and there is a coordinator."""
        return self._coordinator is not None and TrialSpec.from_record(lease.spec).masks_a_step > 1

    @contextmanager
    def lead(self, lease: Lease, pipeline: PipelineGroup) -> Iterator[MaskEvaluators | None]:
        """Lead a trial for as long as the block lasts; yields what evaluates its masks, or None if it is not shared."""
        if self._coordinator is None or not self._is_shared(lease):
            yield None
            return
        key, host = lease.key, self._link.name
        leader = Peer(self._coordinator, Member(key, lease.epoch), spec=lease.spec, size=self._size)
        try:
            yield _as_pipeline(leader, pipeline)
        finally:
            for notice in leader.notices():
                self._link.enqueue(GroupNotice(key=key, notice=notice, host=host))
            self._link.enqueue(GroupEnded(key=key, exchanged_bytes=leader.exchanged_bytes, host=host))
            leader.leave()

    def offer(self) -> Offer | None:
        """Wait up to half a second for a trial that lacks a peer; the caller follows it. None if there is none."""
        return None if self._coordinator is None else self._coordinator.offer(within=_OFFER_SECONDS)

    def follow(self, offer: Offer, pipeline: PipelineGroup) -> None:
        """Follow a trial of another slot, as one of its peers, until it is over.

        An error other than a lost actor or pipeline does not end the slot: it is recorded in the journal.
        """
        assert self._coordinator is not None
        key, name, host = offer.member.key, offer.member.name, self._link.name
        peer = Peer(self._coordinator, offer.member, leaving=lambda: self._link.stopping)
        spec = TrialSpec.from_record(offer.spec)
        self._link.enqueue(PeerJoined(key=key, member=name, host=host))
        try:
            evaluators = _as_pipeline(peer, pipeline)
            give_work(pipeline, Work(key, offer.spec, leads=False))
            follow_trial(
                spec,
                replica=self._replica,
                folder=self._folder / key,
                pipeline=pipeline,
                evaluators=evaluators,
            )
        except (ActorLostError, PipelineLostError):
            raise
        except Exception as error:  # the trial goes on without this peer; the reason goes to the journal
            reason = f"{type(error).__name__}: {error}"
            self._link.enqueue(PeerLost(key=key, member=name, reason=reason, host=host))
        finally:
            peer.leave()


def _as_pipeline(peer: Peer, pipeline: PipelineGroup) -> MaskEvaluators:
    return peer if pipeline.size == 1 else PipelineEvaluators(pipeline, peer)
