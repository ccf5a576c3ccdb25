"""The dispatcher's log: records in order until the driver has acknowledged them, and what that confirms to replicas."""

from collections import deque

from nmlab.platform.dispatch.messages import LoggedRecord, RecordSource, ReplicaProcess, can_wait
from nmlab.platform.records.events import JournalRecord, TrialEnded


class RecordLog:
    """Numbers records from 1 and keeps them until they are acknowledged."""

    def __init__(self) -> None:
        self._records: deque[LoggedRecord] = deque()
        self._sequence = 0
        self._unconfirmed: dict[ReplicaProcess, deque[int]] = {}
        self._withdrawn: set[int] = set()

    def append(self, record: JournalRecord, *, source: RecordSource | None = None) -> None:
        """Add a record at the end."""
        self._sequence += 1
        self._records.append(LoggedRecord(self._sequence, record, source))
        if source is not None:
            self._unconfirmed.setdefault(source.process, deque()).append(source.number)

    def acknowledge(self, upto: int) -> list[str]:
        """Drop the records up to this number; return the keys of trials whose ends among them count."""
        ended = []
        while self._records and self._records[0].sequence <= upto:
            logged = self._records.popleft()
            if logged.source is not None:
                self._confirm(logged.source.process)
            if isinstance(logged.record, TrialEnded) and logged.sequence not in self._withdrawn:
                ended.append(logged.record.key)
            self._withdrawn.discard(logged.sequence)
        return ended

    def withdraw_end(self, key: str) -> None:
        """Let the logged ends of a trial not count when they are acknowledged."""
        for logged in self._records:
            if isinstance(logged.record, TrialEnded) and logged.record.key == key:
                self._withdrawn.add(logged.sequence)

    def unacknowledged(self) -> list[LoggedRecord]:
        """Return all records that are kept, in order."""
        return list(self._records)

    @property
    def has_urgent(self) -> bool:
        """Whether any record that is kept is more than a point of a training curve."""
        return not all(can_wait(logged.record) for logged in self._records)

    def confirmed(self, process: ReplicaProcess, *, received: int) -> int:
        """Return the number up to which the messages of a process need not be kept by it any longer.

        ``received`` is the number of its last message here. Those before the first that the log still holds are done
        with: acknowledged, or dropped because their lease was over. If the log holds none, all up to ``received`` are.
        """
        waiting = self._unconfirmed.get(process)
        return waiting[0] - 1 if waiting else received

    def _confirm(self, process: ReplicaProcess) -> None:
        waiting = self._unconfirmed[process]
        waiting.popleft()
        if not waiting:
            del self._unconfirmed[process]
