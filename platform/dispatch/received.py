"""What the driver has received: each record once, however often a restarted dispatcher or a replica sends it."""

from collections import Counter
from collections.abc import Callable, Container
from dataclasses import replace
from typing import assert_never

from nmlab.platform.dispatch.messages import Drained, LoggedRecord, RecordSource, RefusedEnd, ReplicaProcess
from nmlab.platform.records.events import (
    ConfirmationChosen,
    GroupRecord,
    JournalRecord,
    LaunchBegan,
    LaunchEnded,
    ReplicaLeft,
    ReplicaLost,
    ReplicaRefused,
    ReplicaStarted,
    ResultRefused,
    TrainRunLost,
    TrialActorLost,
    TrialEnded,
    TrialLeased,
    TrialMetrics,
    TrialSubmitted,
    UnknownRecord,
    WarmStarted,
    WeightsChecked,
)
from nmlab.platform.records.payloads import ResultRecord


class ReceivedRecords:
    """Takes the answers of the dispatcher's ``drain`` and returns the new records in them.

    Attributes:
        generation: of the dispatcher that the driver opened last.
        acknowledged: the number of the last record that the next ``drain`` acknowledges.
        ended: the results of trials that ended in this process, by trial key.
        begun: the keys of trials that have begun and not ended.
        loads: how often each replica loaded the model.
        replicas: the incarnation of each replica that is up.
    """

    def __init__(self) -> None:
        self.generation = self.acknowledged = 0
        self.ended: dict[str, ResultRecord] = {}
        self.begun: set[str] = set()
        self.loads: Counter[str] = Counter()
        self.replicas: dict[str, int] = {}
        self._epochs: dict[str, int | None] = {}
        self._numbers: dict[ReplicaProcess, int] = {}

    def is_from_new_dispatcher(self, drained: Drained) -> bool:
        """Return whether an answer comes from a dispatcher that the driver has not opened."""
        return drained.generation != self.generation

    def begin_generation(self, generation: int) -> None:
        """Note that the dispatcher of this generation was opened; its records are numbered from 1 again."""
        self.generation, self.acknowledged = generation, 0

    def accept(self, drained: Drained) -> list[JournalRecord]:
        """Return the records that were not received before, in order; the next ``drain`` acknowledges them all."""
        fresh = [
            self._keep(logged)
            for logged in drained.records
            if logged.sequence > self.acknowledged and self._is_fresh(logged)
        ]
        self.acknowledged = max(self.acknowledged, drained.upto)
        return fresh

    @property
    def leased(self) -> dict[str, int]:
        """The epoch of the newest lease of each trial."""
        return {key: epoch for key, epoch in self._epochs.items() if epoch is not None}

    def unended(self) -> list[str]:
        """Return the trials that have begun and not ended."""
        return sorted(self.begun)

    def _is_fresh(self, logged: LoggedRecord) -> bool:
        """Return whether a record is new; one of a replica by its number, one of the dispatcher by what it says."""
        if logged.source is not None:
            return logged.source.number > self._numbers.get(logged.source.process, 0)
        record = logged.record
        match record:
            case TrialSubmitted():
                return record.key not in self.begun
            case TrialLeased():
                return record.epoch != self._epochs.get(record.key)
            case ReplicaStarted():
                return record.incarnation != self.replicas.get(record.host)
            case ReplicaLost() | ReplicaLeft():
                return record.host in self.replicas
            case TrialMetrics() | TrialEnded() | ResultRefused() | TrialActorLost():
                return True
            case ReplicaRefused() | WeightsChecked() | TrainRunLost() | GroupRecord():
                return True
            case WarmStarted() | LaunchBegan() | ConfirmationChosen() | LaunchEnded() | UnknownRecord():
                return True
            case _ as never:
                assert_never(never)

    def _keep(self, logged: LoggedRecord) -> JournalRecord:
        """Keep what later records are compared with; return the record, with the number of loads if it is a start."""
        if logged.source is not None:
            self._numbers[logged.source.process] = logged.source.number
        record = logged.record
        match record:
            case TrialSubmitted():
                self.begun.add(record.key)
            case TrialLeased():
                self._epochs[record.key] = record.epoch
            case TrialEnded():
                self.begun.discard(record.key)
                self.ended[record.key] = record.result
            case ReplicaStarted():
                assert record.incarnation is not None, "a dispatcher names the process"
                self.replicas[record.host] = record.incarnation
                self.loads[record.host] += 1
                return replace(record, loads=self.loads[record.host])
            case ReplicaLost() | ReplicaLeft():
                del self.replicas[record.host]
            case TrialMetrics() | ResultRefused() | TrialActorLost():
                pass
            case ReplicaRefused() | WeightsChecked() | TrainRunLost() | GroupRecord():
                pass
            case WarmStarted() | LaunchBegan() | ConfirmationChosen() | LaunchEnded() | UnknownRecord():
                pass
            case _ as never:
                assert_never(never)
        return record


class ResultCheck:
    """Refuses the ends of trials whose artifacts the driver cannot read.

    Such an end becomes a ``ResultRefused``. The next ``drain`` rejects it, before the dispatcher counts it as
    journaled. If a restarted dispatcher gets the same message from the replica again, it is refused again without
    another check, since nobody has received it as an end.
    """

    def __init__(self, unreadable: Callable[[TrialEnded], str]) -> None:
        self._unreadable = unreadable
        self._reasons: dict[tuple[ReplicaProcess, int], str] = {}
        self.refused: list[RefusedEnd] = []
        """The ends to reject with the next ``drain``."""

    def check(self, drained: Drained, *, ended: Container[str]) -> Drained:
        """Return an answer of ``drain`` in which the ends that are not accepted are replaced.

        Args:
            drained: of a ``drain`` that was given ``refused``, so that those ends need not be rejected again.
            ended: the keys of trials whose end is in the journal.
        """
        self.refused = []
        return replace(drained, records=[self._checked(logged, ended) for logged in drained.records])

    def _checked(self, logged: LoggedRecord, ended: Container[str]) -> LoggedRecord:
        end, source = logged.record, logged.source
        if source is None or not isinstance(end, TrialEnded) or end.key in ended:
            return logged
        reason = self._reason(end, source)
        return replace(logged, record=self._refuse(end, source, reason=reason)) if reason else logged

    def _reason(self, end: TrialEnded, source: RecordSource) -> str:
        message = (source.process, source.number)
        return self._reasons.get(message) or self._unreadable(end)

    def _refuse(self, end: TrialEnded, source: RecordSource, *, reason: str) -> ResultRefused:
        assert source.epoch is not None, "an end belongs to a lease"
        self._reasons[source.process, source.number] = reason
        self.refused.append(RefusedEnd(process=source.process, key=end.key, epoch=source.epoch, reason=reason))
        return ResultRefused(host=source.process.name, key=end.key, reason=reason)
