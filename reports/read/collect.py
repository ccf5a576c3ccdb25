"""Reads one launch of one study from MLflow into a typed value, the input of tables and figures.

Only MLflow is read, so a report can be built on a machine that has neither torch nor Ray.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pandas as pd

from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.histories import Curves, curves_of, read_histories, with_starts
from nmlab.reports.read.store import RunStore, newest_or_named
from nmlab.reports.read.trials import TrialRecord, TrialTable, Value, trial_records
from nmlab.search_spaces.reading import study_yaml
from nmlab.search_spaces.schema.constraints import Constraint
from nmlab.trials.contract import run_params, run_tags
from nmlab.trials.contract.metrics import EVAL, INITIAL, VALIDATION, initial_name, reported_name
from nmlab.trials.contract.near_names import hint
from nmlab.trials.contract.run_status import TrialStatus
from nmlab.trials.contract.run_tags import Role

if TYPE_CHECKING:
    from mlflow.entities import Run

RESIDUAL = "train/residual"
MOST_CURVES = 300
_CURVES = (EVAL, VALIDATION, INITIAL)


@dataclass(frozen=True, slots=True)
class Objective:
    """The objective of the search, by which configurations are selected: a metric name and ``min`` or ``max``.

    ``constraints`` are limits on other metrics; a configuration of the search that breaks one is never the best.
    """

    metric: str
    mode: str
    constraints: tuple[Constraint, ...] = ()

    @property
    def initial(self) -> str:
        """The column that holds the same metric of a run's own initial mask."""
        return initial_name(self.metric)

    @property
    def reported(self) -> str:
        """The metric by which configurations are reported and compared.

        It is ``eval/x`` where they are selected by ``validation/x``, otherwise the objective itself.
        """
        return reported_name(self.metric)

    @property
    def selects_on_validation(self) -> bool:
        """Whether configurations are selected on another text than they are reported on."""
        return self.metric != self.reported


@dataclass(frozen=True, slots=True)
class LaunchRecord:
    """The parent run: one launch of a study.

    ``planned`` is the number of child runs that were planned, None where it was not recorded; times are UTC.
    """

    run_id: str
    name: str
    status: str
    planned: int | None
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
    """The data of one launch of one study, from which its report is made.

    Attributes:
        trials: one record for each child run, by configuration and seed.
        settings: the names of the parameters that any of them has, hyperparameters first.
        metrics: the names of the final metrics that any of them has, sorted.
        curves: MaskPro's loss residual of up to 300 runs; see :func:`curve_runs`.
        progress: the searched metric at every evaluation of a run, its start included.
        initial_masks: the masks that trials started from, each computed once; they are not trials.
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
    objective = objective_of(record.params)
    children = store.children(experiment_id, parent=record.run_id)
    histories = _evaluations(store, children)
    table = trial_records(children, histories=histories, objective=objective.metric)
    if needs_finished or not table.trials:
        _refuse_without_results(table, objective=objective, where=f"launch {record.name!r} of study {study!r}")
    drawn = curve_runs(table.trials, objective=objective)
    return StudyRuns(
        study=study,
        experiment_id=experiment_id,
        launch=record,
        objective=objective,
        trials=table.trials,
        settings=table.settings,
        metrics=table.metrics,
        curves=curves_of(read_histories(store, run_ids=drawn, metrics=[RESIDUAL])),
        progress=curves_of(histories[histories["metric"] == objective.metric]),
        initial_masks=tuple(map(_initial_mask, store.initial_masks(experiment_id, parent=record.run_id))),
    )


def _evaluations(store: RunStore, children: Sequence["Run"]) -> pd.DataFrame:
    """Read the history of every metric of evaluation and validation text, each with its start."""
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


def objective_of(params: Mapping[str, str]) -> Objective:
    """Return the searched metric of a launch, the first if there are several.

    Raises:
        ReportError: a mode other than ``min`` and ``max``.
    """
    metric = _first(params.get(run_params.SEARCH_METRIC, "eval/perplexity"))
    mode = _first(params.get(run_params.SEARCH_MODE, "min"))
    if mode not in ("min", "max"):
        raise ReportError(f"{run_params.SEARCH_MODE} is {mode!r}; expected 'min' or 'max'")
    return Objective(metric=metric, mode=mode, constraints=_constraints_of(params))


def _constraints_of(params: Mapping[str, str]) -> tuple[Constraint, ...]:
    """Return the constraints of a search from ``search.constraints.METRIC.max`` and ``.min``, by metric."""
    limits: dict[str, dict[str, float]] = {}
    for name, value in sorted(params.items()):
        if name.startswith(run_params.SEARCH_CONSTRAINTS):
            metric, _, end = name.removeprefix(run_params.SEARCH_CONSTRAINTS).rpartition(".")
            limits.setdefault(metric, {})[end] = float(value)
    return tuple(Constraint(metric, max=own.get("max"), min=own.get("min")) for metric, own in limits.items())


def launch_of(parent: "Run", *, position: tuple[int, int]) -> LaunchRecord:
    """Return the launch of a parent run; ``position`` is its number and the number of launches of the study."""
    tags, info = parent.data.tags, parent.info
    planned = tags.get(run_tags.PLANNED)
    return LaunchRecord(
        run_id=info.run_id,
        name=tags.get(run_tags.LAUNCH, info.run_id),
        status=tags.get(run_tags.STATUS, info.status.lower()),
        planned=int(planned) if planned and planned.isdigit() else None,
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


def _refuse_without_results(table: TrialTable, *, objective: Objective, where: str) -> None:
    if not table.trials:
        raise ReportError(f"{where} has no child run yet")
    if any(trial.is_finished for trial in table.trials):
        return
    counts = Counter(str(trial.status) for trial in table.trials)
    ended = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    line = f"{where} has no finished run with {objective.metric!r}: {ended}"
    was_finished = any(trial.recorded_status == TrialStatus.FINISHED for trial in table.trials)
    if was_finished and objective.metric not in table.metrics:
        line += hint(objective.metric, sorted(table.metrics))
    raise ReportError(line)


def _first(text: str) -> str:
    """Return the first name of ``a``, ``a,b`` or ``['a', 'b']``."""
    value = study_yaml.parse(text, source="parameter") if text.startswith("[") else text.split(",")
    return str(value[0]).strip()


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
