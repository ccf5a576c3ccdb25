"""``nmlab clean``: list what can be deleted of launches, in bytes by kind, and delete it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nmlab.platform.cli.options import Json, Results, console, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from nmlab.platform.launches.cleaning import Cleaning

Name = Annotated[
    str | None,
    typer.Argument(
        metavar="[LAUNCH]",
        help="A launch, its folder, or a study (its newest launch). Default: all launches.",
        show_default=False,
    ),
]


def clean(
    name: Name = None,
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
    from nmlab.platform.launches import launch as launches
    from nmlab.platform.launches.cleaning import CleaningChoice, all_launches, carry_out, survey
    from nmlab.platform.launches.ownership import OwnedError
    from nmlab.platform.tracking.undelivered import undelivered

    if whole and name is None:
        raise ValueError("--whole deletes a launch with its results; expected its name: nmlab clean LAUNCH --whole")
    choice = CleaningChoice(checkpoints=checkpoints, whole=whole, keep_best=keep_best)
    found = []
    for launch in all_launches(results) if name is None else [launches.find(name, results=results)]:
        cleaning = survey(launch, choice, undelivered=undelivered)
        if yes and not cleaning.kept_because:
            try:
                cleaning = carry_out(launch, choice, undelivered=undelivered)
            except OwnedError as error:
                cleaning.paths, cleaning.kept_because = {}, str(error)
        found.append(cleaning)
    if as_json:
        print_json({"deleted": yes, "bytes": _total(found), "launches": [each.record() for each in found]})
    else:
        _show(found, yes=yes)
    if yes and name is not None and found[0].kept_because:
        raise typer.Exit(1)


def _total(found: list["Cleaning"]) -> dict[str, int]:
    from nmlab.platform.launches.cleaning import KINDS

    sums = {kind: sum(each.bytes_by_kind.get(kind, 0) for each in found) for kind in KINDS}
    return {kind: size for kind, size in sums.items() if size}


def _show(found: list["Cleaning"], *, yes: bool) -> None:
    from nmlab.platform.planning.admission import size

    out = console()
    out.print(_table(found))
    for each in found:
        if each.kept_because:
            out.print(f"{each.launch.name}: left alone, {each.kept_because}", markup=False)
        elif each.best:
            out.print(f"{each.launch.name}: kept masks and weights of configuration {each.best}", markup=False)
    total = size(sum(_total(found).values()))
    out.print(f"{total} deleted" if yes else f"{total} would be deleted; --yes deletes them", markup=False)


def _table(found: list["Cleaning"]) -> "Table":
    from rich.table import Table

    from nmlab.platform.launches.cleaning import KINDS
    from nmlab.platform.planning.admission import size

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("launch", no_wrap=True)
    for kind in KINDS:
        table.add_column(kind, justify="right", no_wrap=True)
    for each in found:
        sizes = each.bytes_by_kind
        table.add_row(each.launch.name, *(size(sizes[kind]) if kind in sizes else "-" for kind in KINDS))
    return table
