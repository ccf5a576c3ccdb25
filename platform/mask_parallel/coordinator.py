"""The coordinator: the actor through which the peers of a trial exchange the losses of masks.

It is separate from the dispatcher and leases nothing. The leader of a trial opens a group; a slot without a trial of
its own asks for a group to join. Nothing is kept on disk: when the coordinator was restarted, a leader opens its group
again, and a peer starts again from the newest checkpoint.
"""

import time
from dataclasses import dataclass

from nmlab.platform.cluster.session import NAMESPACE
from nmlab.platform.dispatch.actor_calls import RunningActor, start_actor, start_until_it_answers
from nmlab.platform.dispatch.notifier import Notifier
from nmlab.platform.mask_parallel.coordinator_client import CoordinatorSettings
from nmlab.platform.mask_parallel.coordinator_state import MaskParallelCoordinator
from nmlab.platform.mask_parallel.messages import Answer, Losses, Member, Offer, Wait
from nmlab.platform.records.payloads import SpecRecord


@dataclass(frozen=True)
class StartedCoordinator:
    """The handle of the actor, which lives as long as the handle, and the ``settings`` that `SharedTrials` needs."""

    actor: "RunningActor[MaskParallelCoordinatorActor]"
    settings: CoordinatorSettings


def start_coordinator(launch: str, *, size: int) -> StartedCoordinator | None:
    """Start the coordinator of a launch on the driver's node, and return it once it answers.

    Returns None if each trial has one slot.
    """
    if size == 1:
        return None
    started = start_until_it_answers(
        lambda name: start_actor(MaskParallelCoordinatorActor, name=name, namespace=NAMESPACE)(),
        prefix=f"nmlab-coordinator-{launch}",
        question=lambda coordinator: coordinator.notices(""),
    )
    return StartedCoordinator(started.actor, CoordinatorSettings(started.name, NAMESPACE, size))


class MaskParallelCoordinatorActor:
    """``MaskParallelCoordinator`` as an async actor, whose calls can wait; a call that changes a group wakes them."""

    def __init__(self) -> None:
        self._coordinator = MaskParallelCoordinator()
        self._notifier = Notifier()

    async def open(self, leader: Member, *, spec: SpecRecord, size: int, masks: int, step: int) -> None:
        """See ``MaskParallelCoordinator.open``."""
        self._coordinator.open(leader, spec=spec, size=size, masks=masks, step=step, now=time.monotonic())
        await self._notifier.notify()

    async def offer(self, *, within: float) -> Offer | None:
        """Wait for a group that lacks a peer; return None after ``within`` seconds."""
        return await self._notifier.wait(lambda: self._coordinator.offer(now=time.monotonic()), within)

    async def report(
        self, member: Member, step: int, *, given: Losses, digest: bytes, checkpoint: int, within: float
    ) -> Answer:
        """Wait for the answer of ``MaskParallelCoordinator.report``; ``Wait`` after ``within`` seconds.

        A leader is then given the masks whose losses the others have not sent.
        """

        def report(given: Losses) -> Answer | None:
            now = time.monotonic()
            return self._coordinator.report(member, step, given=given, digest=digest, checkpoint=checkpoint, now=now)

        first = report(given)
        if given:
            await self._notifier.notify()
        answer = first or await self._notifier.wait(lambda: report({}), within)
        if answer is None and member.leads:
            self._coordinator.take_over(member.key)
            answer = report({})
        return answer or Wait()

    async def heartbeat(self, member: Member) -> None:
        """See ``MaskParallelCoordinator.heartbeat``."""
        self._coordinator.heartbeat(member, now=time.monotonic())
        await self._notifier.notify()

    async def notices(self, key: str) -> list[str]:
        """See ``MaskParallelCoordinator.notices``."""
        notices = self._coordinator.notices(key)
        await self._notifier.notify()
        return notices

    async def leave(self, member: Member) -> None:
        """See ``MaskParallelCoordinator.leave``."""
        self._coordinator.leave(member)
        await self._notifier.notify()
