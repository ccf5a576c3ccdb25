"""``nmlab evaluate``: evaluate the mask of a run, a mask bundle, or any checkpoint."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nmlab.platform.cli.evaluation_options import (
    FewShot,
    Questions,
    Tasks,
    Windowing,
    Windows,
    evaluation_spec,
    given_evaluation,
)
from nmlab.platform.cli.next_steps import export_command, print_steps
from nmlab.platform.cli.options import DEFAULT_URI, Json, LeaveDense, Results, TrackingUri, console, print_json
from nmlab.trials.contract.run_tags import SINGLE_RUNS

if TYPE_CHECKING:
    from nmlab.platform.tracking.external_model import Table
    from nmlab.trials.contract.sections import EvaluationSpec
    from nmlab.trials.evaluation import EvaluationResult
    from nmlab.trials.export.subject import Subject

TargetName = Annotated[
    str,
    typer.Argument(
        help="Any id that nmlab prints (run, trial, configuration, launch) or its first characters, a trial's folder, "
        "a mask file (with its model), or a checkpoint."
    ),
]
Model = Annotated[str | None, typer.Option(help="Base model of a mask. Default: the model in its record.")]
Revision = Annotated[str | None, typer.Option(help="Revision of a Hugging Face hub id.")]
Dtype = Annotated[str | None, typer.Option(help="float32, bfloat16 or float16. Default: as in the record.")]


def evaluate(
    target: TargetName,
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
    study: Annotated[str | None, typer.Option(help="Evaluate as this study does, and join its newest table.")] = None,
    label: Annotated[str | None, typer.Option(help="Name in tables for a model made elsewhere.")] = None,
    speed: Annotated[bool, typer.Option("--speed", help="Also measure tokens a second and count FLOPs.")] = False,
    results: Results = Path("results"),
    tracking_uri: TrackingUri = DEFAULT_URI,
    as_json: Json = False,
) -> None:
    """Measure a model's N:M pattern, its perplexity, and its accuracy on tasks. --record keeps the result in MLflow.

    Example: nmlab evaluate path/to/pruned-model --data corpus.txt --sequence-length 512 --tasks quiz.jsonl
    """
    from nmlab.platform.tracking.address import check_store
    from nmlab.platform.tracking.external_model import table_of
    from nmlab.platform.tracking.result_files import located
    from nmlab.trials.evaluation import evaluate as measure
    from nmlab.trials.evaluation.throughput import Workload
    from nmlab.trials.export.speed import measure_speed
    from nmlab.trials.export.subject import Base, open_subject
    from nmlab.trials.models.frozen import best_device

    text = {"source": data, "split": split, "column": column, "windowing": windowing, "windows": windows}
    sizes = {"sequence_length": sequence_length, "batch_size": batch_size, "questions": questions}
    given = given_evaluation(tasks=tasks, few_shot=few_shot, **text, **sizes)
    table = table_of(study, tracking_uri=tracking_uri) if study else None
    base = Base(model, revision, dtype, tuple(leave_dense or ()))
    with located(target, tracking_uri=tracking_uri, results=results) as found:
        subject = open_subject(found.place, base=base, device=best_device())
        spec = _specification(given, subject=subject, table=table)
        _check_recordable(found.run_id, table, spec, record=record)
        if record:
            check_store(tracking_uri, study=table.experiment if table else SINGLE_RUNS)
        evaluated = measure(subject.model, spec)
        run_id = _keep(found.run_id, subject, evaluated, spec, table, label, tracking_uri) if record else None
        use = measure_speed(subject, Workload(batch=spec.batch_size, prompt=spec.sequence_length)) if speed else None
    facts = {**_facts(target, subject, evaluated, spec, run_id), "use": use, "trial": found.key, "taken": found.said}
    if as_json:
        print_json(facts)
        return
    _print_facts(facts)
    if subject.finished is not None:
        print_steps(console(), [export_command(found.key or target, tracking_uri=tracking_uri, results=results)])


def _specification(given: dict[str, Any], *, subject: "Subject", table: "Table | None") -> "EvaluationSpec":
    """Return what to measure on: the study's text and tasks, else the run's own, with the given settings changed."""
    from nmlab.trials.contract.sections import EvaluationSpec

    if table is not None and table.study is not None:
        if given:
            name = next(iter(given)).replace("source", "data").replace("_", "-")
            raise ValueError(
                f"--study takes text and tasks from {table.experiment}, so that results compare; drop --{name}"
            )
        return table.study.data.evaluation
    default = EvaluationSpec(source="builtin:python-docs")
    own = subject.spec.evaluation if subject.spec else default
    if "source" in given:  # split and column belong to the source
        own = own.model_copy(update={"split": None, "column": None})
    checked = evaluation_spec({**default.model_dump(), **given})  # an older version may have kept what is refused today
    return own.model_copy(update={name: getattr(checked, name) for name in given})


def _check_recordable(run_id: str | None, table: "Table | None", spec: "EvaluationSpec", *, record: bool) -> None:
    """Raise ``ValueError``, before anything is measured, where the result could not be recorded afterwards."""
    if record and run_id is not None and table is None and not spec.tasks:
        raise ValueError(f"--record: run {run_id} already has its perplexity; give --tasks, or a --study to join")


def _keep(
    run_id: str | None,
    subject: "Subject",
    evaluated: "EvaluationResult",
    spec: "EvaluationSpec",
    table: "Table | None",
    label: str | None,
    tracking_uri: str,
) -> str:
    """Record tasks in the run that the mask came from; any other model gets a run of its own. Return the run id."""
    from nmlab.platform.tracking.address import absolute_uri
    from nmlab.platform.tracking.external_model import Table, identify, record_external, record_tasks

    if run_id is not None and table is None:
        record_tasks(run_id, evaluated=evaluated, tracking_uri=tracking_uri)
        return run_id
    uri = absolute_uri(tracking_uri)
    table = table or Table()
    identity = identify(subject, label=label, evaluation=spec, study=table.study)
    return record_external(identity, subject=subject, evaluated=evaluated, table=table, tracking_uri=uri)


def _facts(
    target: str, subject: "Subject", evaluated: "EvaluationResult", spec: "EvaluationSpec", run_id: str | None
) -> dict[str, Any]:
    from nmlab.trials.contract.model_settings import settings_of

    frozen, found = subject.model.frozen, subject.sparsity()
    layers = [{"name": at.name, "density": at.density, "pattern": str(at.pattern or "none")} for at in found.layers]
    return {
        "target": target,
        "kind": subject.kind,
        "model": {**settings_of(frozen.source), "digest": frozen.digest},
        "mask": vars(subject.finished.info) if subject.finished else None,
        "coverage": frozen.coverage.sentence("prunes" if found.pattern else "masks can cover"),
        "covered": frozen.coverage.share,
        "stored": frozen.stored,
        "sparsity": {"pattern": str(found.pattern or "none"), "density": found.density, "layers": layers},
        "evaluation": spec.model_dump(mode="json"),
        "metrics": dict(evaluated.metrics),
        "tasks": dict(evaluated.tasks.facts) if evaluated.tasks else None,
        "recorded": run_id,
    }


def _print_facts(facts: dict[str, Any]) -> None:
    out, model, evaluation = console(), facts["model"], facts["evaluation"]
    rows = {
        **({"result": facts["taken"]} if facts["taken"] else {}),
        "model": f"{model['source']} in {model['dtype']}, digest {model['digest']}",
        **({"mask": f"{facts['mask']['method']} {facts['mask']['pattern']}"} if facts["mask"] else {}),
        **({"weights": facts["stored"]} if facts["stored"] else {}),
        "pattern": _pattern(facts["sparsity"]),
        "coverage": facts["coverage"],
        "text": f"{evaluation['source']}, {evaluation['windowing']} windows of {evaluation['sequence_length']} tokens",
        **{name: f"{value:.6g}" for name, value in facts["metrics"].items()},
        **({"recorded": f"run {facts['recorded']}"} if facts["recorded"] else {}),
    }
    rows |= _use(facts["use"]) if facts["use"] else {}
    width = max(map(len, rows))
    for name, text in rows.items():
        out.print(f"{name:{width}}  {text}", markup=False)


def _use(use: dict[str, Any]) -> dict[str, str]:
    count, load = use["flops"], use["workload"]
    rows = {
        "FLOPs": f"{count['dense']:.4g} for a prompt of {load['prompt']} tokens, {count['prunable']:.4g} of them in "
        f"layers with a mask; {count['with_pattern']:.4g} with sparse kernels",
    }
    for speed in use["tokens_per_second"]:
        text = f"{speed['prefill']:.4g} prefill, {speed['decode']:.4g} decode" if speed["prefill"] else speed["skipped"]
        rows[f"tokens/s {speed['name']}"] = text
    return rows


def _pattern(sparsity: dict[str, Any]) -> str:
    layers = sparsity["layers"]
    other = [layer["name"] for layer in layers if layer["pattern"] == "none"]
    density = f"{sparsity['density']:.4g} of the weights are not zero"
    if sparsity["pattern"] != "none":
        return f"{sparsity['pattern']} in all {len(layers)} prunable layers; {density}"
    if len(other) == len(layers):
        return f"none in any of {len(layers)} layers; {density}"
    named = ", ".join(other[:3]) + (f" and {len(other) - 3} more" if len(other) > 3 else "")
    return f"none that all layers share; {len(layers) - len(other)} of {len(layers)} follow one, not {named}; {density}"
