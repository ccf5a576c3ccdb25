"""Reads one launch of one study from MLflow into a typed value, the input of tables and figures.

Only MLflow is read, so a report can be built on a machine that has neither torch nor Ray.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pandas as pd

from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.histories import Curves, curves_of, read_histories, with_starts
from nmlab.reports.read.objective import Objective, objective_of
from nmlab.reports.read.store import RunStore, newest_or_named
from nmlab.reports.read.trials import TrialRecord, trial_records
from nmlab.reports.read.typed_text import Value
from nmlab.trials.contract import run_params, run_tags
from nmlab.trials.contract.metrics import EVAL, INITIAL, NEUTRAL, VALIDATION
from nmlab.trials.contract.near_names import hint
from nmlab.trials.contract.run_status import TrialStatus
from nmlab.trials.contract.run_tags import Role

if TYPE_CHECKING:
    from mlflow.entities import Run

RESIDUAL = "train/residual"
MOST_CURVES = 300
_CURVES = (EVAL, VALIDATION, NEUTRAL, INITIAL)


@dataclass(frozen=True, slots=True)
class LaunchRecord:
    """The parent run: one launch of a study.

    ``planned_runs`` is the number of child runs that were planned, None where it was not recorded; times are UTC.
    """

    run_id: str
    name: str
    status: str
    planned_runs: int | None
    started: datetime
    ended: datetime | None
    tags: Mapping[str, str]
    params: Mapping[str, str]
    position: tuple[int, int]

    @property
    def extensions(self) -> tuple[str, ...]:
        """When and what each later version of the study changed, the second version first."""
        versions = range(2, int(self.tags.get(run_tags.STUDY_VERSIONS, "1")) + 1)
        return tuple(self.tags.get(run_tags.extension_tag(version), "not recorded") for version in versions)

    @property
    def search_stopped(self) -> str:
        """Why its search stopped before it had tried everything, and what was not run; "" if it did not."""
        return self.tags.get(run_tags.SEARCH_STOPPED, "")

    @property
    def reproduces(self) -> tuple[str, ...]:
        """The published items that the study reproduces, such as ``maskpro/table-10``."""
        items = (item.strip() for item in self.tags.get(run_tags.REPRODUCES, "").split(","))
        return tuple(item for item in items if item)

    @property
    def fresh_seeds(self) -> int:
        """The number of fresh seeds on which the best of the search run again; 0 if they do not."""
        seeds = self.tags.get(run_tags.CONFIRMATION_SEEDS, "")
        return len(seeds.split(",")) if seeds else 0


@dataclass(frozen=True, slots=True)
class InitialMaskRecord:
    """A mask that trials of a launch started from: its method, pattern, seed and metrics such as ``cost/*``."""

    run_id: str
    digest: str
    method: str
    pattern: str
    seed: str
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class StudyRuns:
    """The data of one launch of one study, or of several pooled as one, from which a report is made.

    Attributes:
        trials: one record for each child run, by configuration and seed.
        settings: the names of the parameters that any of them has, hyperparameters first.
        metrics: the names of the final metrics that any of them has, sorted.
        curves: MaskPro's loss residual of up to 300 runs; see :func:`curve_runs`.
        progress: the searched metric at every evaluation of a run, its start included.
        initial_masks: the masks that trials started from, each computed once; they are not trials.
        pooled: the launches that are pooled, oldest first; empty for one.
        expected: of pooled launches, how many runs a configuration should have, by its key and whether they confirm it.
        launch_of_run: of pooled launches, the launch of each run.
    """

    study: str
    experiment_id: str
    launch: LaunchRecord
    objective: Objective
    trials: tuple[TrialRecord, ...]
    settings: tuple[str, ...]
    metrics: tuple[str, ...]
    curves: Curves
    progress: Curves
    initial_masks: tuple[InitialMaskRecord, ...] = ()
    pooled: tuple[LaunchRecord, ...] = ()
    expected: Mapping[tuple[str, bool], int] = field(default_factory=dict)
    launch_of_run: Mapping[str, str] = field(default_factory=dict)

    @property
    def launches(self) -> tuple[LaunchRecord, ...]:
        """The launches whose runs these are."""
        return self.pooled or (self.launch,)

    def count(self, status: str) -> int:
        """Return how many of the launch's own runs ended with this status."""
        return sum(trial.status == status and not trial.is_external_model for trial in self.trials)

    def started_from(self, mask: InitialMaskRecord) -> tuple[str, ...]:
        """Return the runs that started from a mask."""
        return tuple(trial.run_id for trial in self.trials if mask.digest in trial.initial_mask_digest.split(","))

    @property
    def fresh_seeds(self) -> int:
        """The number of fresh seeds on which the best of the search run again; 0 if they do not."""
        return self.launch.fresh_seeds

    @property
    def recorded(self) -> int:
        """The launch's own runs, each trial counted once."""
        return len(self.trials) - self.external_models - self.count(TrialStatus.DUPLICATE)

    @property
    def external_models(self) -> int:
        """How many external models (made elsewhere, evaluated like this study) joined the table."""
        return sum(trial.is_external_model for trial in self.trials)

    @property
    def pruned(self) -> int:
        """How many runs the search stopped because others did better."""
        return sum(trial.is_pruned for trial in self.trials)


def collect(store: RunStore, *, study: str, launch: str | None = None, needs_finished: bool = True) -> StudyRuns:
    """Read one launch of a study.

    Args:
        store: an opened store.
        study: the study's name, which is its MLflow experiment.
        launch: the launch's name or parent run id; the newest by default.
        needs_finished: refuse a launch whose runs have ended, none of them finished.

    Raises:
        ReportError: unknown study or launch, no finished run, or no finished run with the searched metric.
    """
    experiment_id = store.experiment_id(study)
    launches = store.launches(experiment_id)
    parent = newest_or_named(launches, name=launch, study=study)
    record = launch_of(parent, position=(len(launches) - launches.index(parent), len(launches)))
    runs = read_runs(store, study=study, experiment_id=experiment_id, launch=record, parents=[record.run_id])
    if needs_finished or not runs.trials:
        refuse_without_results(runs, where=f"launch {record.name!r} of study {study!r}")
    return runs


def read_runs(
    store: RunStore, *, study: str, experiment_id: str, launch: LaunchRecord, parents: Sequence[str]
) -> StudyRuns:
    """Read the child runs of a launch, or of several that are pooled as one; ``parents`` are their parent runs.

    Raises:
        ReportError: a run lacks a tag that every trial carries, or the store can't be read.
    """
    objective = objective_of(launch.params)
    children = [run for parent in parents for run in store.children(experiment_id, parent=parent)]
    children.sort(key=lambda run: (run.info.start_time, run.info.run_id))
    histories = _evaluations(store, children)
    table = trial_records(children, histories=histories, objective=objective.metric)
    drawn = curve_runs(table.trials, objective=objective)
    starts = [run for parent in parents for run in store.initial_masks(experiment_id, parent=parent)]
    return StudyRuns(
        study=study,
        experiment_id=experiment_id,
        launch=launch,
        objective=objective,
        trials=table.trials,
        settings=table.settings,
        metrics=table.metrics,
        curves=curves_of(read_histories(store, run_ids=drawn, metrics=[RESIDUAL])),
        progress=curves_of(histories[histories["metric"] == objective.metric]),
        initial_masks=tuple(map(_initial_mask, starts)),
    )


def _evaluations(store: RunStore, children: Sequence["Run"]) -> pd.DataFrame:
    """Read the history of every metric of evaluation, validation and neutral texts, each with its start."""
    evaluated = sorted({name for run in children for name in run.data.metrics if name.startswith(_CURVES)})
    return with_starts(read_histories(store, run_ids=[run.info.run_id for run in children], metrics=evaluated))


def curve_runs(trials: Sequence[TrialRecord], *, objective: Objective, most: int = MOST_CURVES) -> list[str]:
    """Return the runs whose residuals are read: all of a small study, else some configurations with all their seeds.

    These are the best of each method, pattern and estimator (of MaskPro), and configurations at even distances in the
    order of the searched metric, so that the figures show good and bad ones.
    """
    kept = [trial for trial in trials if _is_of_the_search(trial)]
    if len(kept) <= most or not any(objective.metric in trial.metrics for trial in trials):
        return [trial.run_id for trial in trials]
    order = _best_first(kept, objective)
    first = {trial.configuration: trial for trial in reversed(kept)}
    leaders = {_kind(first[key]): key for key in reversed(order)}
    per_configuration = max(1, round(len(kept) / len(order)))
    spread = order[:: max(1, len(order) * per_configuration // most)]
    best = order[: max(1, most // (8 * per_configuration))]
    chosen = {*leaders.values(), *best, *spread}
    return [trial.run_id for trial in kept if trial.configuration in chosen]


def _is_of_the_search(trial: TrialRecord) -> bool:
    return trial.status != TrialStatus.DUPLICATE and trial.role == Role.SEARCH and not trial.is_confirmation


def _best_first(trials: Sequence[TrialRecord], objective: Objective) -> list[str]:
    """Return the configurations by the mean of the searched metric, those without a value last."""
    values: dict[str, list[float]] = {}
    for trial in trials:
        own = values.setdefault(trial.configuration, [])
        if objective.metric in trial.metrics:
            own.append(trial.metrics[objective.metric])
    sign = 1.0 if objective.mode == "min" else -1.0
    means = {key: sign * math.fsum(own) / len(own) if own else math.inf for key, own in values.items()}
    return sorted(means, key=lambda key: (not values[key], means[key]))


def _kind(trial: TrialRecord) -> tuple[str, str, Value | None]:
    return trial.method, trial.pattern, trial.settings.get("estimator")


def launch_of(parent: "Run", *, position: tuple[int, int]) -> LaunchRecord:
    """Return the launch of a parent run; ``position`` is its number and the number of launches of the study."""
    tags, info = parent.data.tags, parent.info
    recorded = tags.get(run_tags.PLANNED)
    return LaunchRecord(
        run_id=info.run_id,
        name=tags.get(run_tags.LAUNCH, info.run_id),
        status=tags.get(run_tags.STATUS, info.status.lower()),
        planned_runs=int(recorded) if recorded and recorded.isdigit() else None,
        started=_moment(info.start_time),
        ended=_moment(info.end_time) if info.end_time else None,
        tags=dict(tags),
        params=run_params.newest_params(parent.data.params, tags=tags),
        position=position,
    )


def _initial_mask(run: "Run") -> InitialMaskRecord:
    tags, params = run.data.tags, run.data.params
    return InitialMaskRecord(
        run_id=run.info.run_id,
        digest=tags.get(run_tags.INITIAL_MASK_DIGEST, ""),
        method=params.get(run_params.METHOD, "unknown"),
        pattern=params.get(run_params.PATTERN, ""),
        seed=params.get(run_params.SEED, ""),
        metrics=dict(run.data.metrics),
    )


def refuse_without_results(runs: StudyRuns, *, where: str) -> None:
    """Refuse runs of which none finished; ``where`` says whose they are.

    Raises:
        ReportError: with how they ended.
    """
    objective = runs.objective
    if not runs.trials:
        raise ReportError(f"{where} has no child run yet")
    if any(trial.is_finished for trial in runs.trials):
        return
    counts = Counter(str(trial.status) for trial in runs.trials)
    ended = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    line = f"{where} has no finished run with {objective.metric!r}: {ended}"
    was_finished = any(trial.recorded_status == TrialStatus.FINISHED for trial in runs.trials)
    if was_finished and objective.metric not in runs.metrics:
        line += hint(objective.metric, sorted(runs.metrics))
    raise ReportError(line)


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
