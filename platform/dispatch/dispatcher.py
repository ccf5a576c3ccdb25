"""The hub: the one actor that knows which replica runs which trial, and through which all their messages pass.

A trial is submitted as a job. A replica that has a free slot takes it and holds a *lease*, numbered by an epoch.
Whatever a replica says about a trial carries the epoch; words of an older epoch are dropped, so a replica that was
given up for dead cannot speak over its successor. A job whose replica is lost goes back to the queue under a new epoch.

The hub may die at any moment: Ray starts it again, and those who talk to it tell it what it must know (`hub_state`).
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

_TIMED = {"expire", "introduce", "hear", "lose", "leave"}
_NEWS_FOR_NOBODY = {"hear", "snapshot"}  # `hear` wakes others only when it brings messages
_PING_S = 1.0


def start_dispatcher(launch: str, *, max_failures: int, expected: Record | None = None) -> DispatchClient:
    """Start the hub of a launch in this session's namespace, beside the driver; return once it answers.

    It lives as long as the client that is returned. ``expected`` is what replicas must show (`launches/proof.py`).
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    name = f"nmlab-hub-{launch}-{uuid.uuid4().hex[:8]}"
    remote = ray.remote(num_cpus=0, max_concurrency=1000, max_restarts=-1)(Dispatcher)
    dispatcher = remote.options(name=name, scheduling_strategy=here).remote(
        max_failures=max_failures, expected=expected or {}
    )
    ray.get(dispatcher.drain.remote(0, 0, [], 0.0))
    return DispatchClient(name, namespace=NAMESPACE, actor=dispatcher)


class Dispatcher:
    """``HubState`` as an async actor: the same calls, with waiting. Only the driver is heard before it was opened."""

    def __init__(self, *, max_failures: int, expected: Record) -> None:
        self._state = DispatchState(max_failures=max_failures, generation=time.time_ns(), expected=expected)
        self._news = Notifier()
        self._opened = asyncio.Event()
        self._watchers: set[asyncio.Task[None]] = set()

    async def open(self, *args: Any) -> None:
        """Let work begin, as ``HubState.open``."""
        self._state.open(*args, now=time.monotonic())
        self._opened.set()

    async def call(self, name: str, *args: Any) -> Any:
        """Call ``HubState.name`` and wake whoever waits."""
        await self._opened.wait()
        timed = {"now": time.monotonic()} if name in _TIMED else {}
        answer = getattr(self._state, name)(*args, **timed)
        if name not in _NEWS_FOR_NOBODY or (name == "hear" and args[-1]):
            await self._news.tell()
        return answer

    async def introduce(self, host: str, incarnation: int, facts: Record, claims: list[Record], me: list[Any]) -> int:
        """Introduce a replica, whose actor is ``me[0]``, and watch its process; return this hub's generation."""
        await self.call("introduce", host, incarnation, facts, claims)
        watcher = asyncio.create_task(self._watch(host, incarnation, me[0]))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        return self._state.generation

    async def take(self, host: str, incarnation: int, slot: int, done: int, timeout: float) -> Record | None:
        """Wait for a trial to run; an empty lease says that there will be none any more."""
        await self._opened.wait()

        def lease() -> Record | None:
            job = self._state.take(host, incarnation, slot, done, now=time.monotonic())
            return {} if job is None and self._state.stopping else job

        job: Record | None = await self._news.wait(lease, timeout)
        if job:
            await self._news.tell()  # the driver waits for the news
        return job

    async def pull(self, key: str, after: int, timeout: float) -> Record | None:
        """Wait for news of a trial; None says that this hub has not heard of it."""
        await self._opened.wait()

        def news() -> Record | None:
            answer = self._state.pull(key, after)
            if answer is None:
                return {"unknown": True}
            return answer if answer["points"] or answer["ended"] is not None else None

        answer = await self._news.wait(news, timeout) or self._state.pull(key, after)
        return None if answer is None or "unknown" in answer else answer

    async def drain(self, generation: int, acknowledged: int, refused: list[Record], timeout: float) -> Record:
        """Wait for records that the driver has not acknowledged; acknowledgements of an earlier hub mean nothing.

        ``refused`` are ends among the acknowledged that the driver does not accept, as for ``HubState.reject``.
        """
        if generation != self._state.generation:
            return {"generation": self._state.generation, "upto": 0, "records": []}
        self._state.expire(now=time.monotonic())
        for end in refused:
            self._state.reject(**end, now=time.monotonic())
        before = self._state.drain(acknowledged)
        if acknowledged:
            await self._news.tell()  # trial actors hear of an end once it is journaled
        records = before or await self._news.wait(lambda: self._state.drain(acknowledged), timeout)
        records = records or {"generation": generation, "upto": acknowledged, "records": []}
        return {**records, "silence": self._state.silence(now=time.monotonic())}

    async def cancel(self, generation: int, key: str) -> None:
        """Cancel a trial, as ``HubState.cancel``; a hub of another generation is told when the driver opens it."""
        if generation == self._state.generation:
            await self.call("cancel", key)

    async def stop(self) -> None:
        """Tell the replicas to go home."""
        self._state.stopping = True
        await self._news.tell()

    async def _watch(self, host: str, incarnation: int, actor: Any) -> None:
        """Ask a replica's process for a sign of life until there is none; heartbeats tell of one that hangs."""
        while True:
            try:
                await actor.__ray_ready__.remote()
            except ActorUnavailableError:
                pass
            except RayActorError:
                self._state.lose(host, incarnation, "died", now=time.monotonic())
                await self._news.tell()
                return
            await asyncio.sleep(_PING_S)
