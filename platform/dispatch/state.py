"""The dispatcher's state: jobs, leases with epochs, replicas, and the stream of records the driver has not journaled.

None of it is kept on disk. A restarted dispatcher has a new *generation* and an empty state, which others fill again:
the driver opens it with the trials that have ended, replicas introduce themselves with the trials they run and every
message the driver may not have, and trial actors submit again the trials it does not know. So every call may be made
twice, and a record counts only once the driver has acknowledged it.
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
    """One trial, leased ``attempts`` times, last to ``replica``; ``journaled`` once the driver has its result."""

    spec: Record
    epoch: int
    attempts: int = 0
    replica: str | None = None
    not_before: float = 0.0
    cancelled: bool = False
    evaluations: dict[int, Record] = field(default_factory=dict)
    ended: Record | None = None
    journaled: bool = False


@dataclass
class _Replica:
    """One process of a replica: when it last sent anything, its messages by number, its trials, each slot's lease."""

    incarnation: int
    facts: Record
    seen: float
    received: int = 0
    unconfirmed: deque[int] = field(default_factory=deque)
    jobs: set[str] = field(default_factory=set)
    slots: dict[int, tuple[str, int]] = field(default_factory=dict)

    @property
    def confirmed(self) -> int:
        """The number of the last message before the first one that the driver has not acknowledged."""
        return self.unconfirmed[0] - 1 if self.unconfirmed else self.received


@dataclass
class _Entry:
    """A record of the stream, with the replica that sent it and the job that it ends, if any."""

    sequence: int
    record: Record
    sender: _Replica | None = None
    ends: _Job | None = None


class DispatchState:
    """The state of a dispatcher, without Ray, so that it can be tested by plain calls; time is passed in, in seconds.

    It leases nothing until the driver has opened it and the replicas known to the driver are back, or `GRACE_S` passed.

    Args:
        max_failures: how often a trial may lose its replica and be leased again.
        generation: a number above that of every earlier dispatcher of the launch; epochs count on from it.
        expected: what replicas must show of the launch's folder and their code (`cluster/proof.py`), if anything.
    """

    def __init__(self, *, max_failures: int, generation: int, expected: Mapping[str, Any] | None = None) -> None:
        self.generation = generation
        self._expected = dict(expected or {})
        self.stopping = False
        self._max_failures = max_failures
        self._epoch = generation
        self._replicas: dict[str, _Replica] = {}
        self._jobs: dict[str, _Job] = {}
        self._queue: deque[str] = deque()
        self._stream: deque[_Entry] = deque()
        self._sequence = 0
        self._opened: float | None = None
        self._awaited: dict[str, int] = {}
        self._cancelled: set[str] = set()

    # --- the driver -----------------------------------------------------------------------------------------------

    def open(
        self, ended: Mapping[str, Record], replicas: Mapping[str, int], cancelled: Iterable[str], *, now: float
    ) -> None:
        """Set what the driver knows: results by trial key, incarnations by replica, trials to stop. Once only."""
        if self._opened is not None:
            return
        self._opened, self._awaited = now, dict(replicas)
        for key, result in ended.items():
            self._jobs[key] = _Job({}, self._epoch, ended=result, journaled=True)
        for key in cancelled:
            self.cancel(key)

    def drain(self, acknowledged: int) -> Record | None:
        """Drop the records up to number ``acknowledged``; return all others, or None if there are none."""
        while self._stream and self._stream[0].sequence <= acknowledged:
            entry = self._stream.popleft()
            if entry.sender is not None:
                entry.sender.unconfirmed.popleft()
            if entry.ends is not None:
                entry.ends.journaled = True
        if not self._stream:
            return None
        records = [entry.record for entry in self._stream]
        return {"generation": self.generation, "upto": self._stream[-1].sequence, "records": records}

    def cancel(self, key: str) -> None:
        """Stop a trial: a queued one ends at once, a leased one when its replica next sends messages.

        An unknown one is remembered, since it may run on a replica that has yet to introduce itself.
        """
        job = self._jobs.get(key)
        if job is None:
            self._cancelled.add(key)
        elif job.ended is None:
            job.cancelled = True
            if job.replica is None:
                self._end(key, job, _result(key, TrialStatus.STOPPED, "not started"))

    def reject(self, replica: str, incarnation: int, key: str, epoch: int, reason: str, *, now: float) -> None:
        """Take back the end of a trial whose artifacts the driver cannot read, and lease the trial again.

        The replica is given up: its next process must show again that it sees the launch's folder.
        """
        job = self._jobs.get(key)
        if job is None or job.epoch != epoch or job.ended is None or job.journaled:
            return
        for entry in self._stream:
            entry.ends = None if entry.ends is job else entry.ends
        job.ended, unreadable = None, "its artifacts could not be read"
        times = f"{unreadable} {job.attempts} times; the last time, from {replica}, {reason}"
        self._take_back(key, job, times, f"{unreadable}: {reason}", now=now)
        if self._known(replica, incarnation) is not None:
            self._lose(replica, f"left artifacts that cannot be read ({reason})", now=now)

    def expire(self, *, now: float) -> None:
        """Give up replicas that have sent nothing for `HEARTBEAT_LIMIT_S`, and expected ones that did not come back."""
        for name in [name for name, replica in self._replicas.items() if now - replica.seen > HEARTBEAT_LIMIT_S]:
            self._lose(name, f"was silent for {HEARTBEAT_LIMIT_S:g} s", now=now)
        self._await_no_longer(now)

    def silence(self, *, now: float) -> float:
        """Return how many seconds ago the last message of any replica came; infinite without a replica."""
        return min((now - replica.seen for replica in self._replicas.values()), default=math.inf)

    def snapshot(self) -> Record:
        """Return the replicas with the keys of the trials they run, and how many trials have not ended."""
        known = sorted(self._replicas.items())
        replicas = [{"name": name, "jobs": sorted(replica.jobs), **replica.facts} for name, replica in known]
        running = sum(not job.ended for job in self._jobs.values())
        return {"generation": self.generation, "replicas": replicas, "running": running}

    # --- replicas -------------------------------------------------------------------------------------------------

    def refuse(self, replica: str, reason: str) -> None:
        """Record that a replica refuses to load its model, and why."""
        self._append({"event": "replica refused", "host": replica, "reason": reason})

    def admit(self, replica: str, proofs: list[Record], node_id: str = "") -> str:
        """Check what the workers of a replica show; return, and record, why it is refused; "" if it is not."""
        if problems := why_refused(proofs, self._expected, node_id=node_id):
            reason = f"{replica} on {'; '.join(problems.values())}"
            self._append({"event": "replica refused", "host": replica, "reason": reason, "nodes": sorted(problems)})
            return reason
        return ""

    def introduce(self, replica: str, incarnation: int, facts: Record, claims: list[Record], *, now: float) -> None:
        """Add a replica, with its claims: the leases that it holds, as far as their ends are not confirmed.

        Trials of an older process of the same replica are queued again. An older process that comes late is ignored,
        and so is one that does not show what is expected; `receive` then answers ``gone``.
        """
        known = self._replicas.get(replica)
        if known is not None and known.incarnation >= incarnation:
            return
        if self.admit(replica, facts.get("proofs", []), facts.get("node_id", "")):
            return
        facts = {name: value for name, value in facts.items() if name != "proofs"}
        self._lose(replica, "was replaced by a new process", now=now)
        awaited = self._awaited.pop(replica, incarnation)
        if awaited != incarnation:
            self._append({"event": "replica lost", "host": replica, "reason": "was replaced by a new process"})
        self._replicas[replica] = _Replica(incarnation, facts, now)
        self._append({"event": "replica", "host": replica, "incarnation": incarnation, **facts})
        for claim in claims:
            self._accept_claim(replica, claim)

    def receive(
        self,
        replica: str,
        incarnation: int,
        generation: int,
        running: list[tuple[str, int]],
        messages: list[Record],
        *,
        now: float,
    ) -> Record:
        """Accept each message of a replica once; return which are confirmed and which leases it must end.

        Args:
            running: key and epoch of the leases that it holds.
            messages: those of its outbox that this dispatcher may not have, numbered.

        Returns:
            ``state``: ``introduce`` if it must introduce itself to this generation, ``gone`` if it was given up, else
            ``known``, with ``received`` and ``confirmed`` (numbers), ``stop`` (epochs) and ``stopping`` (itself).
        """
        if generation != self.generation:
            return {"state": "introduce"}
        known = self._known(replica, incarnation)
        if known is None:
            return {"state": "gone"}
        known.seen = now
        for message in messages:
            if message["number"] > known.received:
                known.received = message["number"]
                self._handle(replica, known, message)
        stop = [epoch for key, epoch in running if self._is_unwanted(key, epoch)]
        progress = {"received": known.received, "confirmed": known.confirmed}
        return {"state": "known", **progress, "stop": stop, "stopping": self.stopping}

    def take(self, replica: str, incarnation: int, slot: int, done: int, *, now: float) -> Record | None:
        """Lease the first queued trial to a slot whose last lease was epoch ``done``; return it, or None.

        A slot that never got its lease, and asks again, is given the same one.
        """
        known = self._known(replica, incarnation)
        if known is None or not self._may_lease(now):
            return None
        key, epoch = known.slots.get(slot, ("", done))
        if epoch != done and self._current(key, epoch) is not None:
            return self._lease(key)
        for key in list(self._queue):
            job = self._jobs[key]
            if job.ended is not None or job.replica is not None:
                self._queue.remove(key)
            elif job.not_before <= now:
                self._queue.remove(key)
                job.replica, job.attempts = replica, job.attempts + 1
                known.jobs.add(key)
                known.slots[slot] = (key, job.epoch)
                self._append_leased(key, job)
                return self._lease(key)
        return None

    def lose(self, replica: str, incarnation: int, reason: str, *, now: float) -> None:
        """Give up a replica whose process has died."""
        if self._known(replica, incarnation) is not None:
            self._lose(replica, reason, now=now)

    def leave(self, replica: str, incarnation: int, *, now: float) -> None:
        """Remove a replica that ends as it should."""
        if self._known(replica, incarnation) is not None:
            self._lose(replica, "left", event="replica left", now=now)

    # --- trial actors ---------------------------------------------------------------------------------------------

    def submit(self, key: str, spec: Record, attempts: int = 0) -> None:
        """Queue a trial that earlier dispatchers leased ``attempts`` times; a known one stays as it is.

        A trial is submitted again by the actor that replaces a lost one, by an actor whose trial is unknown to a new
        dispatcher, and by one that Tune starts for a trial that it then gives to another actor.
        """
        if key in self._jobs:
            return
        self._epoch += 1
        job = self._jobs[key] = _Job(spec, self._epoch, attempts)
        self._append({"event": "trial", "key": key, "spec": spec})
        if key in self._cancelled:
            self._end(key, job, _result(key, TrialStatus.STOPPED, "not started"))
        else:
            self._queue.append(key)

    def pull(self, key: str, after: int) -> Record | None:
        """Return a trial's evaluations after step ``after``, and its result once journaled; None if it is unknown."""
        job = self._jobs.get(key)
        if job is None:
            return None
        points = [point for step, point in sorted(job.evaluations.items()) if step > after]
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
                reason = "did not come back to a restarted dispatcher"
                self._append({"event": "replica lost", "host": name, "reason": reason})
            self._awaited = {}

    def _known(self, replica: str, incarnation: int) -> _Replica | None:
        known = self._replicas.get(replica)
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

    def _accept_claim(self, replica: str, claim: Record) -> None:
        """Leave a job with the replica that claims it, unless it has ended or another replica has it."""
        key, epoch = claim["key"], claim["epoch"]
        job = self._jobs.get(key)
        if job is None:
            job = self._jobs[key] = _Job(claim["spec"], epoch)
            self._append({"event": "trial", "key": key, "spec": job.spec})
        elif job.ended is not None or job.replica is not None:
            return
        self._epoch = max(self._epoch, epoch)
        job.epoch, job.replica, job.attempts = epoch, replica, max(job.attempts, claim["attempts"])
        job.cancelled = job.cancelled or key in self._cancelled
        job.evaluations |= {point["step"]: point for point in claim["evaluations"]}
        self._replicas[replica].jobs.add(key)
        self._append_leased(key, job)

    def _handle(self, replica: str, known: _Replica, message: Record) -> None:
        """Append a replica's message to the stream, unless it belongs to a lease that is over."""
        record = {name: value for name, value in message.items() if name not in ("number", "epoch")}
        record |= {"host": replica, "source": [replica, known.incarnation, message["number"]]}
        job = None
        if "epoch" in message:
            job = self._current(message["key"], message["epoch"])
            if job is None:
                return
        known.unconfirmed.append(message["number"])
        if job is not None and message["event"] == "ended":
            job.ended = message["result"]
            known.jobs.discard(message["key"])
            record["epoch"] = job.epoch  # the driver needs it for `reject`
            self._append(record, sender=known, ends=job)
            return
        if job is not None and message["event"] == "metrics" and is_intermediate(message["values"]):
            job.evaluations[message["step"]] = {name: message[name] for name in ("step", "time", "values")}
        self._append(record, sender=known)

    def _append(self, record: Record, *, sender: _Replica | None = None, ends: _Job | None = None) -> None:
        self._sequence += 1
        self._stream.append(_Entry(self._sequence, {"sequence": self._sequence, **record}, sender, ends))

    def _append_leased(self, key: str, job: _Job) -> None:
        self._append({"event": "leased", "key": key, "host": job.replica, "attempt": job.attempts, "epoch": job.epoch})

    def _end(self, key: str, job: _Job, result: Record) -> None:
        job.ended = result
        self._append({"event": "ended", "key": key, "result": result}, ends=job)

    def _lose(self, name: str, reason: str, *, now: float, event: str = "replica lost") -> None:
        replica = self._replicas.pop(name, None)
        if replica is None:
            return
        self._append({"event": event, "host": name, "reason": reason})
        for key in sorted(replica.jobs):
            job = self._jobs[key]
            times = f"its replica was lost {job.attempts} times; the last one, {name}, {reason}"
            self._take_back(key, job, times, f"its replica {reason} while it was being stopped", now=now)

    def _take_back(self, key: str, job: _Job, too_often: str, stopped: str, *, now: float) -> None:
        """Queue a leased trial again under a new epoch; end it if it was cancelled or has been leased too often."""
        self._epoch += 1
        job.epoch, job.replica = self._epoch, None
        if job.cancelled:
            self._end(key, job, _result(key, TrialStatus.STOPPED, stopped))
        elif job.attempts > self._max_failures:
            self._end(key, job, _result(key, TrialStatus.FAILED, too_often))
        else:
            job.not_before = now + back_off_seconds(job.attempts, first=_BACK_OFF_S)
            self._queue.appendleft(key)


def _result(key: str, status: TrialEnd, reason: str) -> Record:
    return {"key": key, "status": status, "step": 0, "metrics": {}, "reason": reason}
