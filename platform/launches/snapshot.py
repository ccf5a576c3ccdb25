"""The snapshot of a launch as plain JSON: what ``status.json`` holds, and what the views and `nmlab status` are given.

The names are kept: programs read them with ``nmlab status --json``.
"""

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

from nmlab.platform.records.payloads import ReplicaFacts


class ReplicaSnapshot(ReplicaFacts, total=False):
    """A replica with its facts; one that was refused has told none."""

    state: str
    """``ready``, ``lost``, ``done`` or ``refused``."""
    loads: int
    incarnation: int
    reason: str


class TrialSnapshot(TypedDict):
    """A trial: the fields of a ``TrialLine``."""

    label: str
    seed: int
    steps: int
    configuration: str
    pattern: str
    role: str
    replicates: int
    status: str
    step: int
    host: str
    loss: float | None
    initial: float | None
    perplexity: float | None
    """The objective, whichever it is."""
    reason: str
    ended: bool


class StandingRecord(TypedDict):
    """The fields of a ``Standing``."""

    pattern: str
    label: str
    mean: float | None
    seeds: int
    baseline: str
    baseline_mean: float | None


class Snapshot(TypedDict):
    """A launch at one moment."""

    study: str
    launch: str
    phase: str
    metric: str
    mode: str
    planned: int
    ended: int
    counts: Mapping[str, int]
    elapsed_seconds: float
    eta_seconds: float | None
    model_loads: int
    trouble: Mapping[str, str]
    """Why records do not reach a place, or a node is not used: place -> one line."""
    replicas: Mapping[str, ReplicaSnapshot]
    best: NotRequired[Sequence[StandingRecord]]
    trials: Mapping[str, TrialSnapshot]


class StoredSnapshot(Snapshot):
    """A snapshot as it is read from the disk."""

    written: float
    pid: int
    machine: str
    alive: NotRequired[bool]
    """Whether the process that wrote it runs; found out when it is read."""
