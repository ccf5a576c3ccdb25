"""Options that several verbs share, and how verbs print."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Annotated, Any, cast

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from nmlab.platform.process.logs import quieten
from nmlab.trials.contract.escaping import printable
from nmlab.trials.contract.secrets import masked

DEFAULT_URI = "sqlite:///nmlab.db"

Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a setting of the study; may be repeated.",
        show_default=False,
    ),
]
Preset = Annotated[
    str | None,
    typer.Option("--preset", help="Size of the study, such as full; see `nmlab studies STUDY`.", show_default=False),
]


def local_path(what: str) -> Callable[[Path | None], Path | None]:
    """Return a callback for an option that takes a local path; it raises ``ValueError`` for a URL."""

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
    """Return a store's address without its password, which is put into the environment, where MLflow reads it."""
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
        help="Weights of decoder blocks to leave without a mask: part of a name, or a pattern; may be repeated.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
Mixed = Annotated[
    bool, typer.Option("--mixed", help="Allow runs that were not evaluated alike; the output marks them.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the result.", callback=quieten)]


class PlainConsole(Console):
    """A console that prints text from users as it is: no markup, no emoji, no terminal control characters."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Yield the segments to print; colours that nmlab itself sets are kept as styles of the segments."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints text as it is and keeps the present stream, even if it is redirected later."""
    stream = MaskedStream(sys.stderr if stderr else sys.stdout)
    return PlainConsole(file=cast(IO[str], stream), highlight=False, markup=False, emoji=False, soft_wrap=True)


class MaskedStream:
    """A text stream that masks passwords."""

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
