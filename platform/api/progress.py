"""How a sweep is shown while it runs: on a terminal, in a notebook, as lines, or not at all."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol, TypeAlias

from rich.console import Console

from nmlab.platform.api.consoles import console
from nmlab.platform.launches.snapshot import Snapshot
from nmlab.platform.launches.view.live_view import view_lines
from nmlab.platform.launches.view.outputs import LaunchView, as_html, as_rich
from nmlab.platform.launches.view.texts import wrapped

if TYPE_CHECKING:
    from nmlab.platform.api.launch_status import Status

Show: TypeAlias = Callable[[Snapshot], None]
"""Shows a snapshot of a launch; one thread at a time calls it."""
_EVERY_S = 0.5
_LOOK_S = 1.0
_NOTEBOOK_WIDTH = 100
"""Characters of a line below a cell: what a notebook beside its list of files has room for."""


class Display(Protocol):
    """Shows a launch: what is to be known before it starts, then its snapshots."""

    def note(self, text: str) -> None:
        """Show a line that the user should know before the start."""

    def begin(self, lines: Sequence[str]) -> None:
        """Show what is about to run."""

    def watching(self) -> AbstractContextManager[Show]:
        """Return a context that yields what shows a snapshot."""


class Silent:
    """Shows nothing."""

    def note(self, text: str) -> None:
        """Ignore the line."""

    def begin(self, lines: Sequence[str]) -> None:
        """Ignore the lines."""

    def watching(self) -> AbstractContextManager[Show]:
        """Return a context in which snapshots are ignored."""
        return nullcontext(lambda snapshot: None)


class Lines:
    """Shows a launch on a console: live on a terminal, elsewhere as the lines of a log.

    Args:
        out: the console for the launch.
        notes: the console for what the user should know before the start.
        quiet: show only notes, and troubles that come up.
    """

    def __init__(self, out: Console, *, notes: Console, quiet: bool = False) -> None:
        self._out, self._notes, self._quiet = out, notes, quiet

    def note(self, text: str) -> None:
        """Print the line."""
        print_words(f"note: {text}", self._notes)

    def begin(self, lines: Sequence[str]) -> None:
        """Print the lines, unless it is quiet."""
        for line in () if self._quiet else lines:
            print_words(line, self._out)

    @contextmanager
    def watching(self) -> Iterator[Show]:
        """Yield what shows a snapshot."""
        with LaunchView(self._out, quiet=self._quiet) as view:
            yield view.show


def print_words(text: str, out: Console) -> None:
    """Print text: on a terminal broken between words, elsewhere on one line."""
    for line in wrapped(text, out.width, rest="  ") if out.is_terminal else (text,):
        out.print(line, markup=False)


class Notebook:
    """Shows a launch below a notebook's cell: one output that is replaced twice a second."""

    def note(self, text: str) -> None:
        """Print the line on the standard error, which notebooks mark."""
        print(f"note: {text}", file=sys.stderr)

    def begin(self, lines: Sequence[str]) -> None:
        """Print the lines."""
        print("\n".join(lines))

    @contextmanager
    def watching(self) -> Iterator[Show]:
        """Yield what shows a snapshot; the last one stays."""
        from IPython.display import HTML, display

        handle = display(HTML("starting ..."), display_id=True)
        drawn = 0.0
        last: Snapshot | None = None

        def show(snapshot: Snapshot, *, now: bool = False) -> None:
            nonlocal drawn, last
            last = snapshot
            if now or time.monotonic() - drawn >= _EVERY_S:
                drawn = time.monotonic()
                handle.update(HTML(as_html(view_lines(snapshot, width=_NOTEBOOK_WIDTH))))

        try:
            yield show
        finally:
            if last is not None:
                show(last, now=True)


def display_for(progress: bool) -> Display:
    """Return the display for this process: silent without ``progress``, a notebook's in a notebook, else lines."""
    if not progress:
        return Silent()
    return Notebook() if in_notebook() else Lines(console(), notes=console(stderr=True))


def in_notebook() -> bool:
    """Return whether this process runs the cells of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


def print_status(found: "Status", out: Console) -> None:
    """Print how a launch stands, with all of its trials."""
    out.print(as_rich(found.lines(width=out.width)))


def watch_status(found: "Status", out: Console, *, again: Callable[[], "Status"]) -> None:
    """Show a launch until its process ends, as the process itself shows it; ``again`` looks once more."""
    with LaunchView(out, stays=True) as view:
        view.show(found.snapshot)
        while found.is_alive:
            time.sleep(_LOOK_S)
            found = again()
            view.show(found.snapshot)
