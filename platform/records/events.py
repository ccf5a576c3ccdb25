"""Every event of a launch. Their names and fields stand in journals and are kept: a renamed class keeps its event.

Consumers (`dispatch/received.py`, `launches/state.py`, `search/early_stopping.py`, `tracking/recorder.py` and others)
``match`` over `JournalRecord` and end with ``assert_never``, so the type checker names those that must handle a new
event. Events that they have no use for are matched by the class that they share, such as `GroupRecord`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, get_args

from nmlab.platform.records.base import Record
from nmlab.platform.records.payloads import (
    ChosenRecord,
    KnownOutcomeRecord,
    ResultRecord,
    SpecRecord,
    StageFacts,
    WarmSourceRecord,
)
from nmlab.trials.contract.values import JsonMapping, JsonObject, Scalar

# --- trials -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSubmitted(Record):
    """A trial was submitted to a dispatcher; ``spec`` is its specification as plain JSON."""

    event: ClassVar[str] = "trial"
    key: str
    spec: SpecRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialLeased(Record):
    """A replica took a trial, for the ``attempt``-th time, under a lease with this epoch."""

    event: ClassVar[str] = "leased"
    key: str
    host: str
    attempt: int
    epoch: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialMetrics(Record):
    """Values that a trial measured after a step; ``time`` is in milliseconds since 1970."""

    event: ClassVar[str] = "metrics"
    key: str
    step: int
    time: int
    values: Mapping[str, float]
    host: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEnded(Record):
    """A trial ended, with its ``result``. Without a host, no replica reported it."""

    event: ClassVar[str] = "ended"
    key: str
    result: ResultRecord
    host: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRefused(Record):
    """The driver could not read the artifacts of a finished trial, which runs again; ``node`` is where it ran."""

    event: ClassVar[str] = "result refused"
    host: str
    key: str
    reason: str
    node: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialActorLost(Record):
    """Tune lost the actor of a trial; the trial goes on."""

    event: ClassVar[str] = "trial actor lost"
    key: str
    error: str


# --- replicas ---------------------------------------------------------------------------------------------------------


class ReplicaRecord(Record):
    """What happened to a replica, whose name is ``host``."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaStarted(ReplicaRecord):
    """A process of a replica has loaded the model, the ``loads``-th of this driver.

    From ``pid`` on it says what the replica told of itself; the fields are those of `ReplicaFacts`.
    """

    event: ClassVar[str] = "replica"
    host: str
    incarnation: int | None = None
    loads: int | None = None
    pid: int | None = None
    node: str | None = None
    node_id: str | None = None
    device: str | None = None
    slots: int | None = None
    model_digest: str | None = None
    shards: Sequence[StageFacts] | None = None
    model_bytes: int | None = None
    load_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaLost(ReplicaRecord):
    """A replica was given up."""

    event: ClassVar[str] = "replica lost"
    host: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaLeft(ReplicaRecord):
    """A replica ended as it should."""

    event: ClassVar[str] = "replica left"
    host: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaRefused(ReplicaRecord):
    """A replica was refused before it was given work; ``nodes`` are the ids of the nodes that are to blame."""

    event: ClassVar[str] = "replica refused"
    host: str
    reason: str
    nodes: Sequence[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsChecked(ReplicaRecord):
    """A replica that ends has checked whether its frozen weights are ``unchanged`` since it loaded them."""

    event: ClassVar[str] = "verified"
    unchanged: bool
    host: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRunLost(ReplicaRecord):
    """The Train run of a replica ended with an error."""

    event: ClassVar[str] = "train run lost"
    host: str
    error: str


# --- mask parallelism -------------------------------------------------------------------------------------------------


class GroupRecord(Record):
    """What happened in the mask-parallel group of the trial ``key``."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerJoined(GroupRecord):
    """A slot of ``host`` follows a trial as the peer ``member``."""

    event: ClassVar[str] = "participant"
    key: str
    member: str
    host: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerLost(GroupRecord):
    """A peer ended with an error; the trial goes on without it."""

    event: ClassVar[str] = "participant lost"
    key: str
    member: str
    reason: str
    host: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupNotice(GroupRecord):
    """A line for a person about the other members of a group."""

    event: ClassVar[str] = "party notice"
    key: str
    notice: str
    host: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupEnded(GroupRecord):
    """The trial of a group ended; its leader exchanged ``exchanged_bytes`` with the coordinator."""

    event: ClassVar[str] = "party ended"
    key: str
    exchanged_bytes: int
    host: str | None = None


# --- launches ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStarted(Record):
    """What the search of a launch starts from: written with its folder, before its first process, and never again.

    The search is told the ``entered`` outcomes of earlier launches, whose configurations are none of its own;
    ``points`` are searched values that are tried first. Nothing of the ``sources`` is looked up again.
    """

    event: ClassVar[str] = "warm start"
    sources: Sequence[WarmSourceRecord]
    entered: Sequence[KnownOutcomeRecord]
    points: Sequence[Mapping[str, Scalar]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchBegan(Record):
    """A process of the launch began; what the run of the launch is recorded with in MLflow."""

    event: ClassVar[str] = "launch began"
    tags: Mapping[str, str]
    params: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationChosen(Record):
    """The search has ended: what is run again on fresh ``seeds``, the best configurations first, then baselines.

    It is in the journal before the first of these trials begins, and no later process chooses again. A launch whose
    study was extended may have several; a trial that two of them name is run once. ``looked_at`` configurations were
    tried, by ``metric``, ``asked`` were to be chosen; fewer are if no more of them finished on all of their seeds.
    ``version`` is that of the study; None is the first.
    """

    event: ClassVar[str] = "confirmation chosen"
    seeds: Sequence[int]
    chosen: Sequence[ChosenRecord]
    metric: str
    asked: int
    looked_at: int
    tags: Mapping[str, str]
    version: int | None = None

    @property
    def of_version(self) -> int:
        """The version of the study, counted from 1."""
        return self.version or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchEnded(Record):
    """A process of the launch ended; ``time`` is in milliseconds since 1970."""

    event: ClassVar[str] = "launch ended"
    status: str
    time: int
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownRecord(Record):
    """An event that this version does not know; ``rest`` holds all of its fields."""

    name: str

    def to_json(self) -> JsonObject:
        """Return the record as it was read."""
        return {"event": self.name, **self.rest}


JournalRecord = (
    TrialSubmitted
    | TrialLeased
    | TrialMetrics
    | TrialEnded
    | ResultRefused
    | TrialActorLost
    | ReplicaStarted
    | ReplicaLost
    | ReplicaLeft
    | ReplicaRefused
    | WeightsChecked
    | TrainRunLost
    | PeerJoined
    | PeerLost
    | GroupNotice
    | GroupEnded
    | WarmStarted
    | LaunchBegan
    | ConfirmationChosen
    | LaunchEnded
    | UnknownRecord
)
_KINDS = {kind.event: kind for kind in get_args(JournalRecord) if kind is not UnknownRecord}


def record_from_json(record: JsonMapping) -> JournalRecord:
    """Return a JSON object with an ``event`` as a record; raises ``ValueError`` if it lacks a field of its event."""
    kind = _KINDS.get(record["event"])
    if kind is None:
        rest = {name: value for name, value in record.items() if name != "event"}
        return UnknownRecord(name=record["event"], rest=rest)
    known: JournalRecord = kind.from_json(record)
    return known


def event_of(record: JournalRecord) -> str:
    """Return the name of a record's event, as it stands in journals."""
    return record.name if isinstance(record, UnknownRecord) else record.event
