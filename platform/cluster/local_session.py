"""Prepare a local Ray session: its own token, its own folder, and loopback addresses only.

By default Ray listens on every interface without authentication. With ``RAY_AUTH_MODE=token`` each of its gRPC and HTTP
servers requires the token. The unix sockets of the raylet and of the object store require none, so the folder that
holds them is closed to other users.
"""

import fcntl
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from nmlab.platform.compat.ray_core import at_loopback, reread_authentication

PREFIX = "nmlab-ray-"
TOKEN_FILE, LOCK_FILE = "token", "lock"
LOOPBACK = "127.0.0.1"
_SOCKET_BYTES = 107
"""The longest path of a unix socket (Linux, ``sockaddr_un``)."""
_BELOW = len("/session_2026-11-29_22-04-35_339153_4194304/sockets/plasma_store")
_RAY_FOLDER = "r"
"""Ray makes the folder that it is given readable for everybody, so it gets one inside a closed folder."""
_OWN = len(f"/{PREFIX}12345678/{_RAY_FOLDER}")
LONGEST_BASE = _SOCKET_BYTES - _BELOW - _OWN
_FRESH_SECONDS = 60.0
"""A session's folder that is younger is left alone: its process may not hold the lock yet."""
# Settings of other clusters, which a local session must not use.
_FOREIGN = ("RAY_ADDRESS", "RAY_NAMESPACE", "RAY_AUTH_TOKEN", "RAY_TMPDIR", "RAY_JOB_CONFIG_JSON_ENV_VAR")
_UNPROXIED = ("localhost", LOOPBACK, "::1")


@contextmanager
def local_session() -> Iterator[Path]:
    """Yield the temporary folder for ``ray.init``; the environment is that of the session until the context ends.

    Raises ``ValueError`` if no writable folder has a path short enough for a unix socket.
    """
    remove_left_behind()
    folder = _closed_folder()
    lock = _locked(folder / LOCK_FILE)
    try:
        token = folder / TOKEN_FILE
        _write_secret(token, secrets.token_hex(32))
        with _environment(session_environment(os.environ, token=token), removed=_FOREIGN), at_loopback():
            yield folder / _RAY_FOLDER
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def session_environment(given: Mapping[str, str], *, token: Path) -> dict[str, str]:
    """Return the variables that a local session adds to the environment ``given``: its token file and no proxy."""
    hosts = [host.strip() for name in ("no_proxy", "NO_PROXY") for host in given.get(name, "").split(",")]
    unproxied = ",".join(dict.fromkeys(host for host in (*hosts, *_UNPROXIED) if host))
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray then uses 127.0.0.1 for this machine, on Linux too
        # Ray's monitor serves metrics without a token where ray[default] is installed; no server can have this port.
        "AUTOSCALER_METRIC_PORT": "-1",
        "no_proxy": unproxied,
        "NO_PROXY": unproxied,
    }


def base_folder(given: Mapping[str, str]) -> Path:
    """Return the folder in which a session's folder is made: ``TMPDIR`` if its path is short enough, else another.

    Raises ``ValueError`` with one line if there is none.
    """
    wanted = given.get("TMPDIR") or ""
    for text in (wanted, "/tmp", "/var/tmp", "/dev/shm"):
        if text.startswith("/") and len(os.fsencode(text.rstrip("/"))) <= LONGEST_BASE and _is_writable(Path(text)):
            return Path(text)
    raise ValueError(
        f"TMPDIR {wanted!r}: Ray's sockets need a writable folder whose path has at most {LONGEST_BASE} "
        "bytes; /tmp, /var/tmp and /dev/shm are not writable; set TMPDIR to such a folder"
    )


def remove_left_behind(*, base: Path | None = None) -> None:
    """Remove the folders of this user's sessions whose driver was killed; a session in use holds its lock."""
    for folder in (base or base_folder(os.environ)).glob(f"{PREFIX}*"):
        with suppress(OSError):
            found = folder.lstat()
            is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
            if is_own and time.time() - found.st_mtime > _FRESH_SECONDS and not _is_locked(folder / LOCK_FILE):
                shutil.rmtree(folder, ignore_errors=True)


def _closed_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base_folder(os.environ)))
    folder.chmod(0o700)
    (folder / _RAY_FOLDER).mkdir(mode=0o700)
    return folder


def _is_writable(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _write_secret(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _locked(path: Path) -> int:
    lock = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _is_locked(path: Path) -> bool:
    try:
        lock = os.open(path, os.O_WRONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


@contextmanager
def _environment(values: Mapping[str, str], *, removed: tuple[str, ...]) -> Iterator[None]:
    """Set and remove environment variables, and let Ray read them again; restore them when the context ends."""
    before = {name: os.environ.get(name) for name in (*values, *removed)}
    for name in removed:
        os.environ.pop(name, None)
    os.environ.update(values)
    reread_authentication()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        reread_authentication()
