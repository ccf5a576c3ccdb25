"""Read the state of a launch from another process: its snapshot on disk, and whether its process is alive."""

import os
import socket
import time
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from nmlab.platform.launches.launch import Launch
from nmlab.platform.launches.progress import STATUS_FORMAT, render
from nmlab.trials.contract.run_status import LaunchStatus
from nmlab.trials.files.checked_json import read_checked

Record = dict[str, Any]
_FIRST_STATUS = (
    *("study", "launch", "phase", "metric", "mode", "planned", "ended", "counts", "elapsed_seconds", "eta_seconds"),
    *("model_loads", "trouble", "replicas", "trials", "written", "pid", "machine"),
)
_SILENT_S = 30.0
_AT_WORK = (LaunchStatus.STARTING, LaunchStatus.RUNNING, LaunchStatus.STOPPING)


def read_status(launch: Launch) -> Record:
    """Return the newest snapshot, with ``alive`` added; raises ``ValueError`` if the launch has not written one."""
    try:
        snapshot = read_checked(launch.status_file, kind="status", format=STATUS_FORMAT, before=_FIRST_STATUS)
    except FileNotFoundError as error:
        raise ValueError(f"launch {launch.name} has not started yet: {launch.status_file} is not there") from error
    snapshot["alive"] = snapshot["phase"] in _AT_WORK and _writer_lives(snapshot)
    if snapshot["phase"] in _AT_WORK and not snapshot["alive"]:
        snapshot["phase"] = LaunchStatus.KILLED
    return snapshot


def _writer_lives(snapshot: Record) -> bool:
    """Return whether the writer is alive: by its process id on this machine, and by the snapshot's age (30 s)."""
    if snapshot["machine"] == socket.gethostname() and not _is_running(snapshot["pid"]):
        return False
    return bool(time.time() - snapshot["written"] < _SILENT_S)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # signal 0 sends nothing and only checks
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # a process of another user has the number
    return True


def render_status(snapshot: Record) -> Group:
    """Return the view of a launch: the progress view, and every trial with its outcome."""
    counts = ", ".join(f"{count} {status}" for status, count in sorted(snapshot["counts"].items())) or "none yet"
    facts = Text(f"{snapshot['launch']}: {counts}; the model was loaded {snapshot['model_loads']} time(s)")
    goes_on = snapshot["phase"] in (LaunchStatus.KILLED, LaunchStatus.STOPPED)
    hint = [Text(f"go on with: nmlab resume {snapshot['launch']}")] if goes_on else []
    return Group(render(snapshot), facts, _all_trials(snapshot), *hint)


def _all_trials(snapshot: Record) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("trial", "seed", "status", "step", "loss", snapshot["metric"], "why"):
        table.add_column(column, justify="left" if column in ("trial", "status", "why") else "right", overflow="fold")
    for trial in snapshot["trials"].values():
        numbers = [f"{trial[name]:.4g}" if trial[name] is not None else "-" for name in ("loss", "perplexity")]
        table.add_row(
            trial["label"], str(trial["seed"]), trial["status"], str(trial["step"]), *numbers, trial["reason"]
        )
    return table
