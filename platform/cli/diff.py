"""``nmlab diff``: compare two masks layer by layer."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from nmlab.platform.cli.evaluate import Dtype, Model, Revision, TargetName
from nmlab.platform.cli.next_steps import evaluate_command, print_steps
from nmlab.platform.cli.options import DEFAULT_URI, Json, LeaveDense, Results, TrackingUri, console, print_json


def diff(
    first: TargetName,
    second: TargetName,
    model: Model = None,
    revision: Revision = None,
    dtype: Dtype = None,
    leave_dense: LeaveDense = None,
    layers: Annotated[bool, typer.Option(help="Show every layer, not only the whole model.")] = True,
    results: Results = Path("results"),
    tracking_uri: TrackingUri = DEFAULT_URI,
    as_json: Json = False,
) -> None:
    """Compare two masks of one model layer by layer; the last row is what two random masks have in common.

    Example: nmlab diff results/runs/KEY-A results/runs/KEY-B
    """
    from rich.table import Table

    from nmlab.platform.tracking.result_files import located
    from nmlab.trials.export.overlap import compare
    from nmlab.trials.export.subject import Base, read_masks

    base = Base(model, revision, dtype, tuple(leave_dense or ()))
    found, places = [], []
    for target in (first, second):
        with located(target, tracking_uri=tracking_uri, results=results) as place:
            found.append(read_masks(place.place, base=base))
            places.append(place)
    (ours, pattern), (theirs, other) = found
    compared = compare(ours, theirs, patterns=(pattern, other))
    if as_json:
        taken = {"trials": [place.key for place in places], "taken": [place.said for place in places]}
        sides = {"first": first, "second": second, **taken, "patterns": [str(pattern), str(other)]}
        print_json({**sides, **asdict(compared)})
        return
    for place in places:
        if place.said:
            console().print(place.said, markup=False)
    # Above the table, because its last row is what the others are compared with.
    names = [place.key or target for place, target in zip(places, (first, second), strict=True)]
    print_steps(
        console(), [evaluate_command(name, tracking_uri=tracking_uri, results=results) for name in dict.fromkeys(names)]
    )
    table = Table(box=None, pad_edge=False)
    for column in ("layer", "weights", "agree", "kept by both", "same groups"):
        table.add_column(column, justify="left" if column == "layer" else "right")
    for row in (*(compared.layers if layers else ()), compared.total, compared.chance):
        table.add_row(*_cells(row))
    console().print(table)


def _cells(row: Any) -> tuple[str, ...]:
    shares = (row.agreement, row.kept_in_common, row.same_groups)
    return (row.name, f"{row.weights:,}" if row.weights else "", *("-" if s is None else f"{s:.1%}" for s in shares))
