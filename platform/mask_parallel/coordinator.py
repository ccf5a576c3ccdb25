"""The coordinator: the actor through which the peers of a trial exchange the losses of masks.

It is separate from the dispatcher and leases nothing. The leader of a trial opens a group; a slot without a trial of
its own asks for a group to join. Nothing is kept on disk: when the coordinator was restarted, a leader opens its group
again, and a peer starts again from the newest checkpoint.
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
_SILENT_S = 60.0
_STARTING_S = 600.0  # longer: a peer makes its initial mask, or loads a checkpoint, before its first message


@dataclass
class _OpenGroup:
    """The group of a trial under its leader's lease.

    Attributes:
        epoch: of the lease.
        size: how many slots are wanted, the leader among them.
        seen: when the last message of each member came.
        joined: how many peers have joined so far, for their names.
        starting: when each peer joined that has not sent a message yet; it has a place, but gets no masks.
    """

    epoch: int
    spec: Record
    size: int
    group: MaskParallelGroup
    seen: dict[str, float] = field(default_factory=dict)
    joined: int = 0
    starting: dict[str, float] = field(default_factory=dict)

    @property
    def lacking(self) -> int:
        """How many slots are wanted beside those that have a place."""
        return self.size - len(self.seen) - len(self.starting)

    def arrive(self, member: str, *, now: float) -> None:
        """Note a message of a member; the first one of a peer makes it a member that gets masks."""
        if self.starting.pop(member, None) is not None:
            self.group.join(member)
        self.seen[member] = now


class MaskParallelCoordinator:
    """The mask-parallel groups of a launch, without Ray; time is passed in, in seconds."""

    def __init__(self) -> None:
        self._open: dict[str, _OpenGroup] = {}

    def open(self, key: str, epoch: int, spec: Record, size: int, masks: int, step: int, *, now: float) -> None:
        """Open the group of a trial, at the step that its leader has reached; an older lease changes nothing."""
        known = self._open.get(key)
        if known is None or known.epoch <= epoch:
            self._open[key] = _OpenGroup(epoch, spec, size, MaskParallelGroup(masks, step), {LEADER: now})

    def close(self, key: str, epoch: int) -> None:
        """Remove the group of a trial that has ended."""
        if key in self._open and self._open[key].epoch == epoch:
            del self._open[key]

    def offer(self, *, now: float) -> Record | None:
        """Add a peer to the group that lacks most; return the trial and the peer's name (``member``), or None."""
        self._expire(now)
        lacking = [(held.lacking, key) for key, held in self._open.items()]
        if not lacking or max(lacking)[0] <= 0:
            return None
        key = max(lacking)[1]
        held = self._open[key]
        held.joined += 1
        member = f"peer-{held.joined}"
        held.starting[member] = now
        return {"key": key, "epoch": held.epoch, "spec": held.spec, "member": member}

    def attend(
        self, key: str, epoch: int, member: str, step: int, given: Losses, digest: bytes, saved: int, *, now: float
    ) -> Answer | None:
        """Pass a message of a member to its group (see ``MaskParallelGroup.attend``); return what it is to do.

        The answer is ``over`` if the trial has ended or has another leader, and ``unknown`` if the group of a leader
        is not open.
        """
        held = self._open.get(key)
        if held is None or held.epoch < epoch:
            return {"unknown": True} if member == LEADER else {"over": True}
        if held.epoch > epoch or not (member in held.seen or member in held.starting):
            return {"over": True}
        held.arrive(member, now=now)
        self._expire(now)
        if member == LEADER:
            held.group.saved(saved)
        answer = held.group.attend(member, step, given, digest)
        if answer and "over" in answer:
            self._remove(held, member)
        elif answer and "reload" in answer:
            held.group.join(member)  # its next message is about the step of the others
        return answer

    def present(self, key: str, epoch: int, member: str, *, now: float) -> None:
        """Note that a member still works on its masks, or replays steps, and is not lost."""
        held = self._open.get(key)
        if held is not None and held.epoch == epoch and member in held.seen:
            held.seen[member] = now

    def take_over(self, key: str) -> None:
        """Let the leader evaluate the masks whose losses are missing."""
        if key in self._open:
            self._open[key].group.take_over()

    def leave(self, key: str, epoch: int, member: str) -> None:
        """Remove a peer; another slot may join instead."""
        if key in self._open and self._open[key].epoch == epoch:
            self._remove(self._open[key], member)

    def notices(self, key: str) -> list[str]:
        """Return the notices of a group for the journal, each once."""
        if key not in self._open:
            return []
        notices, self._open[key].group.notices = self._open[key].group.notices, []
        return notices

    def _expire(self, now: float) -> None:
        """Remove groups whose leader, and peers that, have sent nothing for too long."""
        for key, held in list(self._open.items()):
            if now - held.seen[LEADER] > _SILENT_S:
                del self._open[key]
                continue
            for member in [member for member, seen in held.seen.items() if now - seen > _SILENT_S]:
                self._give_up(held, member, f"{member} was silent for {_SILENT_S:g} s")
            for member in [member for member, joined in held.starting.items() if now - joined > _STARTING_S]:
                self._give_up(held, member, f"{member} did not start within {_STARTING_S:g} s")

    def _give_up(self, held: _OpenGroup, member: str, why: str) -> None:
        held.group.notices.append(f"{why}; the trial goes on without it")
        self._remove(held, member)

    def _remove(self, held: _OpenGroup, member: str) -> None:
        held.group.leave(member)
        held.seen.pop(member, None)
        held.starting.pop(member, None)


@dataclass(frozen=True)
class StartedCoordinator:
    """The handle of the actor, which lives as long as the handle, and the ``settings`` of a `MaskParallelClient`."""

    actor: Any
    settings: Record


def start_coordinator(launch: str, *, size: int) -> StartedCoordinator | None:
    """Start the coordinator of a launch on the driver's node; return None if each trial has one slot."""
    if size == 1:
        return None
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    name = f"nmlab-coordinator-{launch}-{uuid.uuid4().hex[:8]}"
    remote = ray.remote(num_cpus=0, max_concurrency=1000, max_restarts=-1)(MaskParallelCoordinatorActor)
    actor = remote.options(name=name, scheduling_strategy=here).remote()
    return StartedCoordinator(actor, {"coordinator": name, "namespace": NAMESPACE, "size": size})


class MaskParallelCoordinatorActor:
    """``MaskParallelCoordinator`` as an async actor, whose calls can wait."""

    def __init__(self) -> None:
        self._coordinator = MaskParallelCoordinator()
        self._notifier = Notifier()

    async def call(self, name: str, *args: Any) -> Any:
        """Call ``MaskParallelCoordinator.name`` and notify waiters."""
        timed = {"now": time.monotonic()} if name in ("open", "present") else {}
        answer = getattr(self._coordinator, name)(*args, **timed)
        await self._notifier.notify()
        return answer

    async def offer(self, timeout: float) -> Record | None:
        """Wait for a group that lacks a peer; return None after ``timeout`` seconds."""
        offered: Record | None = await self._notifier.wait(self._offer, timeout)
        return offered

    def _offer(self) -> Record | None:
        return self._coordinator.offer(now=time.monotonic())

    async def attend(
        self, key: str, epoch: int, member: str, step: int, given: Losses, digest: bytes, saved: int, timeout: float
    ) -> Answer:
        """Wait for the answer of ``MaskParallelCoordinator.attend``; ``{"wait": True}`` after ``timeout`` seconds.

        A leader is then given the masks whose losses the others have not sent.
        """
        first = self._attend(key, epoch, member, step, given, digest, saved)
        if given:
            await self._notifier.notify()

        def again() -> Answer | None:
            return self._attend(key, epoch, member, step, {}, digest, saved)

        answer = first or await self._notifier.wait(again, timeout)
        if answer is None and member == LEADER:
            self._coordinator.take_over(key)
            answer = again()
        return answer or {"wait": True}

    def _attend(self, *args: Any) -> Answer | None:
        return self._coordinator.attend(*args, now=time.monotonic())
