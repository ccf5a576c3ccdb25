"""From the runs of a launch in MLflow to its configurations and trials."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from nmlab.platform.api.frames import IDENTITY, trials_frame
from nmlab.platform.api.results import Configuration, SweepResult, Trial
from nmlab.platform.launches.best import best_of_runs
from nmlab.platform.launches.launch import Launch
from nmlab.reports.analysis import configurations as analysis
from nmlab.reports.read.collect import StudyRuns
from nmlab.trials.contract.near_names import unknown_name


@dataclass(frozen=True)
class Place:
    """Where a trial belongs: its study and launch, the launch's folder if it is here, and the store."""

    study: str
    launch: str
    folder: Path | None
    tracking_uri: str


def best_of_launch(result: SweepResult, runs: StudyRuns, *, method: str | None, pattern: str | None) -> Configuration:
    """Return the best configuration of a launch; see `SweepResult.best`."""
    items = analysis.configurations_of(runs)
    for name, wanted in (("method", method), ("pattern", pattern)):
        if wanted is not None:
            known = {getattr(item, name) for item in items}
            if wanted not in known:
                raise ValueError(unknown_name(wanted, kind=f"{name} in launch {result.launch}", known=known))
            items = tuple(item for item in items if getattr(item, name) == wanted)
    return _configuration(best_of_runs(items, launch=result.launch), result, runs)


def configuration_of_launch(result: SweepResult, runs: StudyRuns, *, key: str) -> Configuration:
    """Return the configuration whose key begins with ``key``."""
    items = {item.key: item for item in analysis.configurations_of(runs)}
    return _configuration(items[_only(key, items, kind="configuration", launch=result.launch)], result, runs)


def trial_of_launch(result: SweepResult, runs: StudyRuns, *, key: str) -> Trial:
    """Return the trial whose key begins with ``key``."""
    frame = trials_frame(runs).set_index("trial", drop=False)
    found = _only(key, frame["trial"], kind="trial", launch=result.launch)
    return trial_of_row(frame.loc[found].to_dict(), names=_names(runs), place=_place(result))


def trial_of_row(row: Mapping[Any, Any], *, names: tuple[tuple[str, ...], tuple[str, ...]], place: Place) -> Trial:
    """Return the trial of a row of `trials_frame`; ``names`` are the columns that are settings and metrics."""
    settings, metrics = names
    key = str(row["trial"])
    folder = None if place.folder is None else Launch(place.folder).trial_folder(key)
    text = {name: str(row[name]) for name in IDENTITY if name in ("configuration", "method", "pattern", "status")}
    return Trial(
        key=key,
        **text,
        seed=0 if pd.isna(row["seed"]) else int(row["seed"]),
        reason=str(row["reason"] or ""),
        settings={name: _plain(row[name]) for name in settings if name in row and not pd.isna(row[name])},
        metrics={name: float(row[name]) for name in metrics if name in row and not pd.isna(row[name])},
        study=place.study,
        launch=place.launch,
        run_id=str(row["run_id"]),
        folder=folder if folder is not None and folder.is_dir() else None,
        tracking_uri=place.tracking_uri,
    )


def _configuration(item: analysis.Configuration, result: SweepResult, runs: StudyRuns) -> Configuration:
    frame = trials_frame(runs)
    rows = frame[frame["configuration"] == item.key].to_dict("records")
    trials = tuple(trial_of_row(row, names=_names(runs), place=_place(result)) for row in rows)
    value = item.value
    return Configuration(
        key=item.key,
        method=item.method,
        pattern=item.pattern,
        role=str(item.role),
        settings=trials[0].settings,
        metric=item.objective.metric,
        mean=None if value is None else value.mean,
        low=None if value is None else value.low,
        high=None if value is None else value.high,
        n=len(item.finished),
        planned=item.planned,
        trials=trials,
    )


def _names(runs: StudyRuns) -> tuple[tuple[str, ...], tuple[str, ...]]:
    measured = {name for trial in runs.trials for name in trial.metrics}
    initial = sorted(name for name in measured if name.startswith("initial/"))
    return runs.settings, (*runs.metrics, *initial)


def _place(result: SweepResult) -> Place:
    return Place(result.study, result.launch, result.folder, result.tracking_uri)


def _only(key: str, known: Iterable[str], *, kind: str, launch: str) -> str:
    """Return the only known key that begins with ``key``; raises ``ValueError`` if there is none or several."""
    names = [str(name) for name in known]
    found = [name for name in names if name == key] or [name for name in names if name.startswith(key)]
    if not found:
        raise ValueError(unknown_name(key, kind=f"{kind} of launch {launch}", known=names))
    if len(found) > 1:
        raise ValueError(f"{kind} {key!r} of launch {launch} may mean several: {', '.join(found[:4])}")
    return found[0]


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
