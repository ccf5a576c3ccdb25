"""Reads one launch of one study from MLflow into a typed value, the input of tables and figures.

Only MLflow is read, so a report can be built on a machine that has neither torch nor Ray.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.frame import trial_frame
from nmlab.reports.read.histories import read_histories, with_starts
from nmlab.reports.read.store import RunStore, newest_or_named
from nmlab.search_spaces.reading import study_yaml
from nmlab.trials.contract import run_params, run_tags
from nmlab.trials.contract.metrics import EVAL, INITIAL, initial_name
from nmlab.trials.contract.near_names import hint
from nmlab.trials.contract.run_status import TrialStatus
from nmlab.trials.contract.run_tags import Role

RESIDUAL = "train/residual"
MOST_CURVES = 300


@dataclass(frozen=True, slots=True)
class Objective:
    """The objective of the search: a metric name and ``min`` or ``max``."""

    metric: str
    mode: str

    @property
    def initial(self) -> str:
        """The column that holds the same metric of a run's own initial mask."""
        return initial_name(self.metric)


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
    def reproduces(self) -> tuple[str, ...]:
        """The published items that the study reproduces, such as ``maskpro/table-10``."""
        items = (item.strip() for item in self.tags.get(run_tags.REPRODUCES, "").split(","))
        return tuple(item for item in items if item)


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
        trials: one row per child run; see :func:`nmlab.reports.read.frame.trial_frame` for the columns.
        settings: the columns of ``trials`` that are parameters of the runs, hyperparameters first.
        metrics: the columns of ``trials`` that are final metrics, sorted.
        curves: ``run_id, metric, step, value`` of MaskPro's loss residual, of up to 300 runs; see :func:`curve_runs`.
        progress: the same of the searched metric at every evaluation of a run, its start included.
        initial_masks: the masks that trials started from, each computed once; they are not trials.
    """

    study: str
    experiment_id: str
    launch: LaunchRecord
    objective: Objective
    trials: pd.DataFrame
    settings: tuple[str, ...]
    metrics: tuple[str, ...]
    curves: pd.DataFrame
    progress: pd.DataFrame
    initial_masks: tuple[InitialMaskRecord, ...] = ()

    def count(self, status: str) -> int:
        """Return how many of the launch's own runs ended with this status."""
        return int(((self.trials["status"] == status) & ~self.trials["is_external_model"].astype(bool)).sum())

    def started_from(self, mask: InitialMaskRecord) -> tuple[str, ...]:
        """Return the runs that started from a mask."""
        rows = self.trials[[mask.digest in text.split(",") for text in self.trials["initial_mask_digest"]]]
        return tuple(rows["run_id"])

    @property
    def recorded(self) -> int:
        """The launch's own runs, each trial counted once."""
        return len(self.trials) - self.external_models - self.count(TrialStatus.DUPLICATE)

    @property
    def external_models(self) -> int:
        """How many external models (made elsewhere, evaluated like this study) joined the table."""
        return int(self.trials["is_external_model"].sum())


def collect(store: RunStore, *, study: str, launch: str | None = None) -> StudyRuns:
    """Read one launch of a study.

    Args:
        store: an opened store.
        study: the study's name, which is its MLflow experiment.
        launch: the launch's name or parent run id; the newest by default.

    Raises:
        ReportError: unknown study or launch, no finished run, or no finished run with the searched metric.
    """
    experiment_id = store.experiment_id(study)
    launches = store.launches(experiment_id)
    parent = newest_or_named(launches, name=launch, study=study)
    position = (len(launches) - launches.index(parent), len(launches))
    children = store.children(experiment_id, parent=parent.info.run_id)
    objective = objective_of(parent.data.params)
    run_ids = [run.info.run_id for run in children]
    evaluated = sorted({name for run in children for name in run.data.metrics if name.startswith((EVAL, INITIAL))})
    histories = with_starts(read_histories(store, run_ids=run_ids, metrics=evaluated))
    table = trial_frame(children, histories=histories, objective=objective.metric)
    _refuse_without_results(table.rows, table.metrics, objective, parent, study)
    return StudyRuns(
        study=study,
        experiment_id=experiment_id,
        launch=launch_of(parent, position=position),
        objective=objective,
        trials=table.rows,
        settings=table.settings,
        metrics=table.metrics,
        curves=read_histories(store, run_ids=curve_runs(table.rows, objective=objective), metrics=[RESIDUAL]),
        progress=histories[histories["metric"] == objective.metric].reset_index(drop=True),
        initial_masks=tuple(map(_initial_mask, store.initial_masks(experiment_id, parent=parent.info.run_id))),
    )


def curve_runs(rows: pd.DataFrame, *, objective: Objective, most: int = MOST_CURVES) -> list[str]:
    """Return the runs whose residuals are read: all of a small study, else some configurations with all their seeds.

    These are the best of each method, pattern and estimator (of MaskPro), and configurations at even distances in the
    order of the searched metric, so that the figures show good and bad ones.
    """
    kept = rows[(rows["status"] != TrialStatus.DUPLICATE) & (rows["role"] == Role.SEARCH)]
    if len(kept) <= most or objective.metric not in kept:
        return list(rows["run_id"])
    means = kept.groupby("configuration")[objective.metric].mean()
    order = list(means.sort_values(ascending=objective.mode == "min", na_position="last").index)
    apart = [name for name in (run_params.METHOD, run_params.PATTERN, "estimator") if name in kept]
    first = kept.drop_duplicates("configuration").set_index("configuration").loc[order].groupby(apart, dropna=False)
    leaders = [str(key) for key in first.apply(lambda part: part.index[0])]
    per_configuration = max(1, round(len(kept) / len(order)))
    spread = order[:: max(1, len(order) * per_configuration // most)]
    best = order[: max(1, most // (8 * per_configuration))]
    chosen = list(dict.fromkeys([*leaders, *best, *spread]))
    return list(kept[kept["configuration"].isin(chosen)]["run_id"])


def objective_of(params: Mapping[str, str]) -> Objective:
    """Return the searched metric of a launch, the first if there are several.

    Raises:
        ReportError: a mode other than ``min`` and ``max``.
    """
    metric = _first(params.get(run_params.SEARCH_METRIC, "eval/perplexity"))
    mode = _first(params.get(run_params.SEARCH_MODE, "min"))
    if mode not in ("min", "max"):
        raise ReportError(f"{run_params.SEARCH_MODE} is {mode!r}; expected 'min' or 'max'")
    return Objective(metric=metric, mode=mode)


def launch_of(parent: Any, *, position: tuple[int, int]) -> LaunchRecord:
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
        params=dict(parent.data.params),
        position=position,
    )


def _initial_mask(run: Any) -> InitialMaskRecord:
    tags, params = run.data.tags, run.data.params
    return InitialMaskRecord(
        run_id=run.info.run_id,
        digest=tags.get(run_tags.INITIAL_MASK_DIGEST, ""),
        method=params.get(run_params.METHOD, "unknown"),
        pattern=params.get(run_params.PATTERN, ""),
        seed=params.get(run_params.SEED, ""),
        metrics=dict(run.data.metrics),
    )


def _refuse_without_results(
    trials: pd.DataFrame, metrics: tuple[str, ...], objective: Objective, parent: Any, study: str
) -> None:
    name = parent.data.tags.get(run_tags.LAUNCH, parent.info.run_id)
    if trials.empty:
        raise ReportError(f"launch {name!r} of study {study!r} has no child run yet")
    if (trials["status"] == TrialStatus.FINISHED).any():
        return
    counts = trials["status"].value_counts().sort_index()
    ended = ", ".join(f"{count} {status}" for status, count in counts.items())
    line = f"launch {name!r} of study {study!r} has no finished run with {objective.metric!r}: {ended}"
    if (trials["recorded_status"] == TrialStatus.FINISHED).any() and objective.metric not in metrics:
        line += hint(objective.metric, sorted(metrics))
    raise ReportError(line)


def _first(text: str) -> str:
    """Return the first name of ``a``, ``a,b`` or ``['a', 'b']``."""
    value = study_yaml.parse(text, source="parameter") if text.startswith("[") else text.split(",")
    return str(value[0]).strip()


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
