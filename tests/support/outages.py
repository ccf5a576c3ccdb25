"""Real outages: an MLflow store that cannot be written, a disk that is full."""

import os
import sqlite3
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import sqlalchemy


@contextmanager
def locked(uri):
    """Lock the database, as a writer that does not end would; MLflow waits for half a second instead of twenty."""
    database = sqlite3.connect(uri.removeprefix("sqlite:///"), isolation_level=None)
    database.execute("begin exclusive")
    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", _impatient, retval=True)
    try:
        yield
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", _impatient)
        database.execute("rollback")
        database.close()


def _impatient(_connection, _cursor, statement, parameters, _context, _executemany):
    return statement.replace("busy_timeout = 20000", "busy_timeout = 500"), parameters


@contextmanager
def read_only(uri):
    """Forbid new files beside the database, which sqlite needs to write; the attribute holds for root too."""
    folder = Path(uri.removeprefix("sqlite:///")).parent
    done = subprocess.run(["chattr", "+i", folder], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a folder cannot be made immutable here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", folder], check=True)


@contextmanager
def moved_away(uri):
    """Move the database away for a while, as if a share were not mounted."""
    path = Path(uri.removeprefix("sqlite:///"))
    path.rename(path.with_suffix(".away"))
    path.mkdir()
    try:
        yield
    finally:
        path.rmdir()
        path.with_suffix(".away").rename(path)


@contextmanager
def disk(folder, *, size):
    """Mount a file system of ``size`` (as of mount's option) for a while; return its folder."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder):
    """Fill a disk to the last byte; return the file that fills it."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))
    assert os.statvfs(folder).f_bavail == 0
    return ballast
