"""The exchange: the actor through which the participants of a trial tell each other the losses of masks.

It is no part of the hub, and leases nothing. The leader of a trial opens a party; a slot that has no trial of its own
asks for one to take part in. Nothing here need outlive the process: whoever finds the exchange new opens his party
again or starts again from the newest checkpoint.
"""

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nmlab.platform.cluster.session import NAMESPACE
from nmlab.platform.dispatch.notifier import Notifier
from nmlab.platform.mask_parallel.group import LEADER, Answer, Losses, MaskParallelGroup

Record = dict[str, Any]
_SILENT_S = 10.0
_LEADER_SILENT_S = 60.0  # it evaluates held-out text and writes checkpoints while the others wait


@dataclass
class _Open:
    """A party under the leader's lease, who is expected to take part, and when each was last heard."""

    epoch: int
    spec: Record
    participants: int
    group: MaskParallelGroup
    seen: dict[str, float] = field(default_factory=dict)
    joined: int = 0


class MaskParallelCoordinator:
    """The parties of a launch, free of Ray; time is passed in."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}

    def open(self, key: str, epoch: int, spec: Record, participants: int, masks: int, step: int, *, now: float) -> None:
        """The leader opens the party of its trial, or opens it again at the step at which it stands."""
        known = self._open.get(key)
        if known is None or known.epoch <= epoch:
            self._open[key] = _Open(epoch, spec, participants, MaskParallelGroup(masks, step), {LEADER: now})

    def close(self, key: str, epoch: int) -> None:
        """The trial has ended."""
        if key in self._open and self._open[key].epoch == epoch:
            del self._open[key]

    def offer(self, *, now: float) -> Record | None:
        """Give a slot the party that lacks most participants, with the name under which it takes part, or None."""
        self._expire(now)
        lacking = [(held.participants - len(held.group.members), key) for key, held in self._open.items()]
        if not lacking or max(lacking)[0] <= 0:
            return None
        key = max(lacking)[1]
        held = self._open[key]
        held.joined += 1
        member = f"participant-{held.joined}"
        held.group.join(member)
        held.seen[member] = now
        return {"key": key, "epoch": held.epoch, "spec": held.spec, "member": member}

    def attend(
        self, key: str, epoch: int, member: str, step: int, given: Losses, digest: bytes, saved: int, *, now: float
    ) -> Answer | None:
        """Pass a participant's words to its party (see ``Party.attend``).

        The answer is ``over`` where the trial is led by another or has ended, and ``unknown`` where the party of a
        leader is not open.
        """
        held = self._open.get(key)
        if held is None or held.epoch < epoch:
            return {"unknown": True} if member == LEADER else {"over": True}
        if held.epoch > epoch or (member not in held.seen):
            return {"over": True}
        self._expire(now, heard=(key, member))
        if member == LEADER:
            held.group.saved(saved)
        answer = held.group.attend(member, step, given, digest)
        if answer and "over" in answer:
            self._remove(held, member)
        elif answer and "reload" in answer:
            held.group.join(member)  # from its next word on it stands where the others stand
        return answer

    def take_over(self, key: str) -> None:
        """Give the leader what is missing of the step."""
        if key in self._open:
            self._open[key].group.take_over()

    def leave(self, key: str, epoch: int, member: str) -> None:
        """A participant goes home; another may have its place."""
        if key in self._open and self._open[key].epoch == epoch:
            self._remove(self._open[key], member)

    def notices(self, key: str) -> list[str]:
        """Return what a person should hear of a party, once."""
        if key not in self._open:
            return []
        told, self._open[key].group.notices = self._open[key].group.notices, []
        return told

    def _expire(self, now: float, *, heard: tuple[str, str] = ("", "")) -> None:
        """Do without those who have been silent for too long."""
        if heard[0]:
            self._open[heard[0]].seen[heard[1]] = now
        for key, held in list(self._open.items()):
            if now - held.seen[LEADER] > _LEADER_SILENT_S:
                del self._open[key]
                continue
            for member in [member for member, seen in held.seen.items() if now - seen > _SILENT_S]:
                if member != LEADER:
                    held.group.notices.append(f"{member} was silent for {_SILENT_S:g} s and is done without")
                    self._remove(held, member)

    def _remove(self, held: _Open, member: str) -> None:
        held.group.leave(member)
        held.seen.pop(member, None)


@dataclass(frozen=True)
class StartedCoordinator:
    """The actor, which lives as long as this handle to it, and what a replica must know to reach it."""

    actor: Any
    settings: Record


def start_coordinator(launch: str, *, participants: int) -> StartedCoordinator | None:
    """Start the exchange of a launch beside the driver, where a trial has more than one participant."""
    if participants == 1:
        return None
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    name = f"nmlab-coordinator-{launch}-{uuid.uuid4().hex[:8]}"
    remote = ray.remote(num_cpus=0, max_concurrency=1000, max_restarts=-1)(MaskParallelCoordinatorActor)
    actor = remote.options(name=name, scheduling_strategy=here).remote()
    return StartedCoordinator(actor, {"coordinator": name, "namespace": NAMESPACE, "participants": participants})


class MaskParallelCoordinatorActor:
    """``Exchange`` as an async actor: the same calls, with waiting."""

    def __init__(self) -> None:
        self._exchange = MaskParallelCoordinator()
        self._news = Notifier()

    async def call(self, name: str, *args: Any) -> Any:
        """Call ``Exchange.name`` and wake whoever waits."""
        timed = {"now": time.monotonic()} if name == "open" else {}
        answer = getattr(self._exchange, name)(*args, **timed)
        await self._news.tell()
        return answer

    async def offer(self, timeout: float) -> Record | None:
        """Wait for a party that lacks a participant."""
        answer: Record | None = await self._news.wait(lambda: self._exchange.offer(now=time.monotonic()), timeout)
        return answer

    async def attend(
        self, key: str, epoch: int, member: str, step: int, given: Losses, digest: bytes, saved: int, timeout: float
    ) -> Answer:
        """Wait until there is something to do or to know; ``wait`` says that ``timeout`` seconds brought nothing.

        A leader is then given whatever the others have not brought.
        """
        first = self._attend(key, epoch, member, step, given, digest, saved)
        if given:
            await self._news.tell()

        def again() -> Answer | None:
            return self._attend(key, epoch, member, step, {}, digest, saved)

        answer = first or await self._news.wait(again, timeout)
        if answer is None and member == LEADER:
            self._exchange.take_over(key)
            answer = again()
        return answer or {"wait": True}

    def _attend(self, *args: Any) -> Answer | None:
        return self._exchange.attend(*args, now=time.monotonic())
