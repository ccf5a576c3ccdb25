"""``nmlab clean``: list what can be deleted of launches, in bytes by kind, and delete it."""

from pathlib import Path
from typing import Annotated

import typer

from nmlab.platform.cli.completion import complete_launch
from nmlab.platform.cli.options import Json, Results, console, print_json

Name = Annotated[
    str | None,
    typer.Argument(
        metavar="[LAUNCH]",
        help="A launch, its folder, or a study (its newest launch). Default: all launches.",
        show_default=False,
        autocompletion=complete_launch,
    ),
]


def clean(
    name: Name = None,
    *,
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="Only checkpoints of trials that have ended.")
    ] = False,
    keep_best: Annotated[
        bool,
        typer.Option("--keep-best", help="Results too, except masks and weights of the best configuration."),
    ] = False,
    whole: Annotated[bool, typer.Option("--whole", help="The whole launch with its results; needs LAUNCH.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete. Default: only list what would be deleted.")] = False,
    results: Results = Path("results"),
    as_json: Json = False,
) -> None:
    """List what can be deleted of launches, in bytes; with --yes, delete it.

    Without further options: checkpoints of trials that have ended, Ray's session folders, and files that were damaged
    or cut off. Every result stays. A launch that a process owns, and results that MLflow lacks, are never deleted.

    Example: nmlab clean quickstart --keep-best --yes
    """
    from nmlab.platform.api import cleaning

    found = cleaning.clean(name, checkpoints=checkpoints, keep_best=keep_best, whole=whole, delete=yes, results=results)
    if as_json:
        print_json(found.record())
    else:
        for part in found.view():
            console().print(part, markup=False)
    if yes and name is not None and found.launches[0].kept_because:
        raise typer.Exit(1)
