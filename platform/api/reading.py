"""From the runs of a launch in MLflow to its configurations and trials."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nmlab.platform.api.frames import typed_settings
from nmlab.platform.api.results import Configuration, Trial
from nmlab.platform.api.sweep_result import SweepResult
from nmlab.platform.launches.best import best_of_runs
from nmlab.platform.launches.launch import Launch
from nmlab.reports.analysis import configurations as analysis
from nmlab.reports.read.collect import StudyRuns
from nmlab.reports.read.trials import TrialRecord
from nmlab.trials.contract.near_names import unknown_name
from nmlab.trials.contract.run_status import TrialStatus


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
    looked_at = analysis.looked_at(items)
    for name, wanted in (("method", method), ("pattern", pattern)):
        if wanted is not None:
            known = {getattr(item, name) for item in items}
            if wanted not in known:
                raise ValueError(unknown_name(wanted, kind=f"{name} in launch {result.launch}", known=known))
            items = tuple(item for item in items if getattr(item, name) == wanted)
    return _configuration(best_of_runs(items, launch=result.launch), result, looked_at=looked_at)


def configuration_of_launch(result: SweepResult, runs: StudyRuns, *, key: str) -> Configuration:
    """Return the configuration whose key begins with ``key``."""
    items = {item.key: item for item in analysis.configurations_of(runs)}
    found = items[_only(key, items, kind="configuration", launch=result.launch)]
    return _configuration(found, result, looked_at=analysis.looked_at(tuple(items.values())))


def trial_of_launch(result: SweepResult, runs: StudyRuns, *, key: str) -> Trial:
    """Return the trial whose key begins with ``key``."""
    records = {record.trial_key: record for record in runs.trials if record.status != TrialStatus.DUPLICATE}
    found = _only(key, records, kind="trial", launch=result.launch)
    return trial_of_record(records[found], place=_place(result))


def trial_of_record(record: TrialRecord, *, place: Place) -> Trial:
    """Return the trial of a run in MLflow."""
    folder = None if place.folder is None else Launch(place.folder).trial_folder(record.trial_key)
    return Trial(
        key=record.trial_key,
        configuration=record.configuration,
        method=record.method,
        pattern=record.pattern,
        seed=record.paired_by,
        status=str(record.status),
        reason=record.reason,
        settings=typed_settings(record.settings, method=record.method),
        metrics=dict(record.metrics),
        study=place.study,
        launch=place.launch,
        run_id=record.run_id,
        folder=folder if folder is not None and folder.is_dir() else None,
        tracking_uri=place.tracking_uri,
    )


def _configuration(item: analysis.Configuration, result: SweepResult, *, looked_at: Mapping[str, int]) -> Configuration:
    place, value = _place(result), item.value
    fresh = item.as_reported.value if item.is_confirmed else None
    return Configuration(
        key=item.key,
        method=item.method,
        pattern=item.pattern,
        role=str(item.role),
        settings=typed_settings(item.settings, method=item.method),
        metric=item.objective.reported,
        mean=None if value is None else value.mean,
        low=None if value is None else value.low,
        high=None if value is None else value.high,
        n=len(item.finished),
        planned=item.runs_in_all,
        trials=tuple(trial_of_record(record, place=place) for record in item.every_trial),
        selected_by=item.objective.metric,
        selected_mean=None if item.selection is None else item.selection.mean,
        fresh_mean=None if fresh is None else fresh.mean,
        fresh_low=None if fresh is None else fresh.low,
        fresh_high=None if fresh is None else fresh.high,
        fresh_n=0 if fresh is None else fresh.n,
        looked_at=looked_at.get(item.key, 0),
    )


def _place(result: SweepResult) -> Place:
    return Place(result.study, result.launch, result.folder, result.tracking_uri)


def _only(key: str, known: Iterable[str], *, kind: str, launch: str) -> str:
    """Return the only known key that begins with ``key``; raises ``ValueError`` if there is none or several."""
    names = list(known)
    found = [name for name in names if name == key] or [name for name in names if name.startswith(key)]
    if not found:
        raise ValueError(unknown_name(key, kind=f"{kind} of launch {launch}", known=names))
    if len(found) > 1:
        raise ValueError(f"{kind} {key!r} of launch {launch} may mean several: {', '.join(found[:4])}")
    return found[0]
