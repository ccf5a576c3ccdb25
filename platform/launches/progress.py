"""The live view of a sweep on a terminal: replicas, running trials, best so far."""

import os
import socket
import time
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nmlab.platform.launches.standings import read_standing
from nmlab.trials.contract.run_status import TrialStatus
from nmlab.trials.files.checked_json import write_checked
from nmlab.trials.files.disk import is_disk_full

Record = dict[str, Any]
STATUS_FORMAT = 1
_SHOWN = 6


class StatusFile:
    """The snapshot on disk that ``nmlab status`` reads; replaced as a whole, at most once a second."""

    def __init__(self, path: Path) -> None:
        self._path, self._written = path, 0.0

    def write(self, snapshot: Record, *, force: bool = False) -> None:
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

    def __enter__(self) -> "ProgressView":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, snapshot: Record) -> None:
        """Draw ``snapshot``; on a plain stream print one line for each trial that has ended since the last call."""
        if self._live is not None:
            self._live.update(render(snapshot))
            return
        self._print_trouble(snapshot["trouble"])
        if not self._quiet:
            self._print_ended(snapshot)

    def _print_trouble(self, trouble: dict[str, str]) -> None:
        """Print a trouble when it begins, and not again while it lasts."""
        for source in trouble.keys() - self._trouble:
            self._console.print(trouble[source], markup=False, highlight=False, soft_wrap=True)
        self._trouble = set(trouble)

    def _print_ended(self, snapshot: Record) -> None:
        for key, trial in snapshot["trials"].items():
            if key in self._printed or trial["status"] in (TrialStatus.WAITING, TrialStatus.RUNNING):
                continue
            self._printed.add(key)
            head = f"[{snapshot['ended']}/{snapshot['planned']}]"
            self._console.print(f"{head} {_outcome(trial)}", markup=False, highlight=False, soft_wrap=True)


def render(snapshot: Record) -> Group:
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
    return Group(top, _replicas(snapshot), *lines, *map(Text, _best(snapshot)), *trouble)


def _replicas(snapshot: Record) -> Text:
    if not snapshot["replicas"]:
        return Text("replicas: loading the model", style="dim")
    return Text("  |  ".join(_replica(*each) for each in sorted(snapshot["replicas"].items())), style="dim")


def _replica(name: str, facts: Record) -> str:
    if "device" not in facts:  # refused before it loaded anything
        return f"{name} {facts['state']}: {facts['reason']}"
    return (
        f"{name} {facts['state']} on {facts['device']}, {facts['slots']} slot(s), {len(facts['shards'])} stage(s), "
        f"{facts['model_bytes'] / 2**20:.1f} MiB loaded {facts['loads']}x"
    )


def _trials(running: list[Record], metric: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("trial", "seed", "step", "loss", metric):
        table.add_column(column, justify="left" if column == "trial" else "right", overflow="fold")
    for trial in running:
        step = f"{trial['step']}/{trial['steps']}" if trial["steps"] else "-"
        table.add_row(trial["label"], str(trial["seed"]), step, _number(trial["loss"]), _number(trial["perplexity"]))
    return table


def _best(snapshot: Record) -> list[str]:
    """Return for each pattern a line on the best complete configuration and the best baseline."""
    return [read_standing(record).text for record in snapshot.get("best", ())]


def _outcome(trial: Record) -> str:
    """Return one line about a trial that has ended."""
    name = f"{trial['label']} seed={trial['seed']}"
    if trial["status"] != TrialStatus.FINISHED:
        return f"{trial['status']}: {name} ({trial['reason']})"
    start = f" from {_number(trial['initial'])}" if trial["initial"] is not None else ""
    return f"{name}: {_number(trial['perplexity'])}{start}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s"
