"""MLflow stores in sqlite that open and write quickly, as far as no test is about it."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
import sqlalchemy
from mlflow import MlflowClient
from mlflow.store.db import utils as database


@contextmanager
def quick_stores() -> Iterator[None]:
    """Let stores not wait for the disk, and know MLflow's newest migration, until the block ends.

    Tests kill processes, never the machine. To learn which migration is the newest, MLflow imports all of them whenever
    it opens a store: a third of its opening.
    """
    hook = (sqlalchemy.Engine, "connect", _without_waiting_for_the_disk)
    sqlalchemy.event.listen(*hook)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "_get_latest_schema_revision", cache(database._get_latest_schema_revision))
        yield
    if sqlalchemy.event.contains(*hook):  # another block may have ended before
        sqlalchemy.event.remove(*hook)


def _without_waiting_for_the_disk(connection: object, _record: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("pragma synchronous = off")


def empty_store(made_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """Return an empty database of MLflow, to be copied: its migrations take seconds, and run once a test run."""

    def migrate(folder: Path) -> None:
        MlflowClient(tracking_uri=f"sqlite:///{folder / 'nmlab.db'}").search_experiments()

    return made_once("mlflow", migrate) / "nmlab.db"
