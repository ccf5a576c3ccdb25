"""What records carry as plain JSON: the specification of a trial, its result, what a replica tells of itself.

The names are those of the journal and are kept. A record of an earlier version may lack what is not required here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, NotRequired, TypedDict, cast

from nmlab.trials.contract.values import JsonMapping, Scalar
from nmlab.trials.files.file_digest import FileDescription

if TYPE_CHECKING:
    from nmlab.trials.trial.outcome import TrialResult

SpecRecord = JsonMapping
"""A ``TrialSpec`` as plain JSON; read it with ``TrialSpec.from_record``, which knows the earlier spellings."""


class Point(TypedDict):
    """What a trial measured after a step; ``time`` is in milliseconds since 1970."""

    step: int
    time: int
    values: Mapping[str, float]


InitialMaskRecord = JsonMapping
"""The record of a ``SharedMask`` as plain JSON: what the mask is, was made from and cost, and the key of its file."""


class ResultRecord(TypedDict):
    """The fields of a ``TrialResult``, and what the driver adds to it before it counts (`launches/trial_ends.py`)."""

    key: str
    status: str
    step: int
    metrics: Mapping[str, float]
    reason: str
    artifacts: NotRequired[Sequence[str]]
    files: NotRequired[Mapping[str, FileDescription]]
    model_digest: NotRequired[str]
    notes: NotRequired[Sequence[str]]
    initial_masks: NotRequired[Mapping[str, InitialMaskRecord]]
    facts: NotRequired[Mapping[str, str]]
    resumable: NotRequired[bool]
    """Whether a resumed launch continues the trial: it was stopped, and not because its configuration fell behind."""


FlatResult = JsonMapping
"""A result with its metrics beside its other fields, as Tune reports it."""


class ChosenRecord(TypedDict):
    """A configuration that is run on fresh seeds: one of the best of the search, or a baseline."""

    configuration: str
    role: str
    """A ``Role``."""
    mean: NotRequired[float]
    """The mean of the objective over the seeds of the search; a baseline is not chosen by it and has none here."""
    spec: SpecRecord
    """Its first trial; the others differ from it in the seed alone."""


class KnownOutcomeRecord(TypedDict):
    """The outcome of a configuration of an earlier launch, which a search is told before it begins."""

    launch: str
    configuration: str
    """Its digest."""
    seeds: Sequence[int]
    """Over which the outcome is: those of the earlier search."""
    settings: Mapping[str, Scalar]
    """Every value, with the defaults of its method, so that it can be placed in any space."""
    values: NotRequired[Sequence[float]]
    """The objectives; absent where it was stopped early, or has none."""
    pruned: NotRequired[bool]
    intermediate: NotRequired[Mapping[str, float]]
    """The first objective by step."""
    constraints: NotRequired[Mapping[str, float]]
    """By how much it breaks each constraint of the search that it enters."""


class WarmSourceRecord(TypedDict):
    """An earlier launch from which a search starts: its study and name, and in a line what of it is used."""

    study: str
    launch: str
    line: str


class StageFacts(TypedDict):
    """One worker of a replica: its process, and the bytes and prunable layers that it holds."""

    pid: int
    bytes: int
    layers: int


class Proof(TypedDict):
    """What a process shows of the launch's folder and of its code (`cluster/proof.py`), and on which node it is."""

    nonce: str
    folder: str
    code: str
    python: str
    nmlab: str
    torch: str
    transformers: str
    missing: Sequence[str]
    node: NotRequired[str]
    node_id: NotRequired[str]


class ReplicaFacts(TypedDict, total=False):
    """What a replica tells of itself when it introduces itself."""

    pid: int
    node: str
    """The address of its node."""
    node_id: str
    device: str
    slots: int
    model_digest: str
    model_bytes: int
    shards: Sequence[StageFacts]
    """Its pipeline stages; journals have called them shards from the beginning."""
    load_seconds: float
    proofs: Sequence[Proof]
    """What its workers show of the launch's folder and their code; not recorded."""


def result_record(result: "TrialResult") -> ResultRecord:
    """Return a result as plain JSON."""
    return cast(ResultRecord, asdict(result))
