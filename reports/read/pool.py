"""Several launches of one study as one: each trial counts once, whichever launch ran it.

What was evaluated must be the same (`reports/analysis/comparability.py` refuses the rest). A seed that took part in the
search of any of the launches confirms nothing in the pool.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from nmlab.reports.read.collect import (
    LaunchRecord,
    StudyRuns,
    launch_of,
    read_runs,
    refuse_without_results,
)
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.objective import objective_of
from nmlab.reports.read.store import RunStore, newest_or_named
from nmlab.reports.read.trials import TrialRecord
from nmlab.trials.contract import run_params, run_tags
from nmlab.trials.contract.run_status import LaunchStatus
from nmlab.trials.contract.run_tags import FrozenWeights

if TYPE_CHECKING:
    from mlflow.entities import Run

Kind = tuple[str, str, str, bool]
"""Method, pattern and role of runs, and whether they confirm: those that have the same seeds in one launch."""
_SEARCHED_BY = (run_params.SEARCH_METRIC, run_params.SEARCH_MODE)
_WORST_FIRST = (FrozenWeights.MISMATCH, FrozenWeights.UNVERIFIED, FrozenWeights.VERIFIED)
_DIRTIEST_FIRST = (run_tags.TRUE, run_tags.UNKNOWN, run_tags.FALSE)


def collect_pool(
    store: RunStore, *, study: str, launches: Sequence[str | None], needs_finished: bool = True
) -> StudyRuns:
    """Read several launches of a study as one.

    Args:
        store: an opened store.
        study: the study's name, which is its MLflow experiment.
        launches: names or parent run ids; None is the newest.
        needs_finished: refuse launches whose runs have ended, none of them finished.

    Raises:
        ReportError: unknown study or launch, one that is named twice, launches that were searched by different metrics
            or constraints, or no finished run.
    """
    experiment_id = store.experiment_id(study)
    known = store.launches(experiment_id)
    records = _records([newest_or_named(known, name=name, study=study) for name in launches], known)
    _refuse_other_objective(records)
    children = {
        run.info.run_id: record.name
        for record in records
        for run in store.children(experiment_id, parent=record.run_id)
    }
    own = [record.run_id for record in records]
    runs = read_runs(store, study=study, experiment_id=experiment_id, launch=_as_one(records), parents=own)
    if needs_finished or not runs.trials:
        refuse_without_results(
            runs, where=f"launches {', '.join(record.name for record in records)} of study {study!r}"
        )
    trials = _without_searched_seeds(runs.trials)
    pooled = replace(
        runs, trials=trials, pooled=records, launch_of_run=children, expected=_expected(trials, launch_of_run=children)
    )
    planned_runs = _planned_runs(pooled)
    return replace(pooled, launch=replace(runs.launch, planned_runs=planned_runs))


def _records(parents: Sequence["Run"], known: Sequence["Run"]) -> tuple[LaunchRecord, ...]:
    """Return the launches, oldest first; raises ``ReportError`` for one that is named twice."""
    ids = [parent.info.run_id for parent in parents]
    twice = next((parent for parent in parents if ids.count(parent.info.run_id) > 1), None)
    if twice is not None:
        name = twice.data.tags.get(run_tags.LAUNCH, twice.info.run_id)
        raise ReportError(f"launch {name} is named twice; expected different launches")
    found = [launch_of(parent, position=(len(known) - known.index(parent), len(known))) for parent in parents]
    return tuple(sorted(found, key=lambda record: (record.started, record.run_id)))


def _refuse_other_objective(records: Sequence[LaunchRecord]) -> None:
    first, *others = records
    for record in others:
        names = dict.fromkeys([*_limits(first), *_limits(record), *_SEARCHED_BY])
        for name in names:
            own, other = first.params.get(name), record.params.get(name)
            if own != other and objective_of(first.params) != objective_of(record.params):
                raise ReportError(
                    f"launches of one search belong in one report: {name} is {own or 'not set'} in {first.name} and "
                    f"{other or 'not set'} in {record.name}; nmlab compare sets them side by side"
                )


def _limits(record: LaunchRecord) -> list[str]:
    return [name for name in record.params if name.startswith(run_params.SEARCH_CONSTRAINTS)]


def _as_one(records: Sequence[LaunchRecord]) -> LaunchRecord:
    """Return several launches as one: the settings of the newest, and of every state the worst."""
    newest = records[-1]
    unfinished = [record.status for record in records if record.status != LaunchStatus.FINISHED]
    frozen = {record.tags.get(run_tags.FROZEN_WEIGHTS, FrozenWeights.UNVERIFIED) for record in records}
    dirty = {record.tags.get(run_tags.GIT_DIRTY, run_tags.UNKNOWN) for record in records}
    tags = {
        **newest.tags,
        run_tags.FROZEN_WEIGHTS: next(state for state in _WORST_FIRST if state in frozen),
        run_tags.GIT_DIRTY: next(
            state for state in (run_tags.TRUE, run_tags.UNKNOWN, run_tags.FALSE) if state in dirty
        ),
    }
    return replace(
        newest,
        name=", ".join(record.name for record in records),
        status=unfinished[0] if unfinished else LaunchStatus.FINISHED,
        started=min(record.started for record in records),
        ended=None if any(record.ended is None for record in records) else newest.ended,
        tags=tags,
    )


def _without_searched_seeds(trials: Iterable[TrialRecord]) -> tuple[TrialRecord, ...]:
    """Return the runs; one whose seed took part in the search of any launch is none on fresh seeds."""
    every = tuple(trials)
    searched = {trial.seed for trial in every if not trial.is_confirmation}
    return tuple(
        replace(trial, is_confirmation=trial.is_confirmation and trial.seed not in searched) for trial in every
    )


def _expected(trials: Sequence[TrialRecord], *, launch_of_run: Mapping[str, str]) -> dict[tuple[str, bool], int]:
    """Return how many runs each configuration should have: the seeds of its kind in the launches that tried it."""
    seeds: dict[tuple[str, Kind], set[int | None]] = defaultdict(set)
    tried: dict[tuple[str, bool], set[tuple[str, Kind]]] = defaultdict(set)
    for trial in trials:
        place = (launch_of_run[trial.run_id], _kind(trial))
        seeds[place].add(trial.seed)
        tried[trial.configuration, trial.is_confirmation].add(place)
    return {key: len(set().union(*(seeds[place] for place in places))) for key, places in tried.items()}


def _kind(trial: TrialRecord) -> Kind:
    return (trial.method, trial.pattern, trial.role, trial.is_confirmation)


def _planned_runs(runs: StudyRuns) -> int | None:
    """Return the number of trials of all launches, each counted once: what was recorded, and what each launch lacks."""
    if any(record.planned_runs is None for record in runs.pooled):
        return None
    keys: dict[str, set[str]] = defaultdict(set)
    for trial in runs.trials:
        if not trial.is_external_model:
            keys[runs.launch_of_run[trial.run_id]].add(trial.trial_key)
    lacking = sum(max(0, (record.planned_runs or 0) - len(keys[record.name])) for record in runs.pooled)
    return runs.recorded + lacking
