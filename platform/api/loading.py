"""Load the value that a name means, a launch, configuration, trial or mask, from MLflow or from its folder here."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nmlab.platform.api.masks import Mask, load_mask
from nmlab.platform.api.reading import Place, trial_of_record
from nmlab.platform.api.results import Configuration, Trial
from nmlab.platform.api.sweep_result import SweepResult
from nmlab.platform.launches.confirming import confirmation_lines
from nmlab.platform.launches.launch import LAUNCH_FILE, Launch
from nmlab.platform.launches.status import read_status
from nmlab.platform.process.credentials import restored_uri
from nmlab.platform.tracking.result_candidates import Candidate, search
from nmlab.platform.tracking.result_files import located_files
from nmlab.platform.tracking.result_lookup import Meaning
from nmlab.reports.read.collect import launch_of
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.histories import read_histories, with_starts
from nmlab.reports.read.objective import objective_of
from nmlab.reports.read.pool import collect_pool
from nmlab.reports.read.store import RunStore, newest_or_named, open_store, reading
from nmlab.reports.read.trials import trial_records
from nmlab.reports.statistics import mean_interval
from nmlab.trials.contract import run_tags
from nmlab.trials.contract.metrics import EVAL, INITIAL, NEUTRAL, VALIDATION
from nmlab.trials.contract.run_artifacts import RECORD_FILE, REPORT_FOLDER
from nmlab.trials.contract.run_params import newest_params
from nmlab.trials.contract.run_status import TrialStatus
from nmlab.trials.contract.run_tags import SINGLE_RUNS, Role, RunKind, condition
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.trial.artifacts import read_record

if TYPE_CHECKING:
    from mlflow.entities import Run

_PERPLEXITY = "eval/perplexity"


@dataclass(frozen=True)
class ResultSource:
    """Where results are read from: the tracking store, and the results folder of this machine."""

    uri: str
    results: Path

    @property
    def store(self) -> RunStore:
        """The store, opened; raises ``ReportError`` if it cannot be read."""
        return open_store(self.uri)

    def folder_of(self, study: str, launch: str) -> Path | None:
        """Return the folder of a launch, None if it is not here."""
        folder = self.results / study / launch
        return folder.resolve() if (folder / LAUNCH_FILE).is_file() else None


def value_of(meaning: Meaning, source: ResultSource) -> SweepResult | Configuration | Trial | Mask:
    """Return the launch, configuration, trial or initial mask that a name means."""
    if meaning.launch is not None:
        return _launch_value(meaning.launch, source)
    first = meaning.candidates[0]
    if meaning.kind == "initial mask":
        with located_files(str(first.run.info.run_id if first.run else first.id), tracking_uri=source.uri) as found:
            return load_mask(found.place)
    if meaning.kind == "configuration":
        return _configuration(meaning, source)
    finished = [each for each in meaning.candidates if each.finished]
    return _trial((finished or [first])[0], source)


def result_of_run(run: "Run", source: ResultSource) -> SweepResult:
    """Return a launch by its parent run in MLflow."""
    study = str(source.store.client.get_experiment(run.info.experiment_id).name)
    record = launch_of(run, position=(1, 1))
    children = source.store.children(run.info.experiment_id, parent=run.info.run_id)
    states = [str(each.data.tags.get(run_tags.STATUS, TrialStatus.RUNNING)) for each in children]
    ended = record.ended or record.started
    folder = source.folder_of(study, record.name)
    loads = record.tags.get(run_tags.MODEL_LOADS, "")
    page = None if folder is None else folder / REPORT_FOLDER / "report.html"
    return SweepResult(
        study=study,
        launch=record.name,
        status=record.status,
        counts={state: states.count(state) for state in sorted(set(states))},
        folder=folder,
        tracking_uri=source.uri,
        model_loads=int(loads) if loads.isdigit() else 0,
        frozen_weights=record.tags.get(run_tags.FROZEN_WEIGHTS, ""),
        seconds=(ended - record.started).total_seconds(),
        search_stopped=record.tags.get(run_tags.SEARCH_STOPPED, ""),
        confirmation=_confirmation(folder),
        page=page if page is not None and page.is_file() else None,
    )


def pooled(found: Sequence[SweepResult | Configuration | Trial | Mask]) -> SweepResult:
    """Return several launches of one study as one; raises ``ValueError`` for anything else."""
    launches = [each for each in found if isinstance(each, SweepResult)]
    places = {(each.study, each.tracking_uri) for each in launches}
    if not launches or len(launches) < len(found) or len(places) > 1:
        raise ValueError("several results are pooled if they are launches of one study in one store; expected these")
    first, names = launches[0], [each.launch for each in launches]
    runs = collect_pool(open_store(first.tracking_uri), study=first.study, launches=names, needs_finished=False)
    states = [str(trial.status) for trial in runs.trials if trial.status != TrialStatus.DUPLICATE]
    return SweepResult(
        study=first.study,
        launch=runs.launch.name,
        status=runs.launch.status,
        counts={state: states.count(state) for state in sorted(set(states))},
        folder=None,
        tracking_uri=first.tracking_uri,
        frozen_weights=runs.launch.tags[run_tags.FROZEN_WEIGHTS],
        seconds=sum(each.seconds for each in launches),
        search_stopped="; ".join(f"{each.launch}: {each.search_stopped}" for each in launches if each.search_stopped),
        pooled=tuple(names),
    )


def _confirmation(folder: Path | None) -> tuple[str, ...]:
    """Return the lines on the confirmation of a launch; none where its folder is not here, or has no whole status."""
    if folder is not None:
        with suppress(ValueError):
            return confirmation_lines(read_status(Launch(folder)))
    return ()


def _launch_value(launch: "Run | Path", source: ResultSource) -> SweepResult:
    """Return a launch; one that the given store lacks is looked up in the store of its own folder."""
    if not isinstance(launch, Path):
        return result_of_run(launch, source)
    own = ResultSource(restored_uri(Launch(launch).settings()["tracking_uri"]), launch.parents[1])
    study = Launch(launch).study().name
    try:
        store = own.store
        run = newest_or_named(store.launches(store.experiment_id(study)), name=launch.name, study=study)
        return result_of_run(run, own)
    except ReportError as error:
        snapshot = read_status(Launch(launch))
        return SweepResult(
            study=study,
            launch=launch.name,
            status=str(snapshot["phase"]),
            counts=dict(snapshot["counts"]),
            folder=launch.resolve(),
            tracking_uri=own.uri,
            model_loads=int(snapshot["model_loads"]),
            seconds=float(snapshot["elapsed_seconds"]),
            undelivered=str(error),
            search_stopped=snapshot.get("search_stopped", ""),
            confirmation=confirmation_lines(snapshot),
        )


def _configuration(meaning: Meaning, source: ResultSource) -> Configuration:
    """Return a configuration of the newest launch that tried it, or of single runs."""
    first = meaning.candidates[0]
    if first.run is None:
        assert first.folder is not None
        if first.folder.parent.name == "trials":
            return _launch_value(first.folder.parents[1], source).configuration(meaning.id)
        return _configuration_of_single_runs(meaning, source)
    parent = first.run.data.tags.get(run_tags.PARENT_RUN)
    if parent is None:
        return _configuration_of_single_runs(meaning, source)
    with reading(source.uri):
        run = source.store.client.get_run(parent)
    return result_of_run(run, source).configuration(meaning.id)


def _configuration_of_single_runs(meaning: Meaning, source: ResultSource) -> Configuration:
    newest: dict[str, Candidate] = {}
    for candidate in meaning.candidates:
        newest.setdefault(candidate.key, candidate)
    trials = tuple(sorted((_trial(each, source) for each in newest.values()), key=lambda trial: trial.seed))
    values = [trial.metrics[_PERPLEXITY] for trial in trials if trial.is_finished and _PERPLEXITY in trial.metrics]
    value = mean_interval(values) if values else None
    return Configuration(
        key=meaning.id,
        method=trials[0].method,
        pattern=trials[0].pattern,
        role=Role.SEARCH,
        settings=trials[0].settings,
        metric=_PERPLEXITY,
        mean=None if value is None else value.mean,
        low=None if value is None else value.low,
        high=None if value is None else value.high,
        n=len(values),
        planned=len(trials),
        trials=trials,
    )


def _trial(candidate: Candidate, source: ResultSource) -> Trial:
    if candidate.run is not None:
        return trial_of_run(candidate.run, source)
    assert candidate.folder is not None
    return trial_of_folder(candidate.folder, source)


def trial_of_run(run: "Run", source: ResultSource) -> Trial:
    """Return a trial by its run in MLflow."""
    store, tags = source.store, run.data.tags
    with reading(store.uri):
        study = str(store.client.get_experiment(run.info.experiment_id).name)
        parent = tags.get(run_tags.PARENT_RUN)
        searched = _PERPLEXITY if parent is None else _objective(store.client.get_run(parent))
    evaluated = sorted(name for name in run.data.metrics if name.startswith((EVAL, VALIDATION, NEUTRAL, INITIAL)))
    histories = with_starts(read_histories(store, run_ids=[run.info.run_id], metrics=evaluated))
    (record,) = trial_records([run], histories=histories, objective=searched).trials
    launch = str(tags.get(run_tags.LAUNCH, tags[run_tags.TRIAL_KEY]))
    trial = trial_of_record(record, place=Place(study, launch, source.folder_of(study, launch), source.uri))
    return replace(trial, folder=_single_run_folder(trial, source)) if study == SINGLE_RUNS else trial


def _objective(parent: "Run") -> str:
    return objective_of(newest_params(parent.data.params, tags=parent.data.tags)).metric


def trial_of_folder(folder: Path, source: ResultSource) -> Trial:
    """Return a finished trial by its folder alone; MLflow has no run of it."""
    record = read_record(folder / RECORD_FILE)
    spec = TrialSpec.from_record(record["spec"])
    is_single = folder.parent.name == SINGLE_RUNS
    launch = folder.name if is_single else folder.parents[1].name
    return Trial(
        key=str(record["key"]),
        configuration=spec.configuration,
        method=spec.method,
        pattern=spec.pattern,
        seed=spec.seed,
        status=TrialStatus.FINISHED,
        reason="",
        settings=dict(spec.hyperparameters),
        metrics={name: float(value) for name, value in record["metrics"].items()},
        study=SINGLE_RUNS if is_single else folder.parents[2].name,
        launch=launch,
        folder=folder.resolve(),
        tracking_uri=source.uri,
    )


def _single_run_folder(trial: Trial, source: ResultSource) -> Path | None:
    folder = source.results / SINGLE_RUNS / trial.key
    return folder.resolve() if folder.is_dir() else None


def recorded_trial(key: str, source: ResultSource) -> Trial:
    """Return a trial of `nmlab.run` as MLflow has it; raises ``ReportError`` if it is not there."""
    with reading(source.uri):
        found = search(source.store, f"{condition(run_tags.TRIAL_KEY, key)} and {condition(run_tags.LAUNCH, key)}")
    own = [run for run in found if run.data.tags.get(run_tags.KIND) == RunKind.TRIAL]
    if not own:
        raise ReportError(f"MLflow has no run of trial {key}, which was run here")
    return trial_of_run(own[0], source)
