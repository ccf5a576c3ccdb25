"""Options that several verbs share, and how verbs print."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from nmlab.platform.api import places
from nmlab.platform.api.command import quieten
from nmlab.platform.api.consoles import console
from nmlab.platform.api.places import DEFAULT_URI
from nmlab.platform.cli.completion import complete_launch, complete_preset, complete_setting, complete_study
from nmlab.trials.contract.secrets import masked

__all__ = ["DEFAULT_URI", "console"]

StudyName = Annotated[
    str,
    typer.Argument(help="Name of a study (see `nmlab studies`) or a YAML file.", autocompletion=complete_study),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a setting of the study; may be repeated.",
        show_default=False,
        autocompletion=complete_setting,
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        help="Size of the study, such as full; see `nmlab studies STUDY`.",
        show_default=False,
        autocompletion=complete_preset,
    ),
]


def local_path(what: str) -> Callable[[Path | None], Path | None]:
    """Return a callback for an option that takes a local path; it raises ``ValueError`` for a URL."""

    def check(path: Path | None) -> Path | None:
        return None if path is None else places.local_path(path, what=what)

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
    return None if uri is None else places.store_uri(uri)


TrackingUri = Annotated[
    str, typer.Option("--tracking-uri", envvar="MLFLOW_TRACKING_URI", help="MLflow store.", callback=usable_uri)
]


def usable_notify(url: str | None) -> str | None:
    """Return an address for messages as it is; raises ``ValueError``, which shows no more of it than its host."""
    places.notify_url(url)
    return url


Notify = Annotated[
    str | None,
    typer.Option(
        "--notify",
        metavar="URL",
        envvar="NMLAB_NOTIFY",
        help="Post JSON there when the launch ends or fails, and when the disk is full. It is kept nowhere.",
        show_default=False,
        callback=usable_notify,
    ),
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
WarmStart = Annotated[
    list[str] | None,
    typer.Option(
        "--warm-start",
        metavar="LAUNCH",
        help="An earlier launch, its folder, or a study, from whose outcomes the search starts; may be repeated.",
        show_default=False,
        autocompletion=complete_launch,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
Mixed = Annotated[
    bool, typer.Option("--mixed", help="Allow runs that were not evaluated alike; the output marks them.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the result.", callback=quieten)]


def print_json(value: object) -> None:
    """Print a value as JSON on the standard output."""
    typer.echo(masked(json.dumps(value, indent=2, default=str)))
