"""One process at a time owns a launch: by an OS lock if the file system has locks, and by a heartbeat if it has not.

The lock is held on ``owner.lock`` and is released when the process ends, however it ends. ``owner.json`` names the
owner, and a thread writes it again every 3 seconds. On a file system that several machines share, locks may not hold
across machines; there an owner whose heartbeat changes is alive, whatever the clocks of the machines say.
"""

import contextlib
import errno
import fcntl
import getpass
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from nmlab.trials.files.checked_json import read_checked, write_checked

HEARTBEAT_SECONDS = 3.0
"""Pause between two heartbeats of an owner, each a small file in a folder that may be shared over a network."""
SILENT_OWNER_SECONDS = 4 * HEARTBEAT_SECONDS
"""Seconds without a heartbeat after which an owner on another machine counts as gone."""
FORMAT = 1
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_HELD = (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK)


class OwnedError(ValueError):
    """Another process owns the launch."""


class OwnershipLostError(RuntimeError):
    """Another process took the launch over, because this one wrote no heartbeat for too long."""


@dataclass(frozen=True)
class Owner:
    """The owner of a launch: a process on a machine.

    Attributes:
        machine: boot id of the kernel and process namespace: the same for processes that see each other's process ids.
        began: when the process started, in seconds since 1970.
        beat: the heartbeat, which counts up while the owner lives.
        released: whether the owner gave the launch up by itself.
    """

    host: str
    machine: str
    user: str
    pid: int
    began: float
    token: str
    beat: int = 0
    beaten: float = 0.0
    released: bool = False

    @property
    def text(self) -> str:
        """The owner in a few words."""
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.began))
        return f"process {self.pid} of {self.user} on {self.host}, started {since}"


@contextmanager
def owned(folder: Path, *, take_over: bool = False) -> Iterator["Ownership"]:
    """Own the launch in ``folder`` while the ``with`` block runs.

    Args:
        folder: the launch's folder.
        take_over: take it from an owner on another machine whose heartbeat has stopped. One with a heartbeat keeps it.

    Raises:
        OwnedError: another process owns it; the text names the process.
    """
    with _lock(folder) as has_locks:
        _check_heartbeat(folder, take_over=take_over, has_locks=has_locks)
        ownership = Ownership(folder)
        try:
            yield ownership
        finally:
            ownership.release()


def check_not_owned(folder: Path, *, take_over: bool = False) -> None:
    """Raise ``OwnedError`` as `owned` does, before anything is done for the launch.

    With ``take_over`` the heartbeat of an owner on another machine is left to `owned`, which watches it for a while.
    """
    with _lock(folder) as has_locks:
        if not take_over:
            _check_heartbeat(folder, take_over=False, has_locks=has_locks)


def held_by(folder: Path) -> str:
    """Return the owner of a launch in a few words, "" if it has none. Nothing is written; it may change at any time."""
    owner = read_owner(folder)
    who = "another process" if owner is None else owner.text
    try:
        descriptor = os.open(folder / "owner.lock", os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            has_locks = True
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        has_locks = True
    except OSError as error:
        if error.errno in _HELD:
            return who
        has_locks = False
    if owner is None or owner.released:
        return ""
    is_gone = owner.machine == _machine() and (has_locks or not _is_running(owner))
    return "" if is_gone else who


class Ownership:
    """The ownership of this process: writes the heartbeat until it is released."""

    def __init__(self, folder: Path) -> None:
        self._path = _owner_file(folder)
        self._me = _this_process()
        self._ended = threading.Event()
        self._lost: Owner | None = None
        self._write()
        self._thread = threading.Thread(target=self._beat, name="launch-owner", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise ``OwnershipLostError`` if another process has taken the launch over."""
        if self._lost is not None:
            raise OwnershipLostError(f"this launch was taken over by {self._lost.text}; nothing more is written here")

    def release(self) -> None:
        """Stop the heartbeat and give the launch up."""
        self._ended.set()
        self._thread.join()
        if self._lost is None and self._is_mine():
            self._me = replace(self._me, released=True)
            self._write()

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS) and self._lost is None:
            if self._is_mine():
                self._me = replace(self._me, beat=self._me.beat + 1, beaten=time.time())
                self._write()

    def _is_mine(self) -> bool:
        found = read_owner(self._path.parent)
        if found is not None and found.token != self._me.token:
            self._lost = found
        return self._lost is None

    def _write(self) -> None:
        with contextlib.suppress(OSError):  # a full disk skips one heartbeat and does not end the launch
            write_checked(self._path, asdict(self._me), format=FORMAT)


def read_owner(folder: Path) -> Owner | None:
    """Return the present or the last owner of a launch; None if there was none, or the file cannot be read."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Owner(**read_checked(_owner_file(folder), kind="owner", format=FORMAT, before=()))
    return None


def _check_heartbeat(folder: Path, *, take_over: bool, has_locks: bool) -> None:
    """Raise ``OwnedError`` if an owner that the lock does not show is alive, or may be alive on another machine."""
    owner = read_owner(folder)
    if owner is None or owner.released:
        return
    if owner.machine == _machine():
        if not has_locks and _is_running(owner):  # with locks, the free lock shows that it has ended
            raise OwnedError(_refusal(folder, owner))
        return
    if not take_over:
        ago = max(0.0, time.time() - owner.beaten)
        raise OwnedError(
            f"{_refusal(folder, owner)}, last heartbeat {ago:.0f} s ago; if that machine is gone, use --take-over"
        )
    deadline = time.monotonic() + SILENT_OWNER_SECONDS
    while time.monotonic() < deadline:
        found = read_owner(folder)
        if found is not None and found.beat != owner.beat:
            raise OwnedError(f"{_refusal(folder, found)}; it is alive, so it cannot be taken over")
        time.sleep(HEARTBEAT_SECONDS / 6)


@contextmanager
def _lock(folder: Path) -> Iterator[bool]:
    """Hold the launch's lock; yield whether the file system has locks. Raises ``OwnedError`` if another has it."""
    lock = _locked(folder)
    if lock is None:
        raise OwnedError(f"{_refusal(folder, read_owner(folder))}; wait for it, or end it with Ctrl-C there")
    try:
        yield lock >= 0
    finally:
        if lock >= 0:
            os.close(lock)


def _locked(folder: Path) -> int | None:
    """Return the descriptor that holds the lock, -1 if the file system has no locks, None if another process has it."""
    try:
        descriptor = os.open(folder / "owner.lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ValueError(f"launch folder {str(folder)!r} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in _HELD:
            return None
        if error.errno in _NO_LOCKS:
            return -1
        raise ValueError(f"launch folder {str(folder)!r} cannot be locked: {error.strerror}") from error
    return descriptor


def _is_running(owner: Owner) -> bool:
    try:
        return psutil.Process(owner.pid).create_time() == owner.began
    except psutil.NoSuchProcess:
        return False


def _refusal(folder: Path, owner: Owner | None) -> str:
    who = "another process" if owner is None else owner.text
    return f"launch {folder.name} is owned by {who}"


def _owner_file(folder: Path) -> Path:
    return folder / "owner.json"


def _this_process() -> Owner:
    return Owner(
        host=socket.gethostname(),
        machine=_machine(),
        user=user_name(),
        pid=os.getpid(),
        began=psutil.Process().create_time(),
        token=uuid.uuid4().hex,
        beaten=time.time(),
    )


def _machine() -> str:
    """Return an id of this boot and process-id namespace, in which process ids are comparable, or the host's name."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return socket.gethostname()


def user_name() -> str:
    """Return the name of the user of this process, or the user id if it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without an account
        return str(os.getuid())
