"""Options that several verbs share, and how they print."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Annotated, Any, cast

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from nmlab.trials.contract.escaping import printable
from nmlab.trials.contract.secrets import masked

DEFAULT_URI = "sqlite:///nmlab.db"

Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a setting of the study; repeat for more.",
        show_default=False,
    ),
]
Preset = Annotated[
    str | None,
    typer.Option("--preset", help="Size of the study, such as full; see `nmlab studies STUDY`.", show_default=False),
]


def local_path(what: str) -> Callable[[Path | None], Path | None]:
    """Return a check of an option that takes a path: a URL is refused instead of becoming a folder here."""

    def check(path: Path | None) -> Path | None:
        from nmlab.platform.launches.launch import check_is_local

        if path is not None:
            check_is_local(path, what=what)
        return path

    return check


Results = Annotated[
    Path,
    typer.Option(
        "--results",
        envvar="NMLAB_RESULTS",
        help="Folder for launches and reports.",
        callback=local_path("results folder"),
    ),
]


def usable_uri(uri: str | None) -> str | None:
    """Return a store's address without its password, which goes to the environment where MLflow looks for it."""
    from nmlab.platform.process.credentials import take_credentials

    return None if uri is None else take_credentials(uri)


TrackingUri = Annotated[
    str, typer.Option("--tracking-uri", envvar="MLFLOW_TRACKING_URI", help="MLflow store.", callback=usable_uri)
]
LeaveDense = Annotated[
    list[str] | None,
    typer.Option(
        "--leave-dense",
        metavar="NAME",
        help="Weights of the decoder blocks that no mask touches: part of a name, or a pattern; repeat for more.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
Mixed = Annotated[bool, typer.Option("--mixed", help="Allow runs that were not evaluated alike, marked.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the result.")]


class PlainConsole(Console):
    """A console on which text from users is text: no markup, no emoji, and no character that a terminal obeys."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Yield the segments of what is printed; the colours of nmlab itself are added behind this."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def console(*, stderr: bool = False) -> Console:
    """Return a console that leaves text as it is and keeps to today's stream, whatever is redirected later."""
    stream = MaskedStream(sys.stderr if stderr else sys.stdout)
    return PlainConsole(file=cast(IO[str], stream), highlight=False, markup=False, emoji=False, soft_wrap=True)


class MaskedStream:
    """A stream of text on which no password is shown."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write ``text`` with its secrets masked."""
        return self._stream.write(masked(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def print_json(value: Any) -> None:
    """Print a value as JSON on the standard output."""
    typer.echo(masked(json.dumps(value, indent=2, default=str)))
