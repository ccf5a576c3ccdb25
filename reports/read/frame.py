"""The child runs of a launch as one table: text converted to numbers, statuses corrected."""

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import pandas as pd

from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.histories import restored
from nmlab.trials.contract import run_params, run_tags
from nmlab.trials.contract.metrics import EVAL, INITIAL, initial_name
from nmlab.trials.contract.run_status import FROM_MLFLOW, TrialStatus

Value: TypeAlias = int | float | str

IDENTITY = ("run_id", "trial_key", "configuration", "role", *run_params.IDENTITY)
OUTCOME = (
    "status",
    "recorded_status",
    "reason",
    "notes",
    "initial_mask_digest",
    "git_commit",
    "git_dirty",
    "model_digest",
    "data_digest",
    "versions",
    "tasks",
    "is_external_model",
    "cost_known",
    "depends_on_seed",
)
NUMBER = re.compile(r"[+-]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][+-]?[0-9]+)?")  # 007 is a name
MISSING = ("", "None", "null")


@dataclass(frozen=True, slots=True)
class TrialTable:
    """The rows of a launch, and the names of their columns that are settings or metrics."""

    rows: pd.DataFrame
    settings: tuple[str, ...]
    metrics: tuple[str, ...]


def trial_frame(runs: Sequence[Any], *, histories: pd.DataFrame, objective: str) -> TrialTable:
    """Build the table of child runs.

    Args:
        runs: MLflow runs.
        histories: ``run_id, metric, step, value`` of every ``eval/*`` metric, each curve with its start.
        objective: the searched metric. A run recorded as finished whose value of it is not finite counts as
            diverged, and one that lacks it as failed. Of several runs of one trial key one counts (a finished
            one before others, then the newest); the others get the status ``duplicate``.

    Returns:
        Rows sorted by configuration and seed. Columns: ``run_id trial_key configuration role method pattern
        seed``, ``status recorded_status reason notes initial_mask_digest`` and provenance, every parameter (int
        where all values parse as int, else float, else str), every final metric, and ``initial/*`` for each
        ``eval/*`` metric that a learned mask has before training.

    Raises:
        ReportError: a run lacks a tag that every trial carries.
    """
    rows = pd.DataFrame([_identity(run) for run in runs], columns=[*IDENTITY, *OUTCOME])
    settings = _settings(runs)
    metrics = sorted({name for run in runs for name in run.data.metrics if not name.startswith(INITIAL)})
    columns: dict[str, list[Any]] = {name: typed([_param(run, name) for run in runs]) for name in settings}
    starts = _only_starts(runs, histories)
    columns |= {name: [_last_value(run, name, starts) for run in runs] for name in metrics}
    columns |= _initial_values(rows["run_id"], histories, starts)
    wide = pd.concat([rows, pd.DataFrame(columns, index=rows.index, dtype=object)], axis="columns")
    for name in [*metrics, *(name for name in wide.columns if name.startswith(INITIAL))]:
        wide[name] = wide[name].astype(float)
    wide = _with_checked_status(wide, objective, {run.info.run_id: run.data.metrics for run in runs})
    wide = _with_one_run_per_trial(wide)
    wide = wide.sort_values(["configuration", "seed", "run_id"], ignore_index=True)
    return TrialTable(rows=wide, settings=tuple(settings), metrics=tuple(metrics))


def typed(values: Iterable[str | None]) -> list[Value | None]:
    """Return parameters with the type they had: int where all parse as int, else float, else str.

    Missing values stay None and do not decide the type.
    """
    texts = [None if text is None or text in MISSING else text for text in values]
    present = [text for text in texts if text is not None]
    if not all(NUMBER.fullmatch(text) for text in present):
        return list(texts)
    for kind in (int, float):
        try:
            parsed = [None if text is None else kind(text) for text in texts]
        except ValueError:
            continue
        if present and all(math.isfinite(number) for number in parsed if number is not None):
            return list(parsed)
    return list(texts)


def records_of(rows: pd.DataFrame, *, columns: Sequence[str] | None = None) -> list[dict[Any, Any]]:
    """Return rows as mappings, of all or some columns; it reads by column, which is faster for mixed types."""
    names = rows.columns if columns is None else columns
    values = [rows[name].tolist() for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]


def seed_of(value: object) -> int:
    """Return the seed of a row; a method without seeds has the seed 0."""
    return int(value) if isinstance(value, int | float) and not math.isnan(value) else 0


def tag_json(text: str, *, tag: str, run_id: str) -> dict[str, Any]:
    """Return the JSON object that a tag of a run holds.

    Raises:
        ReportError: it holds something else.
    """
    try:
        value = _loaded(text)
    except json.JSONDecodeError as error:
        raise ReportError(f"tag {tag!r} of run {run_id} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ReportError(f"tag {tag!r} of run {run_id} holds {value!r}; expected a JSON object")
    return value


@cache
def _loaded(text: str) -> Any:
    """Parse JSON once where many runs share the same text."""
    return json.loads(text)


def _identity(run: Any) -> dict[str, Any]:
    tags, params = run.data.tags, run.data.params
    status = _status(run)
    return {
        "run_id": run.info.run_id,
        "trial_key": _tag(run, run_tags.TRIAL_KEY),
        "configuration": _tag(run, run_tags.CONFIGURATION),
        "role": _tag(run, run_tags.ROLE),
        "method": params.get(run_params.METHOD, "unknown"),
        "pattern": params.get(run_params.PATTERN, ""),
        "seed": typed([params.get(run_params.SEED)])[0],
        "status": status,
        "recorded_status": status,
        "reason": tags.get(run_tags.STATUS_REASON, ""),
        "notes": tags.get(run_tags.NOTES, ""),
        "initial_mask_digest": tags.get(run_tags.INITIAL_MASK_DIGEST, ""),
        "git_commit": tags.get(run_tags.GIT_COMMIT, ""),
        "git_dirty": tags.get(run_tags.GIT_DIRTY, run_tags.UNKNOWN),
        "model_digest": tags.get(run_tags.MODEL_DIGEST, ""),
        "data_digest": tags.get(run_tags.DATA_DIGEST, ""),
        "versions": tags.get(run_tags.VERSIONS, "{}"),
        "tasks": tags.get(run_tags.TASKS, "{}"),
        "is_external_model": tags.get(run_tags.JUDGED) == run_tags.TRUE,
        "cost_known": tags.get(run_tags.COST, ""),
        "depends_on_seed": tags.get(run_tags.DEPENDS_ON_SEED, run_tags.UNKNOWN),
    }


def _status(run: Any) -> str:
    return str(run.data.tags.get(run_tags.STATUS, FROM_MLFLOW.get(run.info.status, TrialStatus.RUNNING)))


def _tag(run: Any, name: str) -> str:
    value = run.data.tags.get(name)
    if value is None:
        raise ReportError(f"child run {run.info.run_id} has no tag {name!r}; it was not written by nmlab")
    return str(value)


def _settings(runs: Sequence[Any]) -> list[str]:
    names = {name for run in runs for name in run.data.params} - set(run_params.IDENTITY)
    return sorted(names, key=lambda name: ("." in name, name))


def _param(run: Any, name: str) -> str | None:
    value = run.data.params.get(name)
    return None if value is None else str(value)


def _only_starts(runs: Sequence[Any], histories: pd.DataFrame) -> set[tuple[str, str]]:
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


def _has_start(run: Any, metric: str) -> bool:
    recorded = run.data.metrics
    return _status(run) != TrialStatus.FINISHED and (initial_name(metric) in recorded or "cost/seconds" not in recorded)


def _last_value(run: Any, name: str, starts: set[tuple[str, str]]) -> float:
    """Return the last value of a metric, NaN where only the run's start has one."""
    if name.startswith(EVAL) and (run.info.run_id, name) in starts:
        return math.nan
    return restored(run.data.metrics.get(name, math.nan))


def _initial_values(
    run_ids: "pd.Series[str]", histories: pd.DataFrame, starts: set[tuple[str, str]]
) -> dict[str, list[Any]]:
    """Return the step-0 value of each metric, for runs that also have a later value or only a start."""
    if histories.empty:
        return {}
    last = histories.groupby(["run_id", "metric"])["step"].transform("max")
    places = zip(histories["run_id"], histories["metric"], strict=True)
    is_start = pd.Series([place in starts for place in places], index=histories.index)
    columns = {}
    for metric, part in histories[(histories["step"] == 0) & ((last > 0) | is_start)].groupby("metric"):
        by_run = dict(zip(part["run_id"], part["value"], strict=True))
        columns[initial_name(str(metric))] = [by_run.get(run_id, math.nan) for run_id in run_ids]
    return columns


def _with_checked_status(wide: pd.DataFrame, objective: str, recorded: dict[str, dict[str, float]]) -> pd.DataFrame:
    """Replace the status 'finished' of runs that have no finite value of the searched metric."""
    for index, row in wide[wide["status"] == TrialStatus.FINISHED].iterrows():
        if objective not in recorded[row["run_id"]]:
            wide.loc[index, ["status", "reason"]] = [TrialStatus.FAILED, f"finished without a value of {objective}"]
        elif not math.isfinite(row[objective]):
            wide.loc[index, ["status", "reason"]] = [TrialStatus.DIVERGED, f"{objective} is {row[objective]}"]
    return wide


def _with_one_run_per_trial(wide: pd.DataFrame) -> pd.DataFrame:
    """Keep one run of each trial key and mark the others as duplicates; ``wide`` is in order of start."""
    for _, rows in wide[wide.duplicated("trial_key", keep=False)].groupby("trial_key"):
        finished = rows[rows["status"] == TrialStatus.FINISHED]
        kept = (finished if len(finished) else rows).index[-1]
        others = rows.index.difference([kept])
        wide.loc[others, "status"] = TrialStatus.DUPLICATE
        wide.loc[others, "reason"] = f"same trial as run {wide.loc[kept, 'run_id']}"
    return wide
