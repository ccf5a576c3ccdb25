"""``nmlab export``: write a masked model in another format, and read it back to verify it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from nmlab.trials.export.exporter import Exporter


def export(
    target: TargetName,
    format_: Annotated[str, typer.Option("--format", "-f", help="mask, hf, onnx or torch-sparse.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Folder to write; it must be empty or not exist.",
            callback=local_path("output folder"),
        ),
    ],
    model: Model = None,
    revision: Revision = None,
    dtype: Dtype = None,
    results: Results = Path("results"),
    leave_dense: LeaveDense = None,
    tracking_uri: TrackingUri = DEFAULT_URI,
    as_json: Json = False,
) -> None:
    """Write a masked model in another format, read it back, and compare logits and masks. Exit code 1 if they differ.

    Example: nmlab export results/runs/KEY --format hf --output pruned-model
    """
    from nmlab.platform.tracking.result_files import located
    from nmlab.trials.export import formats
    from nmlab.trials.export.exporter import ExportError
    from nmlab.trials.export.exporter import export as write
    from nmlab.trials.export.subject import Base, open_subject
    from nmlab.trials.models.frozen import best_device

    exporter = formats.get(format_)
    base = Base(model, revision, dtype, tuple(leave_dense or ()))
    with located(target, tracking_uri=tracking_uri, results=results) as found:
        subject = open_subject(found.place, base=base, device=best_device())
        try:
            facts = write(subject, exporter, folder=output.expanduser())
        except ExportError as error:
            console(stderr=True).print(f"nmlab: {error}", markup=False)
            raise typer.Exit(1) from error
    if as_json:
        print_json({**facts, "trial": found.key, "taken": found.said})
        return
    if found.said:
        console().print(found.said, markup=False)
    _print_facts(facts, exporter, output)
    readable = exporter.name in ("hf", "mask")  # the formats that `nmlab evaluate` reads
    again = str(output) if readable else found.key or target
    print_steps(console(), [evaluate_command(again, tracking_uri=tracking_uri, results=results)])


def _print_facts(facts: dict[str, Any], exporter: "Exporter", output: Path) -> None:
    out, verified = console(), facts["verified"]
    out.print(f"{output}: {exporter.about}", markup=False)
    out.print(
        f"read back: {verified['layers']} layers with the same weights and {facts['pattern']} mask; "
        f"logits differ by at most {verified['largest_difference']:.2g} (allowed {verified['tolerance']:.2g})",
        markup=False,
    )
    out.print(f"coverage: {facts['coverage']}", markup=False)
    for layer in facts.get("layers", ()):
        out.print(f"  {'sparse' if layer['sparse'] else 'dense '} {layer['layer']}: {layer['why']}", markup=False)
