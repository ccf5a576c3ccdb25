"""The dispatcher: the actor that knows which replica runs which trial, and that passes their messages to the driver.

A trial is submitted as a job. A replica with a free slot takes it under a *lease*, which has a number, its epoch.
Messages about a trial carry the epoch, and those of an older epoch are dropped: a replica that was given up cannot
overwrite what its successor reports. A job whose replica is lost returns to the queue under a new epoch.

The dispatcher may die at any moment: Ray restarts it, and its callers report to it what it must know (`state.py`).
"""

import asyncio
import time
import uuid
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nmlab.platform.cluster.session import NAMESPACE
from nmlab.platform.dispatch.client import DispatchClient
from nmlab.platform.dispatch.notifier import Notifier
from nmlab.platform.dispatch.state import DispatchState, Record

_TIMED = {"expire", "introduce", "receive", "lose", "leave"}
_WITHOUT_NOTIFICATION = {"receive", "snapshot"}  # `receive` notifies waiters only when it brings messages
_PING_S = 1.0


def start_dispatcher(launch: str, *, max_failures: int, expected: Record | None = None) -> DispatchClient:
    """Start the dispatcher of a launch on the driver's node; return its client once it answers.

    It lives as long as the client that is returned. ``expected`` is what replicas must show (`cluster/proof.py`).
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    name = f"nmlab-dispatcher-{launch}-{uuid.uuid4().hex[:8]}"
    remote = ray.remote(num_cpus=0, max_concurrency=1000, max_restarts=-1)(Dispatcher)
    dispatcher = remote.options(name=name, scheduling_strategy=here).remote(
        max_failures=max_failures, expected=expected or {}
    )
    ray.get(dispatcher.drain.remote(0, 0, [], 0.0))
    return DispatchClient(name, namespace=NAMESPACE, actor=dispatcher)


class Dispatcher:
    """``DispatchState`` as an async actor, whose calls can wait. Only the driver's calls are served before `open`."""

    def __init__(self, *, max_failures: int, expected: Record) -> None:
        self._state = DispatchState(max_failures=max_failures, generation=time.time_ns(), expected=expected)
        self._notifier = Notifier()
        self._opened = asyncio.Event()
        self._watchers: set[asyncio.Task[None]] = set()

    async def open(self, *args: Any) -> None:
        """Begin to serve replicas and trial actors, with what the driver knows (see ``DispatchState.open``)."""
        self._state.open(*args, now=time.monotonic())
        self._opened.set()

    async def call(self, name: str, *args: Any) -> Any:
        """Call ``DispatchState.name`` and notify waiters."""
        await self._opened.wait()
        timed = {"now": time.monotonic()} if name in _TIMED else {}
        answer = getattr(self._state, name)(*args, **timed)
        if name not in _WITHOUT_NOTIFICATION or (name == "receive" and args[-1]):
            await self._notifier.notify()
        return answer

    async def introduce(
        self, replica: str, incarnation: int, facts: Record, claims: list[Record], me: list[Any]
    ) -> int:
        """Add a replica, whose actor is ``me[0]``, and watch its process; return this dispatcher's generation."""
        await self.call("introduce", replica, incarnation, facts, claims)
        watcher = asyncio.create_task(self._watch(replica, incarnation, me[0]))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        return self._state.generation

    async def take(self, replica: str, incarnation: int, slot: int, done: int, timeout: float) -> Record | None:
        """Wait for a trial to run; return None if there is none yet, and {} if there will be none any more."""
        await self._opened.wait()

        def lease() -> Record | None:
            job = self._state.take(replica, incarnation, slot, done, now=time.monotonic())
            return {} if job is None and self._state.stopping else job

        job: Record | None = await self._notifier.wait(lease, timeout)
        if job:
            await self._notifier.notify()  # the driver waits for the record of the lease
        return job

    async def pull(self, key: str, after: int, timeout: float) -> Record | None:
        """Wait for evaluations or the end of a trial; return None if this dispatcher does not know it."""
        await self._opened.wait()

        def update() -> Record | None:
            answer = self._state.pull(key, after)
            if answer is None:
                return {"unknown": True}
            return answer if answer["points"] or answer["ended"] is not None else None

        answer = await self._notifier.wait(update, timeout) or self._state.pull(key, after)
        return None if answer is None or "unknown" in answer else answer

    async def drain(self, generation: int, acknowledged: int, refused: list[Record], timeout: float) -> Record:
        """Wait for records that the driver has not acknowledged; return them, and how long replicas were silent.

        ``refused`` are ends among the acknowledged that the driver does not accept (see ``DispatchState.reject``). If
        ``generation`` is that of an earlier dispatcher, nothing counts as acknowledged, and no records are returned.
        """
        if generation != self._state.generation:
            return {"generation": self._state.generation, "upto": 0, "records": []}
        self._state.expire(now=time.monotonic())
        for end in refused:
            self._state.reject(**end, now=time.monotonic())
        before = self._state.drain(acknowledged)
        if acknowledged:
            await self._notifier.notify()  # trial actors receive an end once it is journaled
        records = before or await self._notifier.wait(lambda: self._state.drain(acknowledged), timeout)
        records = records or {"generation": generation, "upto": acknowledged, "records": []}
        return {**records, "silence": self._state.silence(now=time.monotonic())}

    async def cancel(self, generation: int, key: str) -> None:
        """Stop a trial (see ``DispatchState.cancel``); another generation learns of it when the driver opens it."""
        if generation == self._state.generation:
            await self.call("cancel", key)

    async def stop(self) -> None:
        """Make the replicas stop their trials and end."""
        self._state.stopping = True
        await self._notifier.notify()

    async def _watch(self, replica: str, incarnation: int, actor: Any) -> None:
        """Call a replica's process every second and give it up when it has died; heartbeats detect one that hangs."""
        while True:
            try:
                await actor.__ray_ready__.remote()
            except ActorUnavailableError:
                pass
            except RayActorError:
                self._state.lose(replica, incarnation, "died", now=time.monotonic())
                await self._notifier.notify()
                return
            await asyncio.sleep(_PING_S)
