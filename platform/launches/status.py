"""How a launch stands: its snapshot on disk, written and read, and the views of it on a terminal."""

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nmlab.platform.launches.confirming import confirmation_line
from nmlab.platform.launches.launch import Launch
from nmlab.platform.launches.snapshot import ReplicaSnapshot, Snapshot, StoredSnapshot, TrialSnapshot
from nmlab.platform.launches.standings import read_standing
from nmlab.trials.contract.run_status import LaunchStatus, TrialStatus
from nmlab.trials.files.checked_json import read_checked, write_checked
from nmlab.trials.files.disk import is_disk_full

STATUS_FORMAT = 1
_SHOWN = 6
_FIRST_STATUS = (
    *("study", "launch", "phase", "metric", "mode", "planned", "ended", "counts", "elapsed_seconds", "eta_seconds"),
    *("model_loads", "trouble", "replicas", "trials", "written", "pid", "machine"),
)
_SILENT_WRITER_SECONDS = 30.0
"""A status that is older is that of a driver that was killed; a living one writes every second."""
_AT_WORK = (LaunchStatus.STARTING, LaunchStatus.RUNNING, LaunchStatus.STOPPING)


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


class ProgressView:
    """A live view on a terminal; elsewhere one line for each trial that ends. With ``quiet`` only troubles."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console, self._quiet = console, quiet
        self._live = (
            None if quiet or not console.is_terminal else Live(console=console, refresh_per_second=4, transient=True)
        )
        self._printed: set[str] = set()
        self._trouble: set[str] = set()
        self._has_chosen = False

    def __enter__(self) -> "ProgressView":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, snapshot: Snapshot) -> None:
        """Draw ``snapshot``; on a plain stream print one line for each trial that has ended since the last call."""
        if self._live is not None:
            self._live.update(render(snapshot))
            return
        self._print_trouble(snapshot["trouble"])
        if not self._quiet:
            self._print_ended(snapshot)
            self._print_choice(snapshot)

    def _print_trouble(self, trouble: Mapping[str, str]) -> None:
        """Print a trouble when it begins, and not again while it lasts."""
        for source in trouble.keys() - self._trouble:
            self._console.print(trouble[source], markup=False, highlight=False, soft_wrap=True)
        self._trouble = set(trouble)

    def _print_choice(self, snapshot: Snapshot) -> None:
        """Print what confirms the search, once it is chosen."""
        confirmation = snapshot.get("confirmation")
        if confirmation is not None and confirmation["is_chosen"] and not self._has_chosen:
            self._has_chosen = True
            self._console.print(confirmation_line(confirmation), markup=False, highlight=False, soft_wrap=True)

    def _print_ended(self, snapshot: Snapshot) -> None:
        for key, trial in snapshot["trials"].items():
            if key in self._printed or trial["status"] in (TrialStatus.WAITING, TrialStatus.RUNNING):
                continue
            self._printed.add(key)
            head = f"[{snapshot['ended']}/{snapshot['planned']}]"
            self._console.print(f"{head} {_outcome(trial)}", markup=False, highlight=False, soft_wrap=True)


def render(snapshot: Snapshot) -> Group:
    """Return the view of a snapshot."""
    done = snapshot["ended"] / max(1, snapshot["planned"])
    head = Text.assemble(
        (snapshot["study"], "bold"),
        f"  {snapshot['phase']}  {snapshot['ended']}/{snapshot['planned']} trials",
        f"  elapsed {_clock(snapshot['elapsed_seconds'])}",
        f"  about {_clock(snapshot['eta_seconds'])} to go" if snapshot["eta_seconds"] is not None else "",
    )
    top = Table.grid()  # a bar alone would not end its line
    top.add_row(head)
    top.add_row(ProgressBar(total=1.0, completed=done, width=60))
    running = [trial for trial in snapshot["trials"].values() if trial["status"] == TrialStatus.RUNNING]
    lines = [_trials(running[:_SHOWN], snapshot["metric"])] if running else []
    trouble = [Text(line, style="bold red") for line in snapshot["trouble"].values()]
    return Group(top, _replicas(snapshot), *lines, *map(Text, _found(snapshot)), *trouble)


def _replicas(snapshot: Snapshot) -> Text:
    if not snapshot["replicas"]:
        return Text("replicas: loading the model", style="dim")
    return Text("  |  ".join(_replica(*each) for each in sorted(snapshot["replicas"].items())), style="dim")


def _replica(name: str, facts: ReplicaSnapshot) -> str:
    if "device" not in facts:  # refused before it loaded anything
        return f"{name} {facts['state']}: {facts['reason']}"
    return (
        f"{name} {facts['state']} on {facts['device']}, {facts['slots']} slot(s), {len(facts['shards'])} stage(s), "
        f"{facts['model_bytes'] / 2**20:.1f} MiB loaded {facts['loads']}x"
    )


def _trials(running: list[TrialSnapshot], metric: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("trial", "seed", "step", "loss", metric):
        table.add_column(column, justify="left" if column == "trial" else "right", overflow="fold")
    for trial in running:
        step = f"{trial['step']}/{trial['steps']}" if trial["steps"] else "-"
        table.add_row(trial["label"], _seed(trial), step, _number(trial["loss"]), _number(trial["perplexity"]))
    return table


def confirmation_lines(snapshot: Snapshot) -> tuple[str, ...]:
    """Return how the search and its confirmation stand, in a few lines; none if the study asks for no confirmation."""
    return tuple(_best(snapshot)) if "confirmation" in snapshot else ()


def _found(snapshot: Snapshot) -> list[str]:
    """Return the lines on the best so far, and why the search stopped if it did."""
    stopped = snapshot.get("search_stopped")
    return [*([stopped] if stopped else []), *_best(snapshot)]


def _best(snapshot: Snapshot) -> list[str]:
    """Return for each pattern a line on the best complete configuration and baseline; then one on the confirmation."""
    lines = [read_standing(record).text for record in snapshot.get("best", ())]
    confirmation = snapshot.get("confirmation")
    return [line for line in lines if line] + ([] if confirmation is None else [confirmation_line(confirmation)])


def _outcome(trial: TrialSnapshot) -> str:
    """Return one line about a trial that has ended."""
    name = f"{trial['label']} seed={_seed(trial)}"
    if trial["status"] != TrialStatus.FINISHED:
        return f"{trial['status']}: {name} ({trial['reason']})"
    start = f" from {_number(trial['initial'])}" if trial["initial"] is not None else ""
    return f"{name}: {_number(trial['perplexity'])}{start}"


def _seed(trial: TrialSnapshot) -> str:
    return f"{trial['seed']} (fresh)" if trial.get("confirmation") else str(trial["seed"])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s"


def read_status(launch: Launch) -> StoredSnapshot:
    """Return the newest snapshot, with ``alive`` added; raises ``ValueError`` if the launch has not written one."""
    try:
        found = read_checked(launch.status_file, kind="status", format=STATUS_FORMAT, before=_FIRST_STATUS)
    except FileNotFoundError as error:
        raise ValueError(f"launch {launch.name} has not started yet: {launch.status_file} is not there") from error
    snapshot = cast(StoredSnapshot, found)
    snapshot["alive"] = snapshot["phase"] in _AT_WORK and _writer_lives(snapshot)
    if snapshot["phase"] in _AT_WORK and not snapshot["alive"]:
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


def render_status(snapshot: Snapshot) -> Group:
    """Return the view of a launch: the progress view, and every trial with its outcome."""
    counts = ", ".join(f"{count} {status}" for status, count in sorted(snapshot["counts"].items())) or "none yet"
    facts = Text(f"{snapshot['launch']}: {counts}; the model was loaded {snapshot['model_loads']} time(s)")
    goes_on = snapshot["phase"] in (LaunchStatus.KILLED, LaunchStatus.STOPPED)
    hint = [Text(f"go on with: nmlab resume {snapshot['launch']}")] if goes_on else []
    return Group(render(snapshot), facts, _all_trials(snapshot), *hint)


def _all_trials(snapshot: Snapshot) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("trial", "seed", "status", "step", "loss", snapshot["metric"], "why"):
        table.add_column(column, justify="left" if column in ("trial", "status", "why") else "right", overflow="fold")
    for trial in snapshot["trials"].values():
        numbers = [_number(trial["loss"]), _number(trial["perplexity"])]
        table.add_row(trial["label"], _seed(trial), trial["status"], str(trial["step"]), *numbers, trial["reason"])
    return table
