"""What the dispatcher is told and what it answers, as values: leases, numbered records, and the answers to calls.

What happened in a launch is told by records (`nmlab.platform.records.events`); here they travel in envelopes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nmlab.platform.records.events import JournalRecord, TrialMetrics
from nmlab.platform.records.payloads import ResultRecord, SpecRecord
from nmlab.trials.contract.declarations import has_phase
from nmlab.trials.contract.metrics import Phase


@dataclass(frozen=True, slots=True)
class ReplicaProcess:
    """One process of the replica ``name``; a later process of the same replica has a higher ``incarnation``."""

    name: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one slot to run a trial, leased ``times_leased`` times so far; messages about it carry its epoch."""

    key: str
    epoch: int
    spec: SpecRecord
    times_leased: int


@dataclass(frozen=True, slots=True)
class NoMoreTrials:
    """The answer to a slot that asks for a trial when the replicas are to end."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A lease that a replica holds, told to a restarted dispatcher, with the evaluations of the trial so far."""

    lease: Lease
    evaluations: Sequence[TrialMetrics] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """A record of a replica, numbered from 1 by its process; ``epoch`` is that of the lease that it is about."""

    number: int
    record: JournalRecord
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class RecordSource:
    """Where a record comes from: the message of this number of a process, about the lease with this epoch."""

    process: ReplicaProcess
    number: int
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class LoggedRecord:
    """A record in the dispatcher's log; ``source`` is None if the dispatcher itself wrote it."""

    sequence: int
    record: JournalRecord
    source: RecordSource | None = None


@dataclass(frozen=True, slots=True)
class Drained:
    """The unacknowledged records of the dispatcher of this generation, up to number ``upto``.

    ``silent_seconds`` is how many seconds ago the last message of any replica came.
    """

    generation: int
    upto: int
    records: Sequence[LoggedRecord] = ()
    silent_seconds: float = math.inf


@dataclass(frozen=True, slots=True)
class RefusedEnd:
    """The end of a trial that the driver does not accept, as it cannot read the artifacts, and why."""

    process: ReplicaProcess
    key: str
    epoch: int
    reason: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to a replica's messages.

    Attributes:
        received: the number of the last message that the dispatcher has.
        confirmed: the number up to which the driver has all messages.
        cancelled: the epochs of the leases that the replica must end.
        stopping: whether the replica must end itself.
    """

    received: int
    confirmed: int
    cancelled: Sequence[int]
    stopping: bool


@dataclass(frozen=True, slots=True)
class MustIntroduce:
    """The answer to messages for an earlier dispatcher: the replica must introduce itself to this one."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The answer to messages of a process that was given up."""


ReceiveAnswer = Receipt | MustIntroduce | GivenUp


@dataclass(frozen=True, slots=True)
class TrialUpdate:
    """What a trial actor is told: new evaluations, the result once it is in the journal, how often it was leased."""

    points: Sequence[TrialMetrics]
    ended: ResultRecord | None
    times_leased: int

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing new."""
        return not self.points and self.ended is None


def can_wait(record: JournalRecord) -> bool:
    """Return whether a record may reach the driver late: a point of a training curve, on which nothing depends."""
    if not isinstance(record, TrialMetrics):
        return False
    return not (has_phase(record.values, Phase.EVALUATION) or has_phase(record.values, Phase.START))
