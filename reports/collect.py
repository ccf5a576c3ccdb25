"""One launch of one study, read from MLflow into a typed value: the only input of tables and figures.

Nothing but MLflow is read, so a report can be built on a machine that has neither torch nor Ray.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import yaml

from nmlab.reports.errors import ReportError, nearest
from nmlab.reports.frame import initial_name, trial_frame
from nmlab.reports.histories import read_histories
from nmlab.reports.store import RunStore, newest_or_named

RESIDUAL = "train/residual"


@dataclass(frozen=True, slots=True)
class Objective:
    """What the search optimised: a metric name and ``min`` or ``max``."""

    metric: str
    mode: str

    @property
    def initial(self) -> str:
        """The column that holds the same metric of a run's own initial mask."""
        return initial_name(self.metric)


@dataclass(frozen=True, slots=True)
class Launch:
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


@dataclass(frozen=True, slots=True)
class StudyRuns:
    """Everything that a report says about one launch of one study.

    Attributes:
        trials: one row per child run; see :func:`nmlab.reports.frame.trial_frame` for the columns.
        settings: the columns of ``trials`` that are parameters of the runs, hyperparameters first.
        metrics: the columns of ``trials`` that are final metrics, sorted.
        curves: ``run_id, metric, step, value`` of the loss residual.
    """

    study: str
    experiment_id: str
    launch: Launch
    objective: Objective
    trials: pd.DataFrame
    settings: tuple[str, ...]
    metrics: tuple[str, ...]
    curves: pd.DataFrame

    def count(self, status: str) -> int:
        """Return how many child runs ended with this status."""
        return int((self.trials["status"] == status).sum())


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
    evaluated = sorted({name for run in children for name in run.data.metrics if name.startswith("eval/")})
    histories = read_histories(store, run_ids=run_ids, metrics=evaluated)
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
        curves=read_histories(store, run_ids=run_ids, metrics=[RESIDUAL]),
    )


def objective_of(params: Mapping[str, str]) -> Objective:
    """Return the searched metric of a launch; of several, the first.

    Raises:
        ReportError: a mode other than ``min`` and ``max``.
    """
    metric = _first(params.get("search.metric", "eval/perplexity"))
    mode = _first(params.get("search.mode", "min"))
    if mode not in ("min", "max"):
        raise ReportError(f"search.mode is {mode!r}; expected 'min' or 'max'")
    return Objective(metric=metric, mode=mode)


def launch_of(parent: Any, *, position: tuple[int, int]) -> Launch:
    """Return what the parent run says; ``position`` is the launch's number and the number of launches."""
    tags, info = parent.data.tags, parent.info
    planned = tags.get("nmlab.planned")
    return Launch(
        run_id=info.run_id,
        name=tags.get("nmlab.launch", info.run_id),
        status=tags.get("nmlab.status", info.status.lower()),
        planned=int(planned) if planned and planned.isdigit() else None,
        started=_moment(info.start_time),
        ended=_moment(info.end_time) if info.end_time else None,
        tags=dict(tags),
        params=dict(parent.data.params),
        position=position,
    )


def _refuse_without_results(
    trials: pd.DataFrame, metrics: tuple[str, ...], objective: Objective, parent: Any, study: str
) -> None:
    name = parent.data.tags.get("nmlab.launch", parent.info.run_id)
    if trials.empty:
        raise ReportError(f"launch {name!r} of study {study!r} has no child run yet")
    if (trials["status"] == "finished").any():
        return
    counts = trials["status"].value_counts().sort_index()
    ended = ", ".join(f"{count} {status}" for status, count in counts.items())
    line = f"launch {name!r} of study {study!r} has no finished run with {objective.metric!r}: {ended}"
    if (trials["recorded_status"] == "finished").any() and objective.metric not in metrics:
        line += f"; {nearest(objective.metric, names=metrics)}"
    raise ReportError(line)


def _first(text: str) -> str:
    """Return the first name of ``a``, ``a,b`` or ``['a', 'b']``."""
    value = yaml.safe_load(text) if text.startswith("[") else text.split(",")
    return str(value[0]).strip()


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
