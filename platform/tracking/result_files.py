"""Locate the files of a result that a user names by an id, a folder or a file."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nmlab.platform.launches.launch import LAUNCH_FILE
from nmlab.trials.contract import run_tags
from nmlab.trials.contract.run_artifacts import MASK_FILE, RECORD_FILE, WEIGHTS_FILE
from nmlab.trials.contract.run_tags import RunKind

if TYPE_CHECKING:
    from mlflow.entities import Run


@dataclass(frozen=True)
class ResultFiles:
    """The place of a result's files, the MLflow run that they came from, and the trial key, if any.

    ``how_chosen`` is a sentence on which trial was taken for a configuration or a launch; empty if a trial was named.
    """

    place: str
    run_id: str | None = None
    key: str | None = None
    how_chosen: str = ""


@contextmanager
def located_files(target: str, *, tracking_uri: str, results: Path = Path("results")) -> Iterator[ResultFiles]:
    """Yield a target's files. Those of a run are fetched from MLflow into a folder that exists until the context ends.

    A file, a folder or a built-in model is taken as it is, except the folder of a launch, which means its best trial.
    Raises ``ValueError`` for an ambiguous name, for hexadecimal digits that are no id, and for a run without a result.
    """
    from nmlab.platform.tracking.result_lookup import find_result

    path, found = Path(target).expanduser(), None
    if (path / LAUNCH_FILE).is_file():
        found = find_result(path.resolve().name, tracking_uri=tracking_uri, results=path.resolve().parents[1])
    elif not path.exists():
        found = find_result(target, tracking_uri=tracking_uri, results=results)
    if found is None:
        yield ResultFiles(target)
    elif found.run is None:
        yield ResultFiles(place=str(found.folder), run_id=None, key=found.key, how_chosen=found.how_chosen)
    else:
        with tempfile.TemporaryDirectory(prefix="nmlab-") as folder:
            _fetch(found.run, Path(folder), tracking_uri)
            yield ResultFiles(place=folder, run_id=found.run.info.run_id, key=found.key, how_chosen=found.how_chosen)


def _fetch(run: "Run", folder: Path, tracking_uri: str) -> None:
    from nmlab.reports.read.store import open_store

    store = open_store(tracking_uri)
    for name in (RECORD_FILE, MASK_FILE, WEIGHTS_FILE):
        content = store.artifact(run.info.run_id, name=name)
        if content is not None:
            (folder / name).write_bytes(content)
    if (folder / RECORD_FILE).is_file():
        return
    if run.data.tags.get(run_tags.KIND) == RunKind.INITIAL_MASK and (folder / MASK_FILE).is_file():
        return
    status = run.data.tags.get(run_tags.STATUS, "unknown")
    raise ValueError(
        f"run {run.info.run_id} is {status} and holds no {RECORD_FILE}; only a finished trial has a result"
    )
