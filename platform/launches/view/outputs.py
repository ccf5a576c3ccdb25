"""Where the lines of a view go: a terminal that is drawn again and again, HTML, and a stream that is only added to."""

import html
import time
from collections.abc import Callable, Iterable, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.text import Text

from nmlab.platform.launches.snapshot import Snapshot
from nmlab.platform.launches.view.live_view import view_lines
from nmlab.platform.launches.view.log_view import LaunchLog
from nmlab.platform.launches.view.view_line import LineStyle, ViewLine

_RICH: dict[LineStyle, str] = {"": "", "strong": "bold", "quiet": "dim", "bad": "bold red", "bar": "cyan"}
_CSS: dict[LineStyle, str] = {
    "strong": "font-weight:bold",
    "quiet": "opacity:0.65",
    "bad": "font-weight:bold;color:#c0392b",
    "bar": "color:#2a7ab0",
}
_DRAW_SECONDS = 0.5
"""Between two drawings on a terminal."""
_ONE_LINE = 100_000
"""Cells of a line of a log: what is one event is one line there, so that it can be searched."""
_PRE = "<pre style='white-space:pre;overflow-x:auto;line-height:1.25;font-family:monospace'>{}</pre>"


def as_rich(lines: Iterable[ViewLine]) -> Group:
    """Return lines for rich to print as they are."""
    return Group(*(Text(line.text, _RICH[line.style], no_wrap=True, overflow="ignore") for line in lines))


def as_html(lines: Iterable[ViewLine]) -> str:
    """Return lines as preformatted HTML."""
    return _PRE.format("\n".join(map(_html_line, lines)))


def _html_line(line: ViewLine) -> str:
    text = html.escape(line.text)
    return f"<span style='{_CSS[line.style]}'>{text}</span>" if line.style in _CSS else text


class Fitted:
    """What rich prints as wide, and at most as high, as the terminal is at that moment.

    Args:
        lines: returns the lines for a width and a height.
    """

    def __init__(self, lines: Callable[[int, int], Sequence[ViewLine]]) -> None:
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield as_rich(self._lines(options.max_width, max(1, console.height - 1)))


class LaunchView:
    """Shows a launch on a console: drawn again and again on a terminal, elsewhere as the lines of a log.

    Args:
        console: the console.
        quiet: show only troubles, each once.
        stays: whether the last state stays on the terminal.
    """

    def __init__(self, console: Console, *, quiet: bool = False, stays: bool = False) -> None:
        self._console = console
        width = console.width if console.is_terminal else _ONE_LINE
        self._log = LaunchLog(width=width, only_trouble=quiet)
        self._last: Snapshot | None = None
        self._drawn: tuple[Snapshot, tuple[int, int], Sequence[ViewLine]] | None = None
        is_live = console.is_terminal and not quiet
        self._live = (
            Live(Fitted(self._fitted), console=console, transient=not stays, auto_refresh=False) if is_live else None
        )
        self._next_drawing = 0.0

    def __enter__(self) -> "LaunchView":
        # Now and not with the first snapshot: it takes the standard output over, and whoever redirects it meanwhile,
        # as a launch does, must find it so and leave it so.
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
        elif self._last is not None:
            self._print(self._log.update(self._last, now=time.monotonic(), is_last=True))

    def show(self, snapshot: Snapshot) -> None:
        """Show a snapshot."""
        self._last = snapshot
        if self._live is not None:
            self._draw(self._live)
        else:
            self._print(self._log.update(snapshot, now=time.monotonic()))

    def _draw(self, live: Live) -> None:
        """Draw the last snapshot, twice a second at most; the last one of all is drawn at the end."""
        if time.monotonic() >= self._next_drawing:
            live.refresh()
            self._next_drawing = time.monotonic() + _DRAW_SECONDS

    def _fitted(self, width: int, height: int) -> Sequence[ViewLine]:
        """Return the lines of the last snapshot; computed once for each snapshot and size of the terminal."""
        snapshot = self._last
        if snapshot is None:
            return ()
        drawn = self._drawn
        if drawn is None or drawn[0] is not snapshot or drawn[1] != (width, height):
            drawn = (snapshot, (width, height), view_lines(snapshot, width=width, height=height))
            self._drawn = drawn
        return drawn[2]

    def _print(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
