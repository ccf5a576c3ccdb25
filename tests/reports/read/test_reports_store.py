"""Stores that can't be read: one helpful line, quickly, and nothing created."""

import socket
import sqlite3

import pytest

from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.mlflow_access.addresses import shown
from nmlab.reports.read.store import open_store, reading


def test_a_missing_database_is_not_created(tmp_path):
    path = tmp_path / "away.db"
    with pytest.raises(ReportError, match=r"there is no MLflow store at .*away\.db"):
        open_store(f"sqlite:///{path}")
    assert not path.exists()


def test_something_that_is_no_database(tmp_path):
    path = tmp_path / "notes.db"
    path.write_text("not a database, but long enough to be read as a header " * 4)
    with pytest.raises(ReportError, match="is not an MLflow store: file is not a database"):
        open_store(f"sqlite:///{path}")


def test_a_foreign_database_is_left_as_it_is(tmp_path):
    path = tmp_path / "foreign.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table pets (name text)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(ReportError, match="it has no table of experiments"):
        open_store(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_a_server_that_is_away_is_noticed():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ReportError, match=f"store 'http://127.0.0.1:{port}': does not answer: .*refused"):
        open_store(f"http://127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("sqlite:///:memory:", "names no database file"),
        ("sqlite://", "names no database file"),
        ("carrier-pigeon://coop", "expected sqlite:///FILE"),
        ("mlruns", "expected sqlite:///FILE"),
    ],
)
def test_addresses_that_are_no_store(uri, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ReportError, match=message) as caught:
        open_store(uri)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_error_while_reading_is_one_line():
    with (
        pytest.raises(ReportError, match=r"^the MLflow store sqlite:///x\.db can't be read: disk I/O error$"),
        reading("sqlite:///x.db"),
    ):
        raise OSError("disk I/O error\nand a second line")


def test_passwords_are_not_shown():
    assert shown("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"
    assert shown("sqlite:///nmlab.db") == "sqlite:///nmlab.db"
