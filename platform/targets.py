"""What a user calls a result: a run in MLflow, a trial's key or folder, or a file; all become something on disk."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmlab.trials.export.subject import RECORD
from nmlab.trials.finished import MASK_FILE, WEIGHTS_FILE

_RUN_ID = re.compile(r"[0-9a-f]{32}")
_TRIAL_KEY = re.compile(r"[0-9a-f]{16}")
_LEAST = 6  # characters by which a run may be named


@dataclass(frozen=True)
class Target:
    """Where the files of a result lie, and the MLflow run that they came from, if any."""

    place: str
    run_id: str | None = None


@contextmanager
def located(target: str, *, tracking_uri: str) -> Iterator[Target]:
    """Give a target's files: those of a run are fetched from MLflow into a folder that goes when the block ends.

    A file, a folder or a built-in model is taken as it is. Raises ``ValueError`` for what is neither there nor a run.
    """
    if Path(target).expanduser().exists() or not re.fullmatch(rf"[0-9a-f]{{{_LEAST},32}}", target):
        yield Target(target)
        return
    run = _find_run(target, tracking_uri)
    with tempfile.TemporaryDirectory(prefix="nmlab-") as folder:
        _fetch(run, Path(folder), tracking_uri)
        yield Target(folder, run.info.run_id)


def _find_run(name: str, tracking_uri: str) -> Any:
    """Return the run with this id or trial key, or whose id or key begins so; the newest of several with one key."""
    from nmlab.reports.store import open_store, reading

    client = open_store(tracking_uri).client
    with reading(tracking_uri):
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        where, found = "tags.`nmlab.kind` = 'trial'", []
        if _RUN_ID.fullmatch(name):
            where += f" and attributes.run_id = '{name}'"
        elif _TRIAL_KEY.fullmatch(name):
            where += f" and tags.`nmlab.trial_key` = '{name}'"
        else:
            where += f" and tags.`nmlab.trial_key` LIKE '{name}%'"
        found = client.search_runs(experiments, where, max_results=50, order_by=["attributes.start_time DESC"])
    if not found:
        raise ValueError(f"no run {name!r} in {tracking_uri}, and no such file; expected a run id or a trial key")
    if len({run.data.tags["nmlab.trial_key"] for run in found}) > 1:
        keys = ", ".join(sorted({run.data.tags["nmlab.trial_key"] for run in found})[:4])
        raise ValueError(f"run {name!r} may mean several: {keys}; give more of it")
    return found[0]


def _fetch(run: Any, folder: Path, tracking_uri: str) -> None:
    from nmlab.reports.store import open_store

    store = open_store(tracking_uri)
    for name in (RECORD, MASK_FILE, WEIGHTS_FILE):
        content = store.artifact(run.info.run_id, name=name)
        if content is not None:
            (folder / name).write_bytes(content)
    if not (folder / RECORD).is_file():
        status = run.data.tags.get("nmlab.status", "unknown")
        raise ValueError(f"run {run.info.run_id} is {status} and holds no {RECORD}; only a finished trial has a result")
