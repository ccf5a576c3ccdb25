"""What the hub knows: jobs, leases with epochs, replicas, and the stream of records that the driver has not journaled.

Nothing here outlives the hub's process, and nothing need to. A hub that was restarted is of a new *generation*. The
driver opens it with what has ended, replicas introduce themselves with what they run and with every message that the
driver may not have, and trial actors submit again what it has not heard of. Hence whatever is said to the hub may be
said twice, and whatever it says counts only once the driver has acknowledged it.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nmlab.platform.cluster.proof import why_refused
from nmlab.platform.failures import back_off_seconds
from nmlab.trials.contract.declarations import is_intermediate
from nmlab.trials.contract.run_status import TrialEnd, TrialStatus

Record = dict[str, Any]

HEARTBEAT_LIMIT_S = 15.0
GRACE_S = 3.0
_BACK_OFF_S = 0.5


@dataclass
class _Job:
    """One trial as the hub sees it; ``journaled`` once the driver has its end."""

    spec: Record
    epoch: int
    attempts: int = 0
    host: str | None = None
    not_before: float = 0.0
    cancelled: bool = False
    mail: dict[int, Record] = field(default_factory=dict)
    ended: Record | None = None
    journaled: bool = False


@dataclass
class _Host:
    """One Train worker group that holds the model: who it is this time, what it does, what was heard of it."""

    incarnation: int
    facts: Record
    seen: float
    heard: int = 0
    unconfirmed: deque[int] = field(default_factory=deque)
    jobs: set[str] = field(default_factory=set)
    slots: dict[int, tuple[str, int]] = field(default_factory=dict)

    @property
    def confirmed(self) -> int:
        """The number up to which the driver has this replica's messages, or need not have them."""
        return self.unconfirmed[0] - 1 if self.unconfirmed else self.heard


@dataclass
class _Entry:
    """A record of the stream, with whose message it was or whose end it tells."""

    sequence: int
    record: Record
    host: _Host | None = None
    ends: _Job | None = None


class DispatchState:
    """The hub's book-keeping, free of Ray, so that it can be tested by plain calls; time is passed in.

    ``generation`` is a number above all earlier ones; epochs count on from it. A hub leases nothing before it was
    opened and the replicas that the driver knows have introduced themselves or were waited for. ``expected`` is what
    replicas must show (`launches/proof.py`), if anything.
    """

    def __init__(self, *, max_failures: int, generation: int, expected: Mapping[str, Any] | None = None) -> None:
        self.generation = generation
        self._expected = dict(expected or {})
        self.stopping = False
        self._max_failures = max_failures
        self._epoch = generation
        self._hosts: dict[str, _Host] = {}
        self._jobs: dict[str, _Job] = {}
        self._queue: deque[str] = deque()
        self._stream: deque[_Entry] = deque()
        self._sequence = 0
        self._opened: float | None = None
        self._awaited: dict[str, int] = {}
        self._cancelled: set[str] = set()

    # --- the driver -----------------------------------------------------------------------------------------------

    def open(
        self, ended: Mapping[str, Record], hosts: Mapping[str, int], cancelled: Iterable[str], *, now: float
    ) -> None:
        """Take from the driver the results it has, the replicas it knows of, and the trials it wants stopped."""
        if self._opened is not None:
            return
        self._opened, self._awaited = now, dict(hosts)
        for key, result in ended.items():
            self._jobs[key] = _Job({}, self._epoch, ended=result, journaled=True)
        for key in cancelled:
            self.cancel(key)

    def drain(self, acknowledged: int) -> Record | None:
        """Forget what the driver has journaled; return what it has not, or None where that is nothing."""
        while self._stream and self._stream[0].sequence <= acknowledged:
            entry = self._stream.popleft()
            if entry.host is not None:
                entry.host.unconfirmed.popleft()
            if entry.ends is not None:
                entry.ends.journaled = True
        if not self._stream:
            return None
        records = [entry.record for entry in self._stream]
        return {"generation": self.generation, "upto": self._stream[-1].sequence, "records": records}

    def cancel(self, key: str) -> None:
        """Ask for a trial to be stopped; one that waits in the queue is dropped from it.

        One that is unknown may still be running on a replica that has yet to introduce itself.
        """
        job = self._jobs.get(key)
        if job is None:
            self._cancelled.add(key)
        elif job.ended is None:
            job.cancelled = True
            if job.host is None:
                self._end(key, job, _result(key, TrialStatus.STOPPED, "not started"))

    def reject(self, host: str, incarnation: int, key: str, epoch: int, reason: str, *, now: float) -> None:
        """The driver does not accept a trial's end, for it cannot read what the replica left: the trial goes elsewhere.

        The replica is given up, so that a new process of it shows that it sees the launch's folder.
        """
        job = self._jobs.get(key)
        if job is None or job.epoch != epoch or job.ended is None or job.journaled:
            return
        for entry in self._stream:
            entry.ends = None if entry.ends is job else entry.ends
        job.ended, told = None, "what it left could not be read"
        times = f"{told} {job.attempts} times; the last time, from {host}, {reason}"
        self._take_back(key, job, times, f"{told}: {reason}", now=now)
        if self._known(host, incarnation) is not None:
            self._lose(host, f"left what cannot be read ({reason})", now=now)

    def expire(self, *, now: float) -> None:
        """Give up replicas that have been silent for too long, and those that were awaited in vain."""
        for name in [name for name, host in self._hosts.items() if now - host.seen > HEARTBEAT_LIMIT_S]:
            self._lose(name, f"was silent for {HEARTBEAT_LIMIT_S:g} s", now=now)
        self._await_no_longer(now)

    def silence(self, *, now: float) -> float:
        """Return how long ago the last word of any replica came, in seconds; infinite where there is no replica."""
        return min((now - host.seen for host in self._hosts.values()), default=math.inf)

    def snapshot(self) -> Record:
        """Return who runs what, and how many jobs have not ended."""
        hosts = [{"name": name, "jobs": sorted(host.jobs), **host.facts} for name, host in sorted(self._hosts.items())]
        return {"generation": self.generation, "hosts": hosts, "running": sum(not j.ended for j in self._jobs.values())}

    # --- replicas -------------------------------------------------------------------------------------------------

    def refuse(self, host: str, reason: str) -> None:
        """A replica says why it does not even load its model."""
        self._tell({"event": "replica refused", "host": host, "reason": reason})

    def admit(self, host: str, proofs: list[Record], node_id: str = "") -> str:
        """Look at what the workers of a replica show; return why it is refused, or nothing. The driver is told."""
        if problems := why_refused(proofs, self._expected, node_id=node_id):
            reason = f"{host} on {'; '.join(problems.values())}"
            self._tell({"event": "replica refused", "host": host, "reason": reason, "nodes": sorted(problems)})
            return reason
        return ""

    def introduce(self, host: str, incarnation: int, facts: Record, claims: list[Record], *, now: float) -> None:
        """A replica says who it is and, to a hub that was restarted, what it runs and has not had confirmed.

        What a predecessor of the same name was doing is taken up again. A predecessor that comes late is passed over,
        and so is one that does not show what is expected; it then hears that it is ``gone``.
        """
        known = self._hosts.get(host)
        if known is not None and known.incarnation >= incarnation:
            return
        if self.admit(host, facts.get("proofs", []), facts.get("node_id", "")):
            return
        facts = {name: value for name, value in facts.items() if name != "proofs"}
        self._lose(host, "was replaced by a new process", now=now)
        awaited = self._awaited.pop(host, incarnation)
        if awaited != incarnation:
            self._tell({"event": "replica lost", "host": host, "reason": "was replaced by a new process"})
        self._hosts[host] = _Host(incarnation, facts, now)
        self._tell({"event": "replica", "host": host, "incarnation": incarnation, **facts})
        for claim in claims:
            self._adopt(host, claim)

    def hear(
        self,
        host: str,
        incarnation: int,
        generation: int,
        running: list[tuple[str, int]],
        messages: list[Record],
        *,
        now: float,
    ) -> Record:
        """Take a replica's messages, each once; answer what is confirmed and which of its leases it must end.

        ``state`` is ``introduce`` where the replica has yet to introduce itself to this generation, and ``gone``
        where it was given up and its work is done elsewhere.
        """
        if generation != self.generation:
            return {"state": "introduce"}
        known = self._known(host, incarnation)
        if known is None:
            return {"state": "gone"}
        known.seen = now
        for message in messages:
            if message["number"] > known.heard:
                known.heard = message["number"]
                self._handle(host, known, message)
        stop = [epoch for key, epoch in running if self._is_unwanted(key, epoch)]
        progress = {"heard": known.heard, "confirmed": known.confirmed}
        return {"state": "known", **progress, "stop": stop, "stopping": self.stopping}

    def take(self, host: str, incarnation: int, slot: int, done: int, *, now: float) -> Record | None:
        """Lease the oldest queued trial to a replica's slot, whose last lease was ``done``, or return None.

        A slot that asks again because it never got its answer is given the same lease.
        """
        known = self._known(host, incarnation)
        if known is None or not self._may_lease(now):
            return None
        key, epoch = known.slots.get(slot, ("", done))
        if epoch != done and self._current(key, epoch) is not None:
            return self._lease(key)
        for key in list(self._queue):
            job = self._jobs[key]
            if job.ended is not None or job.host is not None:
                self._queue.remove(key)
            elif job.not_before <= now:
                self._queue.remove(key)
                job.host, job.attempts = host, job.attempts + 1
                known.jobs.add(key)
                known.slots[slot] = (key, job.epoch)
                self._tell_leased(key, job)
                return self._lease(key)
        return None

    def lose(self, host: str, incarnation: int, reason: str, *, now: float) -> None:
        """A replica is known to be dead."""
        if self._known(host, incarnation) is not None:
            self._lose(host, reason, now=now)

    def leave(self, host: str, incarnation: int, *, now: float) -> None:
        """A replica says goodbye."""
        if self._known(host, incarnation) is not None:
            self._lose(host, "left", event="replica left", now=now)

    # --- trial actors ---------------------------------------------------------------------------------------------

    def submit(self, key: str, spec: Record, attempts: int = 0) -> None:
        """Queue a trial, which has been leased ``attempts`` times under earlier hubs; a known one is left as it is.

        An actor that takes a trial over from one that was lost submits it again, and so do one whose trial is unknown
        to a new hub, and one that Tune starts for a trial that it then gives to another.
        """
        if key in self._jobs:
            return
        self._epoch += 1
        job = self._jobs[key] = _Job(spec, self._epoch, attempts)
        self._tell({"event": "trial", "key": key, "spec": spec})
        if key in self._cancelled:
            self._end(key, job, _result(key, TrialStatus.STOPPED, "not started"))
        else:
            self._queue.append(key)

    def pull(self, key: str, after: int) -> Record | None:
        """Return a trial's evaluations after a step, and its result once that is journaled; None if it is unknown."""
        job = self._jobs.get(key)
        if job is None:
            return None
        points = [point for step, point in sorted(job.mail.items()) if step > after]
        return {"points": points, "ended": job.ended if job.journaled else None, "attempts": job.attempts}

    # --- within ---------------------------------------------------------------------------------------------------

    def _may_lease(self, now: float) -> bool:
        if self._opened is None or self.stopping:
            return False
        self._await_no_longer(now)
        return not self._awaited

    def _await_no_longer(self, now: float) -> None:
        if self._awaited and self._opened is not None and now - self._opened > GRACE_S:
            for name in self._awaited:
                self._tell({"event": "replica lost", "host": name, "reason": "did not come back to a new hub"})
            self._awaited = {}

    def _known(self, host: str, incarnation: int) -> _Host | None:
        known = self._hosts.get(host)
        return known if known is not None and known.incarnation == incarnation else None

    def _current(self, key: str, epoch: int) -> _Job | None:
        job = self._jobs.get(key)
        return job if job is not None and job.epoch == epoch and job.ended is None else None

    def _is_unwanted(self, key: str, epoch: int) -> bool:
        job = self._current(key, epoch)
        return job is None or job.cancelled

    def _lease(self, key: str) -> Record:
        job = self._jobs[key]
        return {"key": key, "epoch": job.epoch, "spec": job.spec, "attempts": job.attempts}

    def _adopt(self, host: str, claim: Record) -> None:
        """Leave a job with the replica that has it, unless it has ended or went to another meanwhile."""
        key, epoch = claim["key"], claim["epoch"]
        job = self._jobs.get(key)
        if job is None:
            job = self._jobs[key] = _Job(claim["spec"], epoch)
            self._tell({"event": "trial", "key": key, "spec": job.spec})
        elif job.ended is not None or job.host is not None:
            return
        self._epoch = max(self._epoch, epoch)
        job.epoch, job.host, job.attempts = epoch, host, max(job.attempts, claim["attempts"])
        job.cancelled = job.cancelled or key in self._cancelled
        job.mail |= {point["step"]: point for point in claim["evaluations"]}
        self._hosts[host].jobs.add(key)
        self._tell_leased(key, job)

    def _handle(self, host: str, known: _Host, message: Record) -> None:
        """Pass on a replica's message, unless it speaks for a lease that is over."""
        record = {name: value for name, value in message.items() if name not in ("number", "epoch")}
        record |= {"host": host, "source": [host, known.incarnation, message["number"]]}
        job = None
        if "epoch" in message:
            job = self._current(message["key"], message["epoch"])
            if job is None:
                return
        known.unconfirmed.append(message["number"])
        if job is not None and message["event"] == "ended":
            job.ended = message["result"]
            known.jobs.discard(message["key"])
            record["epoch"] = job.epoch  # by which the driver names an end that it does not accept
            self._tell(record, host=known, ends=job)
            return
        if job is not None and message["event"] == "metrics" and is_intermediate(message["values"]):
            job.mail[message["step"]] = {name: message[name] for name in ("step", "time", "values")}
        self._tell(record, host=known)

    def _tell(self, record: Record, *, host: _Host | None = None, ends: _Job | None = None) -> None:
        self._sequence += 1
        self._stream.append(_Entry(self._sequence, {"sequence": self._sequence, **record}, host, ends))

    def _tell_leased(self, key: str, job: _Job) -> None:
        self._tell({"event": "leased", "key": key, "host": job.host, "attempt": job.attempts, "epoch": job.epoch})

    def _end(self, key: str, job: _Job, result: Record) -> None:
        job.ended = result
        self._tell({"event": "ended", "key": key, "result": result}, ends=job)

    def _lose(self, name: str, reason: str, *, now: float, event: str = "replica lost") -> None:
        host = self._hosts.pop(name, None)
        if host is None:
            return
        self._tell({"event": event, "host": name, "reason": reason})
        for key in sorted(host.jobs):
            job = self._jobs[key]
            times = f"its replica was lost {job.attempts} times; the last one, {name}, {reason}"
            self._take_back(key, job, times, f"its replica {reason} while it was being stopped", now=now)

    def _take_back(self, key: str, job: _Job, too_often: str, stopped: str, *, now: float) -> None:
        """Queue a leased trial again under a new epoch, unless it was cancelled or has been leased too often."""
        self._epoch += 1
        job.epoch, job.host = self._epoch, None
        if job.cancelled:
            self._end(key, job, _result(key, TrialStatus.STOPPED, stopped))
        elif job.attempts > self._max_failures:
            self._end(key, job, _result(key, TrialStatus.FAILED, too_often))
        else:
            job.not_before = now + back_off_seconds(job.attempts, first=_BACK_OFF_S)
            self._queue.appendleft(key)


def _result(key: str, status: TrialEnd, reason: str) -> Record:
    return {"key": key, "status": status, "step": 0, "metrics": {}, "reason": reason}
