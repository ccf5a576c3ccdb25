"""The coordinator as a replica sees it: one method for each of its calls."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nmlab.platform.dispatch.actor_calls import ActorCalls
from nmlab.platform.mask_parallel.messages import Answer, Losses, Member, Offer


@dataclass(frozen=True)
class CoordinatorSettings:
    """Name and namespace of the coordinator, and how many slots share a trial."""

    name: str
    namespace: str
    size: int


class CoordinatorClient:
    """Calls the coordinator, again if it is restarted; what the methods do is said at ``MaskParallelCoordinator``."""

    def __init__(self, settings: CoordinatorSettings) -> None:
        self._calls = ActorCalls(settings.name, namespace=settings.namespace, role="coordinator")

    def open(self, leader: Member, *, spec: Mapping[str, Any], size: int, masks: int, step: int) -> None:
        """Open the group of a trial."""
        sent = {"spec": spec, "size": size, "masks": masks, "step": step}
        self._calls.ask(lambda actor: actor.open.remote(leader, **sent))

    def offer(self, *, within: float) -> Offer | None:
        """Wait for a group that lacks a peer."""
        offer: Offer | None = self._calls.ask(lambda actor: actor.offer.remote(within=within), within=within)
        return offer

    def report(self, member: Member, step: int, *, given: Losses, digest: bytes, checkpoint: int, within: float) -> Answer:
        """Give losses of a step, and wait for what to do next."""
        sent = {"given": given, "digest": digest, "checkpoint": checkpoint, "within": within}
        answer: Answer = self._calls.ask(lambda actor: actor.report.remote(member, step, **sent), within=within)
        return answer

    def heartbeat(self, member: Member) -> None:
        """Say that a member still works."""
        self._calls.ask(lambda actor: actor.heartbeat.remote(member))

    def notices(self, key: str) -> list[str]:
        """Return the notices of a group for the journal, each once."""
        notices: list[str] = self._calls.ask(lambda actor: actor.notices.remote(key))
        return notices

    def leave(self, member: Member) -> None:
        """Leave a group; the leader closes it."""
        self._calls.ask(lambda actor: actor.leave.remote(member))
