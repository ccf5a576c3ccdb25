"""The trials and initial masks that an id, or the start of one, may mean: in MLflow and in a results folder."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nmlab.reports.read.store import RunStore, reading
from nmlab.trials.contract import run_params, run_tags
from nmlab.trials.contract.run_artifacts import RECORD_FILE
from nmlab.trials.contract.run_status import TrialStatus
from nmlab.trials.contract.run_tags import RunKind, condition
from nmlab.trials.contract.trial_spec import TrialSpec

if TYPE_CHECKING:
    from mlflow.entities import Run

LEAST = 6
"""Characters that an abbreviated id needs."""
HEXADECIMAL = re.compile(rf"[0-9a-f]{{{LEAST},32}}")
"""What a key, a digest or a run id looks like, whole or abbreviated."""
_LENGTHS = {"run": 32, "trial": 16, "configuration": 8, "initial mask": 16}


@dataclass(frozen=True)
class Candidate:
    """A trial or initial mask that a name may mean: the kind of its id, the id, and where its files are."""

    kind: str
    id: str
    key: str
    seed: int
    finished: bool
    run: "Run | None" = None
    folder: Path | None = None


def candidates_of(name: str, *, store: RunStore | None, results: Path) -> Iterator[Candidate]:
    """Yield the trials and initial masks that an id or the start of one may mean, those in MLflow first."""
    if HEXADECIMAL.fullmatch(name):
        if store is not None:
            yield from _in_store(name, store)
        yield from _in_folders(name, results)


def _in_store(name: str, store: RunStore) -> Iterator[Candidate]:
    """Yield the runs whose id, trial key, configuration or mask digest starts with ``name``, the newest first."""
    ids: dict[str, tuple[str, Callable[[Run], str]]] = {
        "trial": (tag_begins(run_tags.TRIAL_KEY, name), lambda run: str(run.data.tags.get(run_tags.TRIAL_KEY, ""))),
        "configuration": (
            tag_begins(run_tags.CONFIGURATION, name),
            lambda run: str(run.data.tags.get(run_tags.CONFIGURATION, "")),
        ),
        "initial mask": (tag_begins(run_tags.INITIAL_MASK_DIGEST, name), _own_digest),
        "run": (f"attributes.run_id LIKE '{name}%'", lambda run: str(run.info.run_id)),
    }
    for kind, (where, id_of) in ids.items():
        if len(name) <= _LENGTHS[kind]:
            for run in search(store, where):
                is_result = run.data.tags.get(run_tags.KIND) in (RunKind.TRIAL, RunKind.INITIAL_MASK)
                if is_result and id_of(run).startswith(name):
                    yield candidate_of_run(kind, id_of(run), run)


def _own_digest(run: "Run") -> str:
    """Return the digest of a run that is an initial mask; a trial's tag of this name means its initial masks."""
    tags = run.data.tags
    return str(tags.get(run_tags.INITIAL_MASK_DIGEST, "")) if tags.get(run_tags.KIND) == RunKind.INITIAL_MASK else ""


def tag_begins(tag: str, name: str) -> str:
    """Return the condition that a tag begins with a name."""
    return condition(tag, f"{name}%", comparison="LIKE")


def candidate_of_run(kind: str, id_: str, run: "Run") -> Candidate:
    """Return a run as a candidate; ``kind`` and ``id_`` are those of the id by which it was found."""
    tags = run.data.tags
    key = tags.get(run_tags.TRIAL_KEY, run.info.run_id)
    seed = str(run.data.params.get(run_params.SEED, "0"))
    finished = tags.get(run_tags.STATUS) == TrialStatus.FINISHED
    return Candidate(kind=kind, id=id_, key=key, seed=int(seed) if seed.isdigit() else 0, finished=finished, run=run)


def search(store: RunStore, where: str) -> list["Run"]:
    """Return the runs of all experiments that match an MLflow filter, the newest first."""
    found: list[Run] = []
    with reading(store.uri):
        experiments = [experiment.experiment_id for experiment in store.client.search_experiments()]
        token: str | None = None
        while experiments:
            page = store.client.search_runs(
                experiments, where, max_results=1000, order_by=["attributes.start_time DESC"], page_token=token
            )
            found += page
            token = page.token
            if not token:
                break
    return found


def _in_folders(name: str, results: Path) -> Iterator[Candidate]:
    """Yield the finished trials in the results folder whose key or configuration starts with ``name``."""
    for record in sorted([*results.glob(f"*/*/trials/*/{RECORD_FILE}"), *results.glob(f"*/*/{RECORD_FILE}")]):
        folder, key = record.parent, record.parent.name
        if key.startswith(name):
            yield Candidate(kind="trial", id=key, key=key, seed=0, finished=True, folder=folder)
        elif len(name) <= _LENGTHS["configuration"]:
            spec = spec_of(folder)
            if spec is not None and spec.configuration.startswith(name):
                yield Candidate(
                    kind="configuration", id=spec.configuration, key=key, seed=spec.seed, finished=True, folder=folder
                )


def spec_of(folder: Path) -> TrialSpec | None:
    """Return the specification in a finished trial's folder; None if it cannot be read."""
    try:
        return TrialSpec.from_record(json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))["spec"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
