"""The hub: the one actor that knows which replica runs which trial, and through which all their messages pass.

A trial is submitted as a job. A replica that has a free slot takes it and holds a *lease*, numbered by an epoch.
Whatever a replica says about a trial carries the epoch; words of an older epoch are dropped, so a replica that was
given up for dead cannot speak over its successor. A job whose replica is lost goes back to the queue under a new epoch.
"""

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import ray

HUB = "nmlab-hub"
_HEARTBEAT_LIMIT_S = 15.0

Record = dict[str, Any]


@dataclass
class _Host:
    """One Train worker group that holds the model: who it is this time, and what it is doing."""

    incarnation: str
    facts: Record
    seen: float
    jobs: set[str] = field(default_factory=set)


@dataclass
class _Job:
    """One trial as the hub sees it."""

    spec: Record
    epoch: int
    attempts: int = 0
    host: str | None = None
    cancelled: bool = False
    mail: list[Record] = field(default_factory=list)
    ended: Record | None = None


class HubState:
    """The hub's book-keeping, free of Ray, so that it can be tested by plain calls; time is passed in."""

    def __init__(self, *, max_failures: int) -> None:
        self._max_failures = max_failures
        self._hosts: dict[str, _Host] = {}
        self._jobs: dict[str, _Job] = {}
        self._queue: deque[str] = deque()
        self._stream: deque[Record] = deque()
        self._epoch = 0
        self.loads: dict[str, int] = {}
        self.checks: dict[str, bool] = {}

    def register(self, host: str, incarnation: str, facts: Record, *, now: float) -> None:
        """A replica says that it has loaded its model; whatever its predecessor was doing is taken up again."""
        self._lose(host)
        self._hosts[host] = _Host(incarnation, facts, now)
        self.loads[host] = self.loads.get(host, 0) + 1
        self._stream.append({"event": "replica", "host": host, "loads": self.loads[host], **facts})

    def heartbeat(self, host: str, incarnation: str, *, now: float) -> list[str] | None:
        """Return the trials the replica must stop, or None if it has been replaced and must go."""
        known = self._hosts.get(host)
        if known is None or known.incarnation != incarnation:
            return None
        known.seen = now
        return [key for key in known.jobs if self._jobs[key].cancelled]

    def expire(self, *, now: float) -> None:
        """Give up replicas that have been silent for too long."""
        silent = [name for name, host in self._hosts.items() if now - host.seen > _HEARTBEAT_LIMIT_S]
        for name in silent:
            self._lose(name)

    def submit(self, key: str, spec: Record) -> None:
        """Queue a trial.

        A trial actor that was lost submits its trial again when it comes back; one that is queued, running, or has
        ended other than by being stopped is left as it is.
        """
        job = self._jobs.get(key)
        if job is not None and not job.cancelled:
            return
        if job is not None and job.host in self._hosts:  # still being stopped there, under an epoch that is over
            self._hosts[job.host].jobs.discard(key)
        self._epoch += 1
        self._jobs[key] = _Job(spec, self._epoch)
        self._queue.append(key)
        self._stream.append({"event": "trial", "key": key, "spec": spec})

    def take(self, host: str, incarnation: str) -> Record | None:
        """Lease the oldest queued trial to a replica, or return None."""
        known = self._hosts.get(host)
        if known is None or known.incarnation != incarnation:
            return None
        while self._queue:
            key = self._queue.popleft()
            job = self._jobs[key]
            if job.cancelled or job.ended is not None or job.host is not None:
                continue
            job.host, job.attempts = host, job.attempts + 1
            known.jobs.add(key)
            self._stream.append({"event": "leased", "key": key, "host": host, "attempt": job.attempts})
            return {"key": key, "epoch": job.epoch, "spec": job.spec}
        return None

    def push(self, key: str, epoch: int, points: list[Record]) -> bool:
        """Take metric points of a trial; return whether it should go on."""
        job = self._current(key, epoch)
        if job is None:
            return False
        for point in points:
            self._stream.append({"event": "metrics", "key": key, **point})
            if _is_intermediate(point["values"]):
                job.mail.append(point)
        return not job.cancelled

    def finish(self, key: str, epoch: int, result: Record) -> None:
        """Take the result of a trial and free its slot."""
        job = self._current(key, epoch)
        if job is None:
            return
        self._end(key, job, result)

    def pull(self, key: str) -> Record:
        """Return a trial's evaluations since the last call, and its result once it has one."""
        job = self._jobs[key]
        mail, job.mail = job.mail, []
        return {"points": mail, "ended": job.ended}

    def cancel(self, key: str) -> None:
        """Ask for a trial to be stopped; one that waits in the queue is dropped from it."""
        job = self._jobs.get(key)
        if job is None or job.ended is not None:
            return
        job.cancelled = True
        if job.host is None:
            self._end(key, job, {"key": key, "status": "stopped", "step": 0, "metrics": {}, "reason": "not started"})

    def abandon(self) -> None:
        """Stop whatever has not ended, when nobody is left to run it; it may go on in a later process."""
        for key, job in self._jobs.items():
            if job.ended is None:
                reason = "no replica was left to run it"
                self._end(key, job, {"key": key, "status": "stopped", "step": 0, "metrics": {}, "reason": reason})

    def drain(self) -> list[Record]:
        """Return everything that happened since the last call, in order."""
        records = list(self._stream)
        self._stream.clear()
        return records

    def verified(self, host: str, unchanged: bool) -> None:
        """A replica says whether its frozen weights are still those it loaded."""
        self.checks[host] = self.checks.get(host, True) and unchanged

    def leave(self, host: str, incarnation: str) -> None:
        """A replica says goodbye."""
        if host in self._hosts and self._hosts[host].incarnation == incarnation:
            self._lose(host, event="replica left")

    def snapshot(self) -> Record:
        """Return what ``nmlab status`` shows of replicas and queue."""
        hosts = [
            {"name": name, "jobs": sorted(host.jobs), "loads": self.loads[name], **host.facts}
            for name, host in sorted(self._hosts.items())
        ]
        running = sum(job.ended is None for job in self._jobs.values())
        return {"hosts": hosts, "running": running, "loads": dict(self.loads), "checks": dict(self.checks)}

    def _current(self, key: str, epoch: int) -> _Job | None:
        job = self._jobs.get(key)
        return job if job is not None and job.epoch == epoch and job.ended is None else None

    def _end(self, key: str, job: _Job, result: Record) -> None:
        job.ended = result
        if job.host is not None:
            self._hosts[job.host].jobs.discard(key)
        self._stream.append({"event": "ended", "key": key, "result": result})

    def _lose(self, name: str, *, event: str = "replica lost") -> None:
        host = self._hosts.pop(name, None)
        if host is None:
            return
        self._stream.append({"event": event, "host": name})
        for key in sorted(host.jobs):
            job = self._jobs[key]
            self._epoch += 1
            job.epoch, job.host = self._epoch, None
            if job.cancelled or job.attempts > self._max_failures:
                status = "stopped" if job.cancelled else "failed"
                reason = f"its replica was lost {job.attempts} times"
                self._end(key, job, {"key": key, "status": status, "step": 0, "metrics": {}, "reason": reason})
            else:
                self._queue.appendleft(key)


def _is_intermediate(values: Record) -> bool:
    """Say whether values are an evaluation during training; the last one, known by its account, comes in the result.

    A scheduler that saw the last one before the result would stop, and count as cut short, a trial that is complete.
    """
    return any(name.startswith("eval/") for name in values) and not any(name.startswith("cost/") for name in values)


def start_hub(*, max_failures: int) -> Any:
    """Start the hub under its name in this session's namespace and return its handle once it answers."""
    remote = ray.remote(num_cpus=0, max_concurrency=1000, max_restarts=-1)(Hub)
    hub = remote.options(name=HUB).remote(max_failures=max_failures)
    ray.get(hub.stopping.remote())
    return hub


class Hub:
    """``HubState`` as an async actor: the same calls, with waiting."""

    def __init__(self, *, max_failures: int) -> None:
        self._state = HubState(max_failures=max_failures)
        self._changed = asyncio.Condition()
        self._stopping = False

    async def call(self, name: str, *args: Any) -> Any:
        """Call ``HubState.name`` and wake whoever waits."""
        timed = {"now": time.monotonic()} if name in {"register", "heartbeat", "expire"} else {}
        answer = getattr(self._state, name)(*args, **timed)
        if name not in {"heartbeat", "drain", "snapshot"}:
            async with self._changed:
                self._changed.notify_all()
        return answer

    async def take(self, host: str, incarnation: str, timeout: float) -> Record | None:
        """Wait for a trial to run."""
        job: Record | None = await self._wait(lambda: self._state.take(host, incarnation), timeout)
        return job

    async def pull(self, key: str, timeout: float) -> Record:
        """Wait for news of a trial."""

        def news() -> Record | None:
            answer = self._state.pull(key)
            return answer if answer["points"] or answer["ended"] is not None else None

        return await self._wait(news, timeout) or {"points": [], "ended": None}

    async def drain(self, timeout: float) -> list[Record]:
        """Wait for anything to happen."""
        self._state.expire(now=time.monotonic())
        return await self._wait(lambda: self._state.drain() or None, timeout) or []

    async def stop(self) -> None:
        """Tell the replicas to go home."""
        self._stopping = True
        async with self._changed:
            self._changed.notify_all()

    async def stopping(self) -> bool:
        return self._stopping

    async def _wait(self, ready: Any, timeout: float) -> Any:
        deadline = time.monotonic() + timeout
        while (answer := ready()) is None and not self._stopping:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            async with self._changed:
                try:
                    await asyncio.wait_for(self._changed.wait(), left)
                except TimeoutError:
                    break
        return answer
