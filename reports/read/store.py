"""Read-only access to one MLflow tracking store: studies, launches, child runs and artifacts.

MLflow creates a missing database, which is wrong for a report, so the file is checked first.
"""

import gc
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import requests
import sqlalchemy

from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.mlflow_access import library
from nmlab.reports.read.mlflow_access.addresses import canonical, shown
from nmlab.reports.read.mlflow_access.connection import connect
from nmlab.reports.read.mlflow_access.failures import reason
from nmlab.trials.contract import run_tags
from nmlab.trials.contract.near_names import hint
from nmlab.trials.contract.run_tags import RunKind, condition

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PAGE = 1000
_LAUNCHES = condition(run_tags.KIND, RunKind.LAUNCH)
_NO_PROGRESS_BAR = {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}


@dataclass(frozen=True, slots=True)
class RunStore:
    """One open tracking store; :func:`open_store` opens it."""

    uri: str
    client: "MlflowClient"

    def experiment_id(self, study: str) -> str:
        """Return the MLflow experiment id of a study.

        Raises:
            ReportError: no such study (the nearest names are given), or the store can't be read.
        """
        experiment_id = self.known_experiment_id(study)
        if experiment_id is not None:
            return experiment_id
        with reading(self.uri):
            names = [found.name for found in self.client.search_experiments(max_results=PAGE)]
        others = sorted(name for name in names if name != "Default")
        raise ReportError(f"unknown study {study!r} in {shown(self.uri)}{hint(study, others)}")

    def known_experiment_id(self, study: str) -> str | None:
        """Return the MLflow experiment id of a study; None if there is no such study."""
        with reading(self.uri):
            experiment = self.client.get_experiment_by_name(study)
        if experiment is None or experiment.lifecycle_stage != "active":
            return None
        return str(experiment.experiment_id)

    def studies(self) -> tuple[str, ...]:
        """Return the names of all studies that have been launched, sorted."""
        names: list[str] = []
        token: str | None = None
        with reading(self.uri):
            while True:
                page = self.client.search_experiments(max_results=PAGE, page_token=token)
                names += [found.name for found in page if self._has_launch(str(found.experiment_id))]
                token = page.token
                if not token:
                    return tuple(sorted(names))

    def _has_launch(self, experiment_id: str) -> bool:
        return bool(self.client.search_runs([experiment_id], _LAUNCHES, max_results=1))

    def launches(self, experiment_id: str) -> list["Run"]:
        """Return the parent runs of an experiment, newest first."""
        runs = self._search(experiment_id, _LAUNCHES)
        return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id), reverse=True)

    def children(self, experiment_id: str, *, parent: str) -> list["Run"]:
        """Return the child runs of one launch, in order of start."""
        runs = self._search(experiment_id, _below(parent, RunKind.TRIAL))
        return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))

    def initial_masks(self, experiment_id: str, *, parent: str) -> list["Run"]:
        """Return the runs of the initial masks of one launch, in order of start."""
        runs = self._search(experiment_id, _below(parent, RunKind.INITIAL_MASK))
        return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))

    def artifact(self, run_id: str, *, name: str) -> bytes | None:
        """Return the bytes of one artifact at the top of a run, or None where there is none of that name."""
        with reading(self.uri):
            if name not in {entry.path for entry in self.client.list_artifacts(run_id)}:
                return None
            with tempfile.TemporaryDirectory() as folder, library.environment(_NO_PROGRESS_BAR):
                return Path(self.client.download_artifacts(run_id, name, folder)).read_bytes()

    def artifact_size(self, run_id: str, *, name: str) -> int | None:
        """Return the bytes that one artifact at the top of a run takes, or None where there is none of that name."""
        with reading(self.uri):
            sizes = {entry.path: int(entry.file_size or 0) for entry in self.client.list_artifacts(run_id)}
        return sizes.get(name)

    def _search(self, experiment_id: str, where: str) -> list["Run"]:
        runs: list[Run] = []
        token: str | None = None
        with reading(self.uri), _uncollected():
            while True:
                page = self.client.search_runs([experiment_id], where, max_results=PAGE, page_token=token)
                runs += page
                token = page.token
                if not token:
                    return runs


def open_store(tracking_uri: str) -> RunStore:
    """Open a tracking store for reading.

    Args:
        tracking_uri: an MLflow tracking URI, such as ``sqlite:///nmlab.db`` or ``http://127.0.0.1:5000``.

    Raises:
        ReportError: the database file is missing or not an MLflow store, or the store cannot be used, with the reason.
    """
    uri = canonical(tracking_uri)
    if uri.startswith("sqlite:"):
        _check_database(uri)
    return RunStore(uri=uri, client=connect(uri))


def newest_or_named(launches: Sequence["Run"], *, name: str | None, study: str) -> "Run":
    """Choose one launch of a study: the newest, or the one with that launch name or run id.

    Raises:
        ReportError: the study has no launch, or none of that name.
    """
    if not launches:
        raise ReportError(f"study {study!r} has no launch: nothing has been run under it yet")
    if name is None:
        return launches[0]
    for run in launches:
        if name in (run.data.tags.get(run_tags.LAUNCH), run.info.run_id):
            return run
    names = [run.data.tags.get(run_tags.LAUNCH, run.info.run_id) for run in launches]
    raise ReportError(f"unknown launch {name!r} of study {study!r}{hint(name, sorted(names))}")


@contextmanager
def reading(uri: str) -> Iterator[None]:
    """Convert errors of MLflow, SQLAlchemy and the network while reading into one line.

    Raises:
        ReportError: naming the store and the first line of the cause.
    """
    mlflow_error = library.error_type()
    try:
        yield
    except (mlflow_error, sqlalchemy.exc.SQLAlchemyError, requests.RequestException, OSError) as error:
        raise ReportError(f"the MLflow store {shown(uri)} can't be read: {reason(error, uri=uri)}") from error


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep Python from looking for unreachable cycles among objects that are only made, not dropped.

    Of many runs MLflow makes some hundred thousand objects; to look through all of them again and again takes as long
    as to make them.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def database_path(tracking_uri: str) -> Path:
    """Return the file of a ``sqlite:///`` address.

    Raises:
        ReportError: the address names no file.
    """
    try:
        path = sqlalchemy.make_url(tracking_uri).database
    except sqlalchemy.exc.ArgumentError:
        path = None
    if not path or path == ":memory:":
        raise ReportError(f"{tracking_uri!r} names no database file; expected sqlite:///path/to/nmlab.db")
    return Path(path)


def _below(parent: str, kind: RunKind) -> str:
    """Return the condition for the runs of one kind beneath a launch."""
    return f"{condition(run_tags.PARENT_RUN, parent)} and {condition(run_tags.KIND, kind)}"


def _check_database(tracking_uri: str) -> None:
    path = database_path(tracking_uri)
    if not path.is_file():
        raise ReportError(f"there is no MLflow store at {path}; expected a database that a sweep has written")
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            found = connection.execute("select count(*) from sqlite_master where name = 'experiments'").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise ReportError(f"{path} is not an MLflow store: {error}") from error
    if not found[0]:
        raise ReportError(f"{path} is not an MLflow store: it has no table of experiments")
