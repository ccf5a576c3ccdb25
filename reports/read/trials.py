"""The child runs of a launch as records: parameters with their types, statuses corrected, starts told from results."""

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pandas as pd

from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.histories import restored
from nmlab.reports.read.typed_text import Value, typed
from nmlab.trials.contract import run_params, run_tags
from nmlab.trials.contract.metrics import EVAL, INITIAL, OBJECTIVE, VALIDATION, initial_name, reported_name
from nmlab.trials.contract.run_status import FROM_MLFLOW, STOPPED_EARLY, TrialStatus

if TYPE_CHECKING:
    from mlflow.entities import Run


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One child run of a launch: one configuration with one seed.

    Attributes:
        seed: None for a method without seeds.
        status: how the run counts; see :func:`trial_records`.
        recorded_status: the status that was recorded.
        initial_mask_digest: digests of the masks that it started from, separated by commas.
        neutral_digests: JSON of the digests of neutral texts, by name.
        versions: JSON of the packages' versions.
        tasks: JSON of the facts of its evaluation on tasks.
        is_external_model: whether a model made elsewhere was evaluated, so that it belongs to no search.
        is_confirmation: whether its seed took no part in the search.
        settings: its parameters that have a value, hyperparameters first.
        metrics: the last value of each metric, infinities included, NaN left out; ``initial/*`` for each ``eval/*``
            metric that a learned mask has before training, or ``validation/*`` metric where the study has that text,
            and ``initial/neutral/*`` for each ``neutral/*`` metric.
    """

    run_id: str
    trial_key: str
    configuration: str
    role: str
    method: str
    pattern: str
    seed: int | None
    status: str
    recorded_status: str = ""
    reason: str = ""
    notes: str = ""
    initial_mask_digest: str = ""
    git_commit: str = ""
    git_dirty: str = run_tags.UNKNOWN
    model_digest: str = ""
    data_digest: str = ""
    neutral_digests: str = "{}"
    versions: str = "{}"
    tasks: str = "{}"
    is_external_model: bool = False
    is_confirmation: bool = False
    cost_known: str = ""
    depends_on_seed: str = run_tags.UNKNOWN
    settings: Mapping[str, Value] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)

    def metric(self, name: str) -> float:
        """Return the last value of a metric; NaN where the run has none."""
        return self.metrics.get(name, math.nan)

    @property
    def is_finished(self) -> bool:
        """Whether it ran to the end with a finite value of the searched metric."""
        return self.status == TrialStatus.FINISHED

    @property
    def is_pruned(self) -> bool:
        """Whether the search stopped it because others did better."""
        is_stopped = self.status == TrialStatus.STOPPED and self.reason.startswith(STOPPED_EARLY)
        return self.status == TrialStatus.PRUNED or is_stopped

    @property
    def is_validated(self) -> bool:
        """Whether it was measured on validation text, and with it the mask that it started from."""
        return any(name.startswith(VALIDATION) for name in self.metrics)

    @property
    def paired_by(self) -> int:
        """The seed by which runs of two configurations are paired; 0 for a method without seeds."""
        return 0 if self.seed is None else self.seed


@dataclass(frozen=True, slots=True)
class TrialTable:
    """The records of a launch, and the names of the settings and metrics that any of them has."""

    trials: tuple[TrialRecord, ...]
    settings: tuple[str, ...]
    metrics: tuple[str, ...]


def trial_records(runs: Sequence["Run"], *, histories: pd.DataFrame, objective: str) -> TrialTable:
    """Return the child runs of a launch, by configuration and seed.

    A setting is an int where all runs have one, else a float, else text.

    Args:
        runs: MLflow runs, in order of start.
        histories: ``run_id, metric, step, value`` of every ``eval/*`` and ``validation/*`` metric, each with its start.
        objective: the searched metric. A run recorded as finished whose value of it, or of the metric that reports it,
            is not finite counts as diverged, and one that lacks it as failed; an external model has the latter alone.
            Of several runs of one trial key one counts (a finished one before others, then the newest); the others get
            the status ``duplicate``.

    Raises:
        ReportError: a run lacks a tag that every trial carries.
    """
    names = _setting_names(runs)
    columns = {name: typed([run.data.params.get(name) for run in runs]) for name in names}
    starts = _only_starts(runs, histories)
    initial = _initial_values(histories, starts)
    found = []
    for place, run in enumerate(runs):
        present = {name: value for name in names if (value := columns[name][place]) is not None}
        own = {**_last_values(run, starts), **initial.get(run.info.run_id, {})}
        record = replace(_record(run), settings=present, metrics=_without_nan(own))
        found.append(_with_checked_status(record, objective, recorded=run.data.metrics))
    ordered = sorted(_with_one_run_per_trial(found), key=_order)
    measured = {name for run in runs for name in run.data.metrics if not name.startswith(INITIAL)} - {OBJECTIVE}
    return TrialTable(tuple(ordered), tuple(names), tuple(sorted(measured)))


def _record(run: "Run") -> TrialRecord:
    """Return a run without its settings and metrics."""
    tags, params = run.data.tags, run.data.params
    status = _status(run)
    return TrialRecord(
        run_id=run.info.run_id,
        trial_key=_tag(run, run_tags.TRIAL_KEY),
        configuration=_tag(run, run_tags.CONFIGURATION),
        role=_tag(run, run_tags.ROLE),
        method=params.get(run_params.METHOD, "unknown"),
        pattern=params.get(run_params.PATTERN, ""),
        seed=_seed(params.get(run_params.SEED)),
        status=status,
        recorded_status=status,
        reason=tags.get(run_tags.STATUS_REASON, ""),
        notes=tags.get(run_tags.NOTES, ""),
        initial_mask_digest=tags.get(run_tags.INITIAL_MASK_DIGEST, ""),
        git_commit=tags.get(run_tags.GIT_COMMIT, ""),
        git_dirty=tags.get(run_tags.GIT_DIRTY, run_tags.UNKNOWN),
        model_digest=tags.get(run_tags.MODEL_DIGEST, ""),
        data_digest=tags.get(run_tags.DATA_DIGEST, ""),
        neutral_digests=tags.get(run_tags.NEUTRAL_DIGESTS, "{}"),
        versions=tags.get(run_tags.VERSIONS, "{}"),
        tasks=tags.get(run_tags.TASKS, "{}"),
        is_external_model=tags.get(run_tags.JUDGED) == run_tags.TRUE,
        is_confirmation=tags.get(run_tags.CONFIRMATION) == run_tags.TRUE,
        cost_known=tags.get(run_tags.COST, ""),
        depends_on_seed=tags.get(run_tags.DEPENDS_ON_SEED, run_tags.UNKNOWN),
    )


def _status(run: "Run") -> str:
    return str(run.data.tags.get(run_tags.STATUS, FROM_MLFLOW.get(run.info.status, TrialStatus.RUNNING)))


def _tag(run: "Run", name: str) -> str:
    value = run.data.tags.get(name)
    if value is None:
        raise ReportError(f"child run {run.info.run_id} has no tag {name!r}; it was not written by nmlab")
    return value


def _seed(text: str | None) -> int | None:
    (value,) = typed([text])
    return None if value is None or isinstance(value, str) else int(value)


def _setting_names(runs: Sequence["Run"]) -> list[str]:
    """Return the names of all settings, hyperparameters before the sections of a study."""
    names = {name for run in runs for name in run.data.params} - set(run_params.IDENTITY)
    return sorted(names, key=lambda name: ("." in name, name))


def _only_starts(runs: Sequence["Run"], histories: pd.DataFrame) -> set[tuple[str, str]]:
    """Return run and metric where the only evaluation recorded under ``eval/*`` is that of the start.

    Runs of earlier versions recorded their start this way. A later evaluation has another step, or, for a method
    without steps, comes with a recorded cost.
    """
    if histories.empty:
        return set()
    last = histories.groupby(["run_id", "metric"])["step"].max()
    at_zero = {(str(run_id), str(metric)) for run_id, metric in last[last == 0].index}
    by_id = {run.info.run_id: run for run in runs}
    return {(run_id, metric) for run_id, metric in at_zero if run_id in by_id and _has_start(by_id[run_id], metric)}


def _has_start(run: "Run", metric: str) -> bool:
    recorded = run.data.metrics
    return _status(run) != TrialStatus.FINISHED and (initial_name(metric) in recorded or "cost/seconds" not in recorded)


def _last_values(run: "Run", starts: set[tuple[str, str]]) -> dict[str, float]:
    """Return the last value of each metric, without those of which only the run's start has one."""
    return {
        name: restored(value)
        for name, value in run.data.metrics.items()
        if not name.startswith(INITIAL)
        and name != OBJECTIVE
        and not (name.startswith((EVAL, VALIDATION)) and (run.info.run_id, name) in starts)
    }


def _initial_values(histories: pd.DataFrame, starts: set[tuple[str, str]]) -> dict[str, dict[str, float]]:
    """Return by run the step-0 value of each metric, for runs that also have a later value or only a start."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    if histories.empty:
        return found
    last = histories.groupby(["run_id", "metric"])["step"].transform("max")
    at_zero = histories.assign(last=last)[histories["step"] == 0]
    columns = (at_zero[name].tolist() for name in ("run_id", "metric", "value", "last"))
    for run_id, metric, value, last_step in zip(*columns, strict=True):
        if last_step > 0 or (run_id, metric) in starts:
            found[run_id][initial_name(metric)] = float(value)
    return found


def _without_nan(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not math.isnan(value)}


def _with_checked_status(record: TrialRecord, objective: str, *, recorded: Collection[str]) -> TrialRecord:
    """Replace the status 'finished' of a run that has no finite value of a metric that it needs."""
    needed = {reported_name(objective)} if record.is_external_model else {objective, reported_name(objective)}
    if not record.is_finished:
        return record
    for name in sorted(needed, key=lambda name: name != objective):
        if name not in recorded:
            return replace(record, status=TrialStatus.FAILED, reason=f"finished without a value of {name}")
        value = record.metric(name)
        if not math.isfinite(value):
            return replace(record, status=TrialStatus.DIVERGED, reason=f"{name} is {value}")
    return record


def _with_one_run_per_trial(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Keep one run of each trial key and mark the others as duplicates; the records are in order of start."""
    by_key: dict[str, list[TrialRecord]] = defaultdict(list)
    for record in records:
        by_key[record.trial_key].append(record)
    kept = {key: ([item for item in same if item.is_finished] or same)[-1] for key, same in by_key.items()}
    return [_or_duplicate(record, of=kept[record.trial_key]) for record in records]


def _or_duplicate(record: TrialRecord, *, of: TrialRecord) -> TrialRecord:
    if record is of:
        return record
    return replace(record, status=TrialStatus.DUPLICATE, reason=f"same trial as run {of.run_id}")


def _order(record: TrialRecord) -> tuple[str, float, str]:
    return (record.configuration, math.inf if record.seed is None else record.seed, record.run_id)
