"""``nmlab evaluate``: evaluate the mask of a run, a mask bundle, or any checkpoint."""

from pathlib import Path
from typing import Annotated

import typer

from nmlab.platform.cli.completion import complete_launch
from nmlab.platform.cli.evaluation_options import FewShot, Questions, Tasks, Windowing, Windows
from nmlab.platform.cli.next_steps import export_command, print_steps
from nmlab.platform.cli.options import DEFAULT_URI, Json, LeaveDense, Results, TrackingUri, console, print_json

TargetName = Annotated[
    str,
    typer.Argument(
        help="Any id that nmlab prints (run, trial, configuration, launch) or its first characters, a trial's folder, "
        "a mask file (with its model), or a checkpoint.",
        autocompletion=complete_launch,
    ),
]
Model = Annotated[str | None, typer.Option(help="Base model of a mask. Default: the model in its record.")]
Revision = Annotated[str | None, typer.Option(help="Revision of a Hugging Face hub id.")]
Dtype = Annotated[str | None, typer.Option(help="float32, bfloat16 or float16. Default: as in the record.")]


def evaluate(
    target: TargetName,
    *,
    data: Annotated[str | None, typer.Option(help="Held-out text, as in a study. Default: the run's own.")] = None,
    split: Annotated[str | None, typer.Option(help="Split of a Hugging Face dataset.")] = None,
    column: Annotated[str | None, typer.Option(help="Column that holds the text.")] = None,
    windowing: Windowing = None,
    sequence_length: Annotated[int | None, typer.Option(min=2, help="Tokens of a window.")] = None,
    windows: Windows = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Windows, or answer options, evaluated at once.")
    ] = None,
    tasks: Tasks = None,
    few_shot: FewShot = None,
    questions: Questions = None,
    model: Model = None,
    revision: Revision = None,
    dtype: Dtype = None,
    leave_dense: LeaveDense = None,
    record: Annotated[bool, typer.Option("--record", help="Record the result in MLflow.")] = False,
    study: Annotated[
        str | None,
        typer.Option(help="Evaluate as this study or launch does, and join its table.", autocompletion=complete_launch),
    ] = None,
    label: Annotated[str | None, typer.Option(help="Name in tables for a model made elsewhere.")] = None,
    speed: Annotated[bool, typer.Option("--speed", help="Also measure tokens a second and count FLOPs.")] = False,
    results: Results = Path("results"),
    tracking_uri: TrackingUri = DEFAULT_URI,
    as_json: Json = False,
) -> None:
    """Measure a model's N:M pattern, its perplexity, and its accuracy on tasks. --record keeps the result in MLflow.

    Example: nmlab evaluate path/to/pruned-model --data corpus.txt --sequence-length 512 --tasks quiz.jsonl
    """
    from nmlab.platform.api import evaluating

    found = evaluating.evaluate(
        target,
        data=data,
        split=split,
        column=column,
        windowing=windowing,
        sequence_length=sequence_length,
        windows=windows,
        batch_size=batch_size,
        tasks=tasks,
        few_shot=few_shot,
        questions=questions,
        model=model,
        revision=revision,
        dtype=dtype,
        leave_dense=leave_dense or (),
        record=record,
        study=study,
        label=label,
        speed=speed,
        results=results,
        tracking_uri=tracking_uri,
    )
    if as_json:
        print_json(found.record())
        return
    rows = found.rows()
    width = max(map(len, rows))
    for name, text in rows.items():
        console().print(f"{name:{width}}  {text}", markup=False)
    if found.has_mask:
        print_steps(console(), [export_command(found.trial or target, tracking_uri=tracking_uri, results=results)])
