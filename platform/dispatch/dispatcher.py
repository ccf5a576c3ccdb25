"""The dispatcher: the actor that knows which replica runs which trial, and that passes their messages to the driver.

A trial is submitted and queued. A replica with a free slot takes it under a *lease*, which has a number, its epoch.
Messages about a trial carry the epoch, and those of an older epoch are dropped: a replica that was given up cannot
overwrite what its successor reports. A trial whose replica is lost returns to the queue under a new epoch.

Who decides that a replica, and with it a trial, is lost: `Dispatcher._watch` if its process has died, and
`DispatchState.expire` if it is silent. What that means for its trials is in `Leases.lose`.

The dispatcher may die at any moment: Ray restarts it, and its callers report to it what it must know (`state.py`).
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ray.exceptions import ActorUnavailableError, RayActorError

from nmlab.platform.cluster.session import NAMESPACE
from nmlab.platform.dispatch.actor_calls import start_actor, start_until_it_answers
from nmlab.platform.dispatch.client import DispatchClient
from nmlab.platform.dispatch.messages import (
    Claim,
    Drained,
    Lease,
    Message,
    NoMoreTrials,
    ReceiveAnswer,
    RefusedEnd,
    ReplicaProcess,
    TrialUpdate,
    can_wait,
)
from nmlab.platform.dispatch.notifier import Notifier
from nmlab.platform.dispatch.state import DispatchState
from nmlab.platform.records.payloads import Proof, ReplicaFacts, ResultRecord, SpecRecord

_PING_SECONDS = 1.0
"""Pause between two checks of a replica's process: a killed one is noticed in a second, not in 15."""


def start_dispatcher(launch: str, *, max_failures: int, expected: Proof | None = None) -> DispatchClient:
    """Start the dispatcher of a launch on the driver's node; return its client once it answers.

    It lives as long as the client that is returned. ``expected`` is what replicas must show (`cluster/proof.py`).
    """
    started = start_until_it_answers(
        lambda name: start_actor(Dispatcher, name=name, namespace=NAMESPACE)(
            max_failures=max_failures, expected=expected
        ),
        prefix=f"nmlab-dispatcher-{launch}",
        question=lambda dispatcher: dispatcher.drain(0, acknowledged=0, refused=[], within=0.0),
    )
    return DispatchClient(started.name, namespace=NAMESPACE, actor=started.actor)


class Dispatcher:
    """``DispatchState`` as an async actor, whose calls can wait; `DispatchClient` has a method for each of its calls.

    Before `open` only `drain` and `stop` are served; all other calls wait for it. A call that changes the state
    notifies those that wait.
    """

    def __init__(self, *, max_failures: int, expected: Proof | None) -> None:
        self._state = DispatchState(max_failures=max_failures, generation=time.time_ns(), expected=expected)
        self._notifier = Notifier()
        self._opened = asyncio.Event()
        self._watchers: set[asyncio.Task[None]] = set()

    # --- the driver -----------------------------------------------------------------------------------------------

    async def open(
        self,
        ended: Mapping[str, ResultRecord],
        *,
        replicas: Mapping[str, int],
        cancelled: Sequence[str],
        leased: Mapping[str, int],
    ) -> None:
        """Begin to serve replicas and trial actors, with what the driver knows (see ``DispatchState.open``)."""
        self._state.open(ended, replicas, cancelled, now=time.monotonic(), leased=leased)
        self._opened.set()

    async def drain(
        self, generation: int, *, acknowledged: int, refused: Sequence[RefusedEnd], within: float
    ) -> Drained:
        """Wait for records that the driver has not acknowledged; return them, and how long replicas were silent.

        Points of training curves are returned with the next other record, or after ``within`` seconds (see
        ``can_wait``): the driver is called twice a second for them, not once a message of each replica.
        ``refused`` are ends among the acknowledged that the driver does not accept (see ``DispatchState.reject``). If
        ``generation`` is that of an earlier dispatcher, nothing counts as acknowledged, and no records are returned.
        """
        if generation != self._state.generation:
            return Drained(self._state.generation, upto=0)
        self._state.expire(now=time.monotonic())
        for end in refused:
            self._state.reject(end, now=time.monotonic())
        if self._state.acknowledge(acknowledged):
            await self._notifier.notify()  # trial actors receive an end once it is journaled
        await self._notifier.wait(lambda: self._state.has_urgent_records or None, within)
        drained = self._state.drain(acknowledged) or Drained(generation, upto=acknowledged)
        return replace(drained, silent_seconds=self._state.silent_seconds(now=time.monotonic()))

    async def cancel(self, key: str, *, generation: int) -> None:
        """Cancel a trial (see ``DispatchState.cancel``); another generation learns of it when the driver opens it."""
        if generation == self._state.generation:
            await self._opened.wait()
            self._state.cancel(key)
            await self._notifier.notify()

    async def stop(self) -> None:
        """Make the replicas stop their trials and end."""
        self._state.stopping = True
        await self._notifier.notify()

    # --- replicas -------------------------------------------------------------------------------------------------

    async def refuse(self, replica: str, *, reason: str) -> None:
        """See ``DispatchState.refuse``."""
        await self._opened.wait()
        self._state.refuse(replica, reason)
        await self._notifier.notify()

    async def admit(self, replica: str, *, proofs: Sequence[Proof]) -> str:
        """See ``DispatchState.admit``."""
        await self._opened.wait()
        reason = self._state.admit(replica, proofs)
        await self._notifier.notify()
        return reason

    async def introduce(
        self, process: ReplicaProcess, *, facts: ReplicaFacts, claims: Sequence[Claim], own_actor: Sequence[Any]
    ) -> int:
        """Add a replica, whose actor is ``own_actor[0]``, and watch its process; return the dispatcher's generation."""
        await self._opened.wait()
        self._state.introduce(process, facts, claims, now=time.monotonic())
        await self._notifier.notify()
        watcher = asyncio.create_task(self._watch(process, own_actor[0]))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        return self._state.generation

    async def receive(
        self,
        process: ReplicaProcess,
        *,
        generation: int,
        running: Sequence[tuple[str, int]],
        messages: Sequence[Message],
    ) -> ReceiveAnswer:
        """See ``DispatchState.receive``; heartbeats and points that can wait notify nobody."""
        await self._opened.wait()
        answer = self._state.receive(
            process, generation=generation, running=running, messages=messages, now=time.monotonic()
        )
        if not all(can_wait(message.record) for message in messages):
            await self._notifier.notify()
        return answer

    async def take(
        self, process: ReplicaProcess, *, slot: int, last_epoch: int, within: float
    ) -> Lease | NoMoreTrials | None:
        """Wait for a trial to run; return None if there is none yet."""
        await self._opened.wait()

        def lease() -> Lease | NoMoreTrials | None:
            taken = self._state.take(process, slot=slot, last_epoch=last_epoch, now=time.monotonic())
            return NoMoreTrials() if taken is None and self._state.stopping else taken

        taken: Lease | NoMoreTrials | None = await self._notifier.wait(lease, within)
        if isinstance(taken, Lease):
            await self._notifier.notify()  # the driver waits for the record of the lease
        return taken

    async def leave(self, process: ReplicaProcess) -> None:
        """See ``DispatchState.leave``."""
        await self._opened.wait()
        self._state.leave(process, now=time.monotonic())
        await self._notifier.notify()

    # --- trial actors ---------------------------------------------------------------------------------------------

    async def submit(self, key: str, *, spec: SpecRecord, times_leased: int) -> None:
        """See ``DispatchState.submit``."""
        await self._opened.wait()
        self._state.submit(key, spec, times_leased)
        await self._notifier.notify()

    async def pull(self, key: str, *, after: int, within: float) -> TrialUpdate | None:
        """Wait for evaluations or the end of a trial; return None if this dispatcher does not know it."""
        await self._opened.wait()

        def has_update() -> bool | None:
            update = self._state.pull(key, after)
            return True if update is None or not update.is_empty else None

        await self._notifier.wait(has_update, within)
        return self._state.pull(key, after)

    # --- within ---------------------------------------------------------------------------------------------------

    async def _watch(self, process: ReplicaProcess, actor: Any) -> None:
        """Call a replica's process every second and give it up when it has died; heartbeats detect one that hangs."""
        while True:
            try:
                await actor.__ray_ready__.remote()
            except ActorUnavailableError:
                pass
            except RayActorError:
                self._state.lose(process, "died", now=time.monotonic())
                await self._notifier.notify()
                return
            await asyncio.sleep(_PING_SECONDS)
