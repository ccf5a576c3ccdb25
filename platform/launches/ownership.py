"""One process at a time owns a launch: an OS lock where the file system has locks, and a heartbeat where it has not.

The lock is held on ``owner.lock`` and goes with the process, however that ends. ``owner.json`` says who has it, and a
thread writes it again every few seconds: on a file system that machines share, whose locks may not reach across them,
an owner that beats is alive, whatever the clocks of the machines say.
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

BEAT_S = 3.0
SILENT_S = 4 * BEAT_S
"""How long an owner on another machine is watched before its silence counts."""
FORMAT = 1
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_HELD = (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK)


class OwnedError(ValueError):
    """Another process owns the launch."""


class OwnershipLostError(RuntimeError):
    """Another process took the launch over, since this one had been silent for too long."""


@dataclass(frozen=True)
class Owner:
    """Who owns a launch.

    Attributes:
        machine: the same for processes that see each other's numbers: the kernel's boot and the process namespace.
        began: when the process started, in seconds since 1970.
        beat: counts up while the owner lives.
        released: whether it let go by itself.
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
    """Own the launch in ``folder`` as long as the block lasts.

    Args:
        folder: the launch's folder.
        take_over: take it from an owner on another machine that does not beat any more. One that beats keeps it.

    Raises:
        OwnedError: another process owns it, which the text names.
    """
    lock = _locked(folder)
    try:
        if lock is None:
            raise OwnedError(f"{_refusal(folder, read_owner(folder))}; wait for it, or end it with Ctrl-C there")
        _check_heartbeat(folder, take_over=take_over, has_locks=lock >= 0)
        ownership = Ownership(folder)
        try:
            yield ownership
        finally:
            ownership.release()
    finally:
        if lock is not None and lock >= 0:
            os.close(lock)


def held_by(folder: Path) -> str:
    """Return in a few words who owns a launch, "" where nobody does. Nothing is written; it may change at any time."""
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
    """The owner's side: beats until it is released."""

    def __init__(self, folder: Path) -> None:
        self._path = _owner_file(folder)
        self._me = _this_process()
        self._ended = threading.Event()
        self._lost: Owner | None = None
        self._write()
        self._thread = threading.Thread(target=self._beat, name="launch-owner", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise ``OwnershipLostError`` where somebody else has taken the launch over."""
        if self._lost is not None:
            raise OwnershipLostError(f"this launch was taken over by {self._lost.text}; nothing more is written here")

    def release(self) -> None:
        """Let go."""
        self._ended.set()
        self._thread.join()
        if self._lost is None and self._is_mine():
            self._me = replace(self._me, released=True)
            self._write()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S) and self._lost is None:
            if self._is_mine():
                self._me = replace(self._me, beat=self._me.beat + 1, beaten=time.time())
                self._write()

    def _is_mine(self) -> bool:
        found = read_owner(self._path.parent)
        if found is not None and found.token != self._me.token:
            self._lost = found
        return self._lost is None

    def _write(self) -> None:
        with contextlib.suppress(OSError):  # a full disk costs a beat, not the launch
            write_checked(self._path, asdict(self._me), format=FORMAT)


def read_owner(folder: Path) -> Owner | None:
    """Return who owns a launch or owned it last; None where nobody did, or the file cannot be read."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Owner(**read_checked(_owner_file(folder), kind="owner", format=FORMAT, before=()))
    return None


def _check_heartbeat(folder: Path, *, take_over: bool, has_locks: bool) -> None:
    """Raise ``OwnedError`` where an owner whom the lock does not tell of lives, or may live on another machine."""
    owner = read_owner(folder)
    if owner is None or owner.released:
        return
    if owner.machine == _machine():
        if not has_locks and _is_running(owner):  # a lock would have gone with its process
            raise OwnedError(_refusal(folder, owner))
        return
    if not take_over:
        ago = max(0.0, time.time() - owner.beaten)
        raise OwnedError(
            f"{_refusal(folder, owner)}, last heard {ago:.0f} s ago; if that machine is gone, go on with --take-over"
        )
    deadline = time.monotonic() + SILENT_S
    while time.monotonic() < deadline:
        found = read_owner(folder)
        if found is not None and found.beat != owner.beat:
            raise OwnedError(f"{_refusal(folder, found)}; it is alive, so it cannot be taken over")
        time.sleep(BEAT_S / 6)


def _locked(folder: Path) -> int | None:
    """Return the descriptor that holds the lock, -1 where the file system has no locks; None where another has it."""
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
    """Return what processes that see each other's numbers share, else only the host's name."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return socket.gethostname()


def user_name() -> str:
    """Return the name of the user of this process, or the number of one who has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a number that nobody has
        return str(os.getuid())
