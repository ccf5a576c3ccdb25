"""``nmlab run``: run one configuration in this process, without Ray."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nmlab.platform.cli.completion import complete_hyperparameter, complete_method
from nmlab.platform.cli.evaluation_options import FewShot, Questions, Tasks, Windowing, Windows
from nmlab.platform.cli.next_steps import evaluate_command, export_command, print_steps
from nmlab.platform.cli.options import DEFAULT_URI, Json, LeaveDense, Quiet, Results, TrackingUri, console, print_json
from nmlab.trials.contract.declarations import metric_of
from nmlab.trials.contract.run_status import TrialStatus

if TYPE_CHECKING:
    from nmlab.platform.api.running import Ran

Hyperparameters = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A hyperparameter; see `nmlab methods METHOD`; may be repeated.",
        autocompletion=complete_hyperparameter,
    ),
]


def run(
    method: Annotated[str, typer.Argument(help="A method; see `nmlab methods`.", autocompletion=complete_method)],
    *,
    hyperparameters: Hyperparameters = None,
    model: Annotated[str, typer.Option(help="builtin:tiny, or a Hugging Face folder or hub id.")] = "builtin:tiny",
    revision: Annotated[str | None, typer.Option(help="Revision of a Hugging Face hub id.")] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    leave_dense: LeaveDense = None,
    data: Annotated[
        str,
        typer.Option(
            help="Text to learn from: builtin:python-docs, a file, a folder, JSONL, or a Hugging Face hub id."
        ),
    ] = "builtin:python-docs",
    evaluation: Annotated[
        str | None,
        typer.Option(help="Held-out text. Default: the last fifth of --data; a part of its own for builtin texts."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of a Hugging Face dataset to learn from.")] = None,
    evaluation_split: Annotated[
        str | None, typer.Option(help="Split of a Hugging Face dataset to evaluate on.")
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="Column that holds the text, of a Hugging Face dataset or JSONL.")
    ] = None,
    pattern: Annotated[str, typer.Option(help="N:M keeps N of every M weights.")] = "2:4",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the trial.")] = 0,
    samples: Annotated[int, typer.Option(min=1, help="Calibration windows.")] = 128,
    sequence_length: Annotated[int, typer.Option(min=2, help="Tokens of a window.")] = 128,
    batch_size: Annotated[int, typer.Option(min=1, help="Windows of a minibatch.")] = 32,
    windowing: Windowing = None,
    windows: Windows = None,
    tasks: Tasks = None,
    few_shot: FewShot = None,
    questions: Questions = None,
    results: Results = Path("results"),
    tracking_uri: TrackingUri = DEFAULT_URI,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run one configuration in this process, without a cluster, and record it in MLflow (experiment `runs`).

    Example: nmlab run maskpro --set steps=500 --set learning_rate=3 --set logit_magnitude=5 --tasks quiz.jsonl
    """
    from nmlab.platform.api.run_progress import RunProgress
    from nmlab.platform.api.running import RunInterrupted, run_spec
    from nmlab.platform.api.trial_specification import TrialTexts, specification

    spec = specification(
        method,
        hyperparameters,
        texts=TrialTexts(
            data=data, evaluation=evaluation, split=split, evaluation_split=evaluation_split, column=column
        ),
        model={"source": model, "revision": revision, "dtype": dtype, "leave_dense": leave_dense or ()},
        sizes={"samples": samples, "sequence_length": sequence_length, "batch_size": batch_size},
        measured={
            "tasks": tasks,
            "windowing": windowing,
            "windows": windows,
            "few_shot": few_shot,
            "questions": questions,
        },
        pattern=pattern,
        seed=seed,
    )
    progress = RunProgress(shown=not (quiet or as_json))
    try:
        ran = run_spec(spec, results=results, tracking_uri=tracking_uri, progress=progress)
    except RunInterrupted as error:
        console(stderr=True).print(f"nmlab: {error}", markup=False)
        raise typer.Exit(1) from error
    _print_result(ran, as_json=as_json)
    if ran.saved:
        console(stderr=True).print(f"nmlab: {ran.saved}", markup=False)
    if ran.result.status == TrialStatus.FINISHED and not (quiet or as_json):
        steps = [evaluate_command] if method == "dense" else [evaluate_command, export_command]
        print_steps(console(), [step(spec.key, tracking_uri=tracking_uri, results=results) for step in steps])
    if ran.result.status != TrialStatus.FINISHED:
        raise typer.Exit(1)


def _print_result(ran: "Ran", *, as_json: bool) -> None:
    spec, result = ran.spec, ran.result
    if as_json:
        record = {"key": result.key, "status": result.status, "reason": result.reason, "folder": str(ran.folder)}
        print_json(
            {
                **record,
                "coverage": ran.coverage,
                "notes": list(result.notes),
                "metrics": dict(result.metrics),
                "spec": spec.model_dump(mode="json"),
            }
        )
        return
    out = console()
    out.print(
        f"{spec.method} {spec.pattern} seed {spec.seed}: {result.status} {result.reason}".rstrip(),
        markup=False,
    )
    evaluated = [name for name in result.metrics if metric_of(name).family == "eval" and name != "eval/perplexity"]
    shown = [name for name in (*evaluated, "cost/seconds", "cost/forwards", "time/step_s") if name in result.metrics]
    width = max(24, *map(len, shown)) if shown else 24
    for name in shown:
        out.print(f"  {name:{width}} {result.metrics[name]:.6g}", markup=False)
    for note in result.notes:
        out.print(f"  {'note':{width}} {note}", markup=False)
    if spec.method != "dense":
        out.print(f"  {'mask':{width}} {ran.coverage}", markup=False)
    out.print(f"  {'files':{width}} {ran.folder}", markup=False)
