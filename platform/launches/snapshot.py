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
    confirmation: NotRequired[bool]
    """True for a trial that confirms the search; absent otherwise."""
    limited: NotRequired[Mapping[str, float]]
    """The metrics that constraints of the search are on; absent without constraints."""
    method: NotRequired[str]
    settings: NotRequired[Mapping[str, str]]
    """What tells its configuration from others of its method and pattern; earlier versions wrote neither of the two."""
    seconds: NotRequired[float]
    """What it took, once it has ended."""


class FreshRecord(TypedDict):
    """How far the runs of a configuration on fresh seeds are: the fields of an ``OnFreshSeeds``."""

    metric: str
    planned: int
    ended: int
    finished: int
    mean: float | None


class StandingRecord(TypedDict):
    """The fields of a ``Standing``; those of a confirmation are left out where there is none."""

    pattern: str
    label: str
    mean: float | None
    seeds: int
    baseline: str
    baseline_mean: float | None
    looked_at: NotRequired[int]
    fresh: NotRequired[FreshRecord]
    baseline_fresh: NotRequired[FreshRecord]
    infeasible: NotRequired[int]


class ConfirmationSnapshot(TypedDict):
    """How the confirmation of a search stands."""

    seeds: Sequence[int]
    planned: int
    """Trials; before they are chosen, as many as there may be."""
    ended: int
    is_chosen: bool
    configurations: int
    """How many configurations of the search were chosen."""
    baselines: int
    asked: int
    """Configurations that were to be chosen; more than were, if no more of them finished on all seeds."""


class LeastTimeLeft(TypedDict):
    """The time left as a lower bound: the fields of a ``TimeLeft``."""

    seconds: float
    unmeasured: Sequence[str]


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
    """None as long as not every method that has work left is measured."""
    eta_at_least: NotRequired[LeastTimeLeft]
    """Where some methods are measured and others are not; absent otherwise."""
    model_loads: int
    trouble: Mapping[str, str]
    """Why records do not reach a place, or a node is not used: place -> one line."""
    replicas: Mapping[str, ReplicaSnapshot]
    best: NotRequired[Sequence[StandingRecord]]
    confirmation: NotRequired[ConfirmationSnapshot]
    """Absent where the study asks for none."""
    search_stopped: NotRequired[str]
    """Why the search stopped before it had tried everything, and what was not run; absent if it did not."""
    trials: Mapping[str, TrialSnapshot]


class StoredSnapshot(Snapshot):
    """A snapshot as it is read from the disk."""

    written: float
    pid: int
    machine: str
    alive: NotRequired[bool]
    """Whether the process that wrote it runs; found out when it is read."""
