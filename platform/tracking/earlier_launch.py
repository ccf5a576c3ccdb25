"""Read what an earlier launch searched: from its folder, or from MLflow where the folder is gone."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nmlab.platform.launches import launch as launches
from nmlab.platform.launches.journal import evaluations, read_journal, read_without_metrics
from nmlab.platform.launches.launch import Launch
from nmlab.platform.planning.study_trials import baseline_specs
from nmlab.platform.records.events import JournalRecord, LaunchBegan, ReplicaStarted, record_from_json
from nmlab.platform.search.earlier_search import EarlierSearch
from nmlab.platform.tracking.named_launch import launch_in_store
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.histories import curves_of, read_histories
from nmlab.reports.read.store import RunStore, newest_or_named, open_store
from nmlab.search_spaces import loader
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.contract import run_tags
from nmlab.trials.contract.run_artifacts import LOG_FILE, study_file

if TYPE_CHECKING:
    from mlflow.entities import Run


def read_earlier_search(text: str, *, results: Path, tracking_uri: str) -> EarlierSearch:
    """Return what the launch that a text means searched.

    Args:
        text: the launch's folder, its name or the beginning of it, STUDY@LAUNCH, or its study, the newest launch.
        results: the folder for launches, which is looked at first.
        tracking_uri: the MLflow store.

    Raises:
        ValueError: no such launch in either, a damaged one, or one that was killed and whose folder is gone.
    """
    try:
        launch = launches.find(text, results=results)
    except ValueError as error:
        return _from_store(text, tracking_uri, unknown=error)
    return _from_folder(launch)


def _from_folder(launch: Launch) -> EarlierSearch:
    versions = [launch.study(version) for version in launch.versions()]
    curves = evaluations(read_journal(launch), metric=versions[0].search.metrics[0])
    return _search(launch.name, versions, read_without_metrics(launch), curves=curves)


def _from_store(text: str, tracking_uri: str, *, unknown: ValueError) -> EarlierSearch:
    try:
        study, named = launch_in_store("/".join(Path(text).parts[-2:]), tracking_uri=tracking_uri)
    except ReportError as error:
        raise ValueError(f"{unknown}; {error}") from error
    store = open_store(tracking_uri)
    experiment = store.experiment_id(study)
    parent = newest_or_named(store.launches(experiment), name=named, study=study)
    name = str(parent.data.tags.get(run_tags.LAUNCH, parent.info.run_id))
    count = int(parent.data.tags.get(run_tags.STUDY_VERSIONS, "1"))
    versions = [_study(store, parent, number) for number in range(1, count + 1)]
    log = _artifact(store, parent, LOG_FILE).decode().splitlines()
    records = [record_from_json(json.loads(line)) for line in log]
    curves = _curves(store, store.children(experiment, parent=parent.info.run_id), versions[0].search.metrics[0])
    return _search(name, versions, records, curves=curves)


def _search(
    name: str,
    versions: Sequence[Study],
    records: Sequence[JournalRecord],
    *,
    curves: dict[str, dict[int, float]],
) -> EarlierSearch:
    first = versions[0]
    return EarlierSearch(
        study=first.name,
        launch=name,
        metrics=first.search.metrics,
        modes=first.search.modes,
        seeds=first.seeds,
        not_searched={spec.key for study in versions for spec in baseline_specs(study)},
        records=records,
        curves=curves,
        model_digest=next((each.model_digest for each in _replicas(records) if each.model_digest), ""),
        data_digest=next((each.tags.get(run_tags.DATA_DIGEST, "") for each in _began(records)), ""),
    )


def _replicas(records: Iterable[JournalRecord]) -> Iterable[ReplicaStarted]:
    return (record for record in records if isinstance(record, ReplicaStarted))


def _began(records: Iterable[JournalRecord]) -> Iterable[LaunchBegan]:
    return (record for record in records if isinstance(record, LaunchBegan))


def _study(store: RunStore, parent: "Run", version: int) -> Study:
    name = study_file(version)
    return loader.loads(_artifact(store, parent, name).decode(), source=name, from_record=True)


def _artifact(store: RunStore, parent: "Run", name: str) -> bytes:
    content = store.artifact(parent.info.run_id, name=name)
    if content is None:
        launch = parent.data.tags.get(run_tags.LAUNCH, parent.info.run_id)
        raise ValueError(
            f"launch {launch} has no {name} in MLflow, because it was killed before its end, and its folder is not "
            "here; expected its folder, or a launch that ended"
        )
    return content


def _curves(store: RunStore, runs: Sequence["Run"], metric: str) -> dict[str, dict[int, float]]:
    """Return the objective of each trial by step, without the evaluation of its start."""
    keys = {str(run.info.run_id): str(run.data.tags.get(run_tags.TRIAL_KEY, "")) for run in runs}
    found = curves_of(read_histories(store, run_ids=list(keys), metrics=[metric]))
    return {
        keys[run_id]: {step: value for step, value in curve.by_step.items() if step > 0}
        for run_id, curve in found.items()
    }
