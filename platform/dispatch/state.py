"""The dispatcher's state: leases, replicas, and the log of records that the driver has not journaled.

None of it is kept on disk. A restarted dispatcher has a new *generation* and an empty state, which others fill again:
the driver opens it with the trials that have ended, replicas introduce themselves with the trials they run and every
message the driver may not have, and trial actors submit again the trials it does not know. So every call may be made
twice, and a record counts only once the driver has acknowledged it.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from nmlab.platform.dispatch.known_replicas import RETURN_SECONDS, SILENT_REPLICA_SECONDS, KnownReplica, KnownReplicas
from nmlab.platform.dispatch.leases import Leases
from nmlab.platform.dispatch.messages import (
    Claim,
    Drained,
    GivenUp,
    Lease,
    Message,
    MustIntroduce,
    Receipt,
    ReceiveAnswer,
    RecordSource,
    RefusedEnd,
    ReplicaProcess,
    TrialUpdate,
)
from nmlab.platform.dispatch.record_log import RecordLog
from nmlab.platform.records.events import ReplicaLeft, ReplicaLost, TrialEnded, TrialMetrics
from nmlab.platform.records.payloads import Proof, ReplicaFacts, ResultRecord, SpecRecord
from nmlab.trials.contract.declarations import is_intermediate

__all__ = ["RETURN_SECONDS", "SILENT_REPLICA_SECONDS", "DispatchState"]


class DispatchState:
    """The state of a dispatcher, without Ray, so that it can be tested by plain calls; time is passed in, in seconds.

    It leases nothing until the driver has opened it, and the replicas that the driver knows are back or were given up
    after `RETURN_SECONDS`.

    Args:
        max_failures: how often a trial may lose its replica and be leased again.
        generation: a number above that of every earlier dispatcher of the launch; epochs count on from it.
        expected: what replicas must show of the launch's folder and their code (`cluster/proof.py`), if anything.
    """

    def __init__(self, *, max_failures: int, generation: int, expected: Proof | None = None) -> None:
        self.generation = generation
        self.stopping = False
        self._log = RecordLog()
        self._leases = Leases(max_failures=max_failures, epoch=generation, record=self._log.append)
        self._replicas = KnownReplicas(expected=expected, record=self._log.append)

    # --- the driver -----------------------------------------------------------------------------------------------

    def open(
        self,
        ended: Mapping[str, ResultRecord],
        replicas: Mapping[str, int],
        cancelled: Iterable[str],
        *,
        now: float,
        leased: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """Set what the driver knows, once only.

        Args:
            ended: results by trial key.
            replicas: incarnations by replica.
            cancelled: the trials to cancel.
            now: the time.
            leased: the epoch of the newest lease by trial key.
        """
        if self._replicas.is_open:
            return
        self._replicas.open(replicas, now=now)
        self._leases.recall(ended, leased=leased)
        for key in cancelled:
            self.cancel(key)

    def drain(self, acknowledged: int) -> Drained | None:
        """Drop the records up to number ``acknowledged``; return all others, or None if there are none."""
        self.acknowledge(acknowledged)
        records = self._log.unacknowledged()
        return Drained(self.generation, records[-1].sequence, records) if records else None

    def acknowledge(self, upto: int) -> bool:
        """Drop the records up to this number; return whether any was the end of a trial, which now counts."""
        ended = self._log.acknowledge(upto)
        for key in ended:
            self._leases.confirm_end(key)
        return bool(ended)

    @property
    def has_urgent_records(self) -> bool:
        """Whether a record is there that the driver should have at once."""
        return self._log.has_urgent

    def cancel(self, key: str) -> None:
        """Cancel a trial: a queued one ends at once, a leased one when its replica next sends messages.

        An unknown one is remembered, since it may run on a replica that has yet to introduce itself.
        """
        self._leases.cancel(key)

    def reject(self, end: RefusedEnd, *, now: float) -> None:
        """Take back the end of a trial whose artifacts the driver cannot read, and lease the trial again.

        The replica is given up: its next process must show again that it sees the launch's folder.
        """
        if not self._leases.is_rejectable(end.key, end.epoch):
            return
        self._log.withdraw_end(end.key)
        self._leases.reject(end.key, replica=end.process.name, reason=end.reason, now=now)
        if self._replicas.find(end.process) is not None:
            self._lose(end.process.name, f"left artifacts that cannot be read ({end.reason})", now=now)

    def expire(self, *, now: float) -> None:
        """Give up replicas that are silent for `SILENT_REPLICA_SECONDS`, and expected ones that did not come back."""
        for name in self._replicas.silent(now=now):
            self._lose(name, f"was silent for {SILENT_REPLICA_SECONDS:g} s", now=now)
        self._replicas.give_up_absent(now=now)

    def silent_seconds(self, *, now: float) -> float:
        """Return how many seconds ago the last message of any replica came; infinite without a replica."""
        return self._replicas.silent_seconds(now=now)

    # --- replicas -------------------------------------------------------------------------------------------------

    def refuse(self, replica: str, reason: str) -> None:
        """Record that a replica refuses to load its model, and why."""
        self._replicas.refuse(replica, reason)

    def admit(self, replica: str, proofs: Sequence[Proof]) -> str:
        """Check what the workers of a replica show; return, and record, why it is refused; "" if it is not."""
        return self._replicas.admit(replica, proofs)

    def introduce(self, process: ReplicaProcess, facts: ReplicaFacts, claims: Sequence[Claim], *, now: float) -> None:
        """Add a replica, with its claims: the leases that it holds, as far as their ends are not confirmed.

        Trials of an older process of the same replica are queued again. An older process that comes late is ignored,
        and so is one that does not show what is expected; `receive` then answers ``GivenUp``.
        """
        if self._replicas.is_outdated(process):
            return
        if self._replicas.admit(process.name, facts.get("proofs", []), facts.get("node_id", "")):
            return
        self._lose(process.name, "was replaced by a new process", now=now)
        self._replicas.add(process, facts, now=now)
        for claim in claims:
            self._leases.claim(process.name, claim)

    def receive(
        self,
        process: ReplicaProcess,
        *,
        generation: int,
        running: Sequence[tuple[str, int]],
        messages: Sequence[Message],
        now: float,
    ) -> ReceiveAnswer:
        """Accept each message of a replica once; return which are confirmed and which leases it must end.

        Args:
            process: the sender.
            generation: of the dispatcher to which it has introduced itself.
            running: key and epoch of the leases that it holds.
            messages: those of its outbox that this dispatcher may not have, numbered.
            now: the time.
        """
        if generation != self.generation:
            return MustIntroduce()
        known = self._replicas.find(process)
        if known is None:
            return GivenUp()
        known.seen = now
        for message in messages:
            if message.number > known.received:
                known.received = message.number
                self._handle(known, message)
        cancelled = [epoch for key, epoch in running if self._leases.is_cancelled(key, epoch)]
        confirmed = self._log.confirmed(process, received=known.received)
        return Receipt(received=known.received, confirmed=confirmed, cancelled=cancelled, stopping=self.stopping)

    def take(self, process: ReplicaProcess, *, slot: int, last_epoch: int, now: float) -> Lease | None:
        """Lease the first queued trial to a slot whose last lease was epoch ``last_epoch``; return it, or None.

        A slot that never got its lease, and asks again, is given the same one.
        """
        if self._replicas.find(process) is None or self.stopping or not self._replicas.are_back(now=now):
            return None
        return self._leases.take(process, slot=slot, last_epoch=last_epoch, now=now)

    def lose(self, process: ReplicaProcess, reason: str, *, now: float) -> None:
        """Give up a replica whose process has died."""
        if self._replicas.find(process) is not None:
            self._lose(process.name, reason, now=now)

    def leave(self, process: ReplicaProcess, *, now: float) -> None:
        """Remove a replica that ends as it should."""
        if self._replicas.find(process) is not None:
            self._lose(process.name, "left", now=now, as_it_should=True)

    # --- trial actors ---------------------------------------------------------------------------------------------

    def submit(self, key: str, spec: SpecRecord, times_leased: int = 0) -> None:
        """Queue a trial that earlier dispatchers leased ``times_leased`` times; a known one stays as it is.

        A trial is submitted again by the actor that replaces a lost one, by an actor whose trial is unknown to a new
        dispatcher, and by one that Tune starts for a trial that it then gives to another actor.
        """
        self._leases.submit(key, spec, times_leased=times_leased)

    def pull(self, key: str, after: int) -> TrialUpdate | None:
        """Return a trial's evaluations after step ``after``, and its result once journaled; None if it is unknown."""
        return self._leases.pull(key, after=after)

    # --- within ---------------------------------------------------------------------------------------------------

    def _handle(self, known: KnownReplica, message: Message) -> None:
        """Append a replica's message to the log, unless it belongs to a lease that is over."""
        record, source = message.record, RecordSource(known.process, message.number, message.epoch)
        if message.epoch is not None and isinstance(record, TrialMetrics | TrialEnded):
            if not self._leases.is_current(record.key, message.epoch):
                return
            if isinstance(record, TrialEnded):
                self._leases.end(record.key, record.result)
            elif is_intermediate(record.values):
                self._leases.keep_evaluation(record)
        self._log.append(record, source=source)

    def _lose(self, name: str, reason: str, *, now: float, as_it_should: bool = False) -> None:
        if self._replicas.remove(name):
            kind = ReplicaLeft if as_it_should else ReplicaLost
            self._log.append(kind(host=name, reason=reason))
            self._leases.lose(name, reason, now=now)
