"""``nmlab diff``: compare two masks layer by layer."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nmlab.platform.cli.evaluate import Dtype, Model, Revision, TargetName
from nmlab.platform.cli.next_steps import evaluate_command, print_steps
from nmlab.platform.cli.options import DEFAULT_URI, Json, LeaveDense, Results, TrackingUri, console, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from nmlab.platform.api.comparing import MaskDifference


def diff(
    first: TargetName,
    second: TargetName,
    *,
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
    from nmlab.platform.api import comparing

    found = comparing.diff(
        first,
        second,
        model=model,
        revision=revision,
        dtype=dtype,
        leave_dense=leave_dense or (),
        results=results,
        tracking_uri=tracking_uri,
    )
    if as_json:
        print_json(found.record())
        return
    for how_chosen in filter(None, found.taken):
        console().print(how_chosen, markup=False)
    # Above the table, because its last row is what the others are compared with.
    names = [key or target for key, target in zip(found.trials, (first, second), strict=True)]
    print_steps(
        console(), [evaluate_command(name, tracking_uri=tracking_uri, results=results) for name in dict.fromkeys(names)]
    )
    console().print(_table(found, layers=layers))


def _table(found: "MaskDifference", *, layers: bool) -> "Table":
    """Return the comparison as a table, with a row for each of the layers if asked for."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("layer", "weights", "agree", "kept by both", "same groups"):
        table.add_column(column, justify="left" if column == "layer" else "right")
    for cells in found.cells(layers=layers):
        table.add_row(*cells)
    return table
