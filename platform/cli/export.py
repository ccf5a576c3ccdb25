"""``nmlab export``: write a masked model in another format, and read it back to verify it."""

from pathlib import Path
from typing import Annotated

import typer

from nmlab.platform.cli.evaluate import Dtype, Model, Revision, TargetName
from nmlab.platform.cli.next_steps import evaluate_command, print_steps
from nmlab.platform.cli.options import (
    DEFAULT_URI,
    Json,
    LeaveDense,
    Results,
    TrackingUri,
    console,
    local_path,
    print_json,
)

Format = Annotated[str, typer.Option("--format", "-f", help="mask, hf, onnx or torch-sparse.")]
Output = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        help="Folder to write; it must be empty or not exist.",
        callback=local_path("output folder"),
    ),
]


def export(
    target: TargetName,
    *,
    format_: Format,
    output: Output,
    model: Model = None,
    revision: Revision = None,
    dtype: Dtype = None,
    results: Results = Path("results"),
    leave_dense: LeaveDense = None,
    tracking_uri: TrackingUri = DEFAULT_URI,
    as_json: Json = False,
) -> None:
    """Write a masked model in another format, read it back, and compare weights and logits. Exit code 1 if they differ.

    Example: nmlab export results/runs/KEY --format hf --output pruned-model
    """
    import nmlab
    from nmlab.platform.api import exporting

    try:
        written = exporting.export(
            target,
            format_,
            output,
            model=model,
            revision=revision,
            dtype=dtype,
            leave_dense=leave_dense or (),
            results=results,
            tracking_uri=tracking_uri,
        )
    except nmlab.ExportError as error:
        console(stderr=True).print(f"nmlab: {error}", markup=False)
        raise typer.Exit(1) from error
    if as_json:
        print_json(written.record())
        return
    for line in (*([written.taken] if written.taken else []), *written.lines()):
        console().print(line, markup=False)
    again = str(output) if written.format in exporting.READABLE else written.trial or target
    print_steps(console(), [evaluate_command(again, tracking_uri=tracking_uri, results=results)])
