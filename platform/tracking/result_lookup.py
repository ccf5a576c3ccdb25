"""Find one trial by an id that nmlab prints: a run, a trial key, a configuration, a launch, or the start of one.

MLflow and the results folders are searched. Several runs of one trial count as one result; the newest finished one is
taken. A configuration means its first finished seed, a launch its best finished configuration.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

from nmlab.platform.launches.best import best_in_folder, best_in_store
from nmlab.platform.launches.launch import LAUNCH_FILE
from nmlab.platform.tracking.result_candidates import (
    HEXADECIMAL,
    LEAST,
    Candidate,
    candidate_of_run,
    candidates_of,
    search,
    tag_begins,
)
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.store import RunStore, open_store
from nmlab.trials.contract import run_tags
from nmlab.trials.contract.run_tags import RunKind, condition

if TYPE_CHECKING:
    from mlflow.entities import Run

_NAME = re.compile(rf"[\w.+-]{{{LEAST},}}")
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_SHOWN = 4


@dataclass(frozen=True)
class Meaning:
    """What a name means: the kind of its id, the id, and the trials, or the launch, for which it stands.

    A launch is its parent run in MLflow, or its folder if MLflow does not have it.
    """

    kind: str
    id: str
    candidates: tuple[Candidate, ...] = ()
    launch: "Run | Path | None" = None


@dataclass(frozen=True)
class Found:
    """The trial that a name means: its run in MLflow or its folder, and in words how it was chosen."""

    run: "Run | None"
    folder: Path | None
    key: str
    how_chosen: str = ""


def find_result(name: str, *, tracking_uri: str, results: Path) -> Found | None:
    """Return the trial that a name means; None for a name that is no id and may be a model.

    The name of a study means its newest launch.

    Raises ``ValueError`` for an ambiguous name, with what it may mean, for hexadecimal digits that are no id, and for a
    configuration or launch of which nothing finished.
    """
    wanted = name.rpartition("@")[2]
    if not _NAME.fullmatch(wanted) and not _SLUG.fullmatch(name):
        return None
    store, trouble = _store(tracking_uri)
    folder = results.expanduser()
    meaning = _newest_of_study(name, store=store, results=folder) or _meaning(name, store=store, results=folder)
    if meaning is None:
        if HEXADECIMAL.fullmatch(wanted):
            raise ValueError(_unknown(name, tracking_uri=tracking_uri, results=results, trouble=trouble))
        return None
    if meaning.launch is not None:
        return _best_of_launch(meaning.launch, store=store)
    return _chosen(meaning.candidates)


def find_meaning(name: str, *, tracking_uri: str, results: Path) -> Meaning:
    """Return what a name means: a launch as such, a configuration, a trial, a run or an initial mask.

    The name of a study means its newest launch. Raises ``ValueError`` as ``find_result`` does, and for a name that
    means nothing.
    """
    store, trouble = _store(tracking_uri)
    meaning = _newest_of_study(name, store=store, results=results.expanduser()) or _meaning(
        name, store=store, results=results.expanduser()
    )
    if meaning is None:
        raise ValueError(_unknown(name, tracking_uri=tracking_uri, results=results, trouble=trouble))
    return meaning


def _meaning(name: str, *, store: RunStore | None, results: Path) -> Meaning | None:
    """Return what an id or the start of one means; None if nothing is called so. Raises ``ValueError`` for several."""
    wanted = name.rpartition("@")[2]
    if not _NAME.fullmatch(wanted):
        return None
    found = list(candidates_of(wanted, store=store, results=results))
    launches = _launches(wanted, store=store, results=results)
    meanings = list(dict.fromkeys([(candidate.kind, candidate.id) for candidate in found] + list(launches)))
    meanings = [meaning for meaning in meanings if meaning[1] == wanted] or meanings
    if len(meanings) > 1:
        named = ", ".join(f"{kind} {id_}" for kind, id_ in meanings[:_SHOWN])
        more = f" and {len(meanings) - _SHOWN} more" if len(meanings) > _SHOWN else ""
        raise ValueError(f"{name!r} may mean several: {named}{more}; give more characters")
    if not meanings:
        return None
    kind, id_ = meanings[0]
    own = tuple(each for each in found if (each.kind, each.id) == meanings[0])
    return Meaning(kind, id_, own, launches.get(meanings[0]))


def _newest_of_study(name: str, *, store: RunStore | None, results: Path) -> Meaning | None:
    """Return the newest launch of the study of this name, in the store or else in the results folder."""
    experiment = None if store is None else store.known_experiment_id(name)
    if store is not None and experiment is not None and (launches := store.launches(experiment)):
        newest = launches[0]
        return Meaning("launch", str(newest.data.tags.get(run_tags.LAUNCH, newest.info.run_id)), launch=newest)
    folders = sorted(results.glob(f"{escape(name)}/*/{LAUNCH_FILE}"), key=lambda path: path.stat().st_mtime)
    return Meaning("launch", folders[-1].parent.name, launch=folders[-1].parent) if folders else None


def _unknown(name: str, *, tracking_uri: str, results: Path, trouble: str) -> str:
    where = f"{tracking_uri} ({trouble})" if trouble else tracking_uri
    return (
        f"no run {name!r} in {where} or in {str(results)!r}, and no such file; expected a run id, a trial key, a "
        "configuration or a launch"
    )


def _store(tracking_uri: str) -> tuple[RunStore | None, str]:
    try:
        return open_store(tracking_uri), ""
    except ReportError as error:
        return None, str(error)


def _launches(name: str, *, store: RunStore | None, results: Path) -> "dict[tuple[str, str], Run | Path]":
    """Return the launches whose name or run id starts with ``name``: (kind, id) -> parent run, or folder."""
    found: dict[tuple[str, str], Run | Path] = {}
    for marker in sorted(results.glob(f"*/*/{LAUNCH_FILE}")):
        launch = marker.parent.name
        if launch.startswith(name):
            found["launch", launch] = marker.parent
    if store is not None:
        is_launch = condition(run_tags.KIND, RunKind.LAUNCH)
        for run in search(store, f"{tag_begins(run_tags.LAUNCH, name)} and {is_launch}"):
            launch = str(run.data.tags[run_tags.LAUNCH])
            if launch.startswith(name):
                found["launch", launch] = run
        if HEXADECIMAL.fullmatch(name):
            for run in search(store, f"attributes.run_id LIKE '{name}%' and {is_launch}"):
                found["launch's run", str(run.info.run_id)] = run
    return found


def _best_of_launch(launch: "Run | Path", *, store: RunStore | None) -> Found:
    if isinstance(launch, Path):
        best = best_in_folder(launch)
        candidates = [
            Candidate(
                kind="configuration", id=best.configuration, key=folder.name, seed=seed, finished=True, folder=folder
            )
            for seed, folder in best.folders
        ]
    else:
        assert store is not None
        best = best_in_store(store, launch)
        candidates = [
            candidate_of_run("configuration", best.configuration, run)
            for run in search(store, condition(run_tags.CONFIGURATION, best.configuration))
            if run.info.run_id in best.run_ids
        ]
    return _chosen(candidates, before=f"launch {best.launch}: its best configuration, {best.value}; ")


def _chosen(candidates: Sequence[Candidate], *, before: str = "") -> Found:
    """Return the newest finished run of a trial, else the newest; the first finished seed of a configuration."""
    finished = _one_a_key(candidate for candidate in candidates if candidate.finished)
    first = candidates[0]
    if first.kind != "configuration":
        chosen = (finished or [first])[0]
        return Found(chosen.run, chosen.folder, chosen.key)
    if not finished:
        states = sorted({str(each.run.data.tags.get(run_tags.STATUS)) for each in candidates if each.run is not None})
        raise ValueError(f"configuration {first.id} has no finished trial; its trials are {', '.join(states)}")
    chosen = min(finished, key=lambda candidate: candidate.seed)
    seeds = ", ".join(str(seed) for seed in sorted(candidate.seed for candidate in finished))
    how = f"{before}configuration {first.id}: seed {chosen.seed} of the finished seeds {seeds}, trial {chosen.key}"
    return Found(run=chosen.run, folder=chosen.folder, key=chosen.key, how_chosen=how)


def _one_a_key(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return one candidate for each trial: a run before a folder, and newer runs before older ones."""
    kept: dict[str, Candidate] = {}
    for candidate in candidates:
        kept.setdefault(candidate.key, candidate)
    return list(kept.values())
