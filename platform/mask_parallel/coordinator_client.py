"""The coordinator as a replica sees it: one method for each of its calls."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nmlab.platform.dispatch.actor_calls import ActorCalls, ActorLostError
from nmlab.platform.mask_parallel.messages import Answer, Losses, Member, Offer
from nmlab.platform.records.payloads import SpecRecord

if TYPE_CHECKING:  # the coordinator's module imports this one
    from nmlab.platform.mask_parallel.coordinator import MaskParallelCoordinatorActor


class CoordinatorLostError(ActorLostError):
    """The coordinator of mask parallelism has not answered within the patience of its client."""

    role = "coordinator"


@dataclass(frozen=True)
class CoordinatorSettings:
    """Name and namespace of the coordinator, and how many slots share a trial."""

    name: str
    namespace: str
    size: int


class CoordinatorClient:
    """Calls the coordinator, again if it is restarted; what the methods do is said at ``MaskParallelCoordinator``.

    Raises ``CoordinatorLostError`` after a minute without an answer.
    """

    def __init__(self, settings: CoordinatorSettings) -> None:
        self._calls: ActorCalls[MaskParallelCoordinatorActor] = ActorCalls(
            settings.name, namespace=settings.namespace, lost=CoordinatorLostError
        )

    def open(self, leader: Member, *, spec: SpecRecord, size: int, masks: int, step: int) -> None:
        """Open the group of a trial."""
        self._calls.ask(lambda coordinator: coordinator.open(leader, spec=spec, size=size, masks=masks, step=step))

    def offer(self, *, within: float) -> Offer | None:
        """Wait for a group that lacks a peer."""
        return self._calls.ask(lambda coordinator: coordinator.offer(within=within), within=within)

    def report(
        self, member: Member, step: int, *, given: Losses, digest: bytes, checkpoint: int, within: float
    ) -> Answer:
        """Give losses of a step, and wait for what to do next."""
        return self._calls.ask(
            lambda coordinator: coordinator.report(
                member, step, given=given, digest=digest, checkpoint=checkpoint, within=within
            ),
            within=within,
        )

    def heartbeat(self, member: Member) -> None:
        """Report that a member still works."""
        self._calls.ask(lambda coordinator: coordinator.heartbeat(member))

    def notices(self, key: str) -> list[str]:
        """Return the notices of a group for the journal, each once."""
        return self._calls.ask(lambda coordinator: coordinator.notices(key))

    def leave(self, member: Member) -> None:
        """Leave a group; the leader closes it."""
        self._calls.ask(lambda coordinator: coordinator.leave(member))
