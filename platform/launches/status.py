"""How a launch stands: its snapshot on disk, written and read."""

import os
import socket
import time
from pathlib import Path
from typing import cast

from nmlab.platform.launches.launch import Launch
from nmlab.platform.launches.snapshot import Snapshot, StoredSnapshot
from nmlab.trials.contract.run_status import AT_WORK, LaunchStatus
from nmlab.trials.files.checked_json import read_checked, write_checked
from nmlab.trials.files.disk import is_disk_full

STATUS_FORMAT = 1
_FIRST_STATUS = (
    *("study", "launch", "phase", "metric", "mode", "planned", "ended", "counts", "elapsed_seconds", "eta_seconds"),
    *("model_loads", "trouble", "replicas", "trials", "written", "pid", "machine"),
)
_SILENT_WRITER_SECONDS = 30.0
"""A status that is older is that of a driver that was killed; a living one writes every second."""


class StatusFile:
    """The snapshot on disk that ``nmlab status`` reads; replaced as a whole, at most once a second."""

    def __init__(self, path: Path) -> None:
        self._path, self._written = path, 0.0

    def write(self, snapshot: Snapshot, *, force: bool = False) -> None:
        """Write ``snapshot`` with the time, unless the last one is younger than a second."""
        if not force and time.monotonic() - self._written < 1.0:
            return
        writer = {"written": time.time(), "pid": os.getpid(), "machine": socket.gethostname()}
        self._written = time.monotonic()
        try:
            write_checked(self._path, {**snapshot, **writer}, format=STATUS_FORMAT, is_for_people=False)
        except OSError as error:
            if not is_disk_full(error):  # on a full disk the status stays old until there is room
                raise


def read_status(launch: Launch) -> StoredSnapshot:
    """Return the newest snapshot, with ``alive`` added; raises ``ValueError`` if the launch has not written one."""
    try:
        found = read_checked(launch.status_file, kind="status", format=STATUS_FORMAT, before=_FIRST_STATUS)
    except FileNotFoundError as error:
        raise ValueError(f"launch {launch.name} has not started yet: {launch.status_file} is not there") from error
    snapshot = cast(StoredSnapshot, found)
    snapshot["alive"] = snapshot["phase"] in AT_WORK and _writer_lives(snapshot)
    if snapshot["phase"] in AT_WORK and not snapshot["alive"]:
        snapshot["phase"] = LaunchStatus.KILLED
    return snapshot


def _writer_lives(snapshot: StoredSnapshot) -> bool:
    """Return whether the writer is alive: by its process id on this machine, and by the snapshot's age (30 s)."""
    if snapshot["machine"] == socket.gethostname() and not _is_running(snapshot["pid"]):
        return False
    return bool(time.time() - snapshot["written"] < _SILENT_WRITER_SECONDS)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # signal 0 sends nothing and only checks
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # a process of another user has the number
    return True
