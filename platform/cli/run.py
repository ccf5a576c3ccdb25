"""``nmlab run``: run one configuration in this process, without Ray."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nmlab.platform.cli.evaluation_options import (
    FewShot,
    Questions,
    Tasks,
    Windowing,
    Windows,
    calibration_spec,
    evaluation_spec,
    given_evaluation,
)
from nmlab.platform.cli.interruption import Interruption
from nmlab.platform.cli.next_steps import evaluate_command, export_command, print_steps
from nmlab.platform.cli.options import DEFAULT_URI, Json, LeaveDense, Quiet, Results, TrackingUri, console, print_json
from nmlab.trials.contract.declarations import metric_of
from nmlab.trials.contract.run_status import TrialStatus
from nmlab.trials.contract.run_tags import SINGLE_RUNS

if TYPE_CHECKING:
    from nmlab.trials.contract.trial_spec import TrialSpec
    from nmlab.trials.trial.outcome import TrialResult

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?(:[\w.-]+)?")

Hyperparameters = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A hyperparameter; see `nmlab methods METHOD`; may be repeated."),
]


def run(
    method: Annotated[str, typer.Argument(help="A method; see `nmlab methods`.")],
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
    from nmlab.platform.planning.checks import check_inputs, check_text
    from nmlab.platform.planning.study_trials import configured
    from nmlab.platform.tracking.address import absolute_uri, check_store
    from nmlab.trials.contract.model_settings import model_source
    from nmlab.trials.contract.pattern import Pattern
    from nmlab.trials.contract.trial_spec import TrialSpec

    learned, held_out = _texts(data, evaluation, splits=(split, evaluation_split), column=column)
    sizes = {"sequence_length": sequence_length, "batch_size": batch_size}
    held_out_options = {"source": "--evaluation" if evaluation else "--data", "split": "--evaluation-split"}
    given = given_evaluation(tasks=tasks, windowing=windowing, windows=windows, few_shot=few_shot, questions=questions)
    spec = TrialSpec(
        method=method,
        pattern=str(Pattern.parse(pattern)),
        seed=seed,
        hyperparameters=_hyperparameters(method, pattern, hyperparameters or []),
        model=model_source({"source": model, "revision": revision, "dtype": dtype, "leave_dense": leave_dense or ()}),
        calibration=calibration_spec({"samples": samples, **learned, **sizes}),
        evaluation=evaluation_spec({**held_out, **sizes, **given}, options=held_out_options),
    )
    trial = configured(spec)
    check_text(trial)
    uri = absolute_uri(tracking_uri)

    # These load torch, which takes seconds; what was given is checked before.
    from nmlab.platform.run_one import make_folder, run_one
    from nmlab.trials.sizing.preflight import preflight

    facts = preflight(
        spec.model,
        patterns=[Pattern.parse(pattern)],
        calibration=spec.calibration,
        evaluation=spec.evaluation,
    )
    check_inputs(trial, facts)
    check_store(uri, study=SINGLE_RUNS)
    folder = make_folder(results, key=spec.key)
    watch = _Watcher(quiet=quiet or as_json)
    with watch, Interruption(folder, key=spec.key) as interruption:
        result = run_one(
            spec, facts=facts, folder=folder, tracking_uri=uri, watch=watch, stopping=interruption.is_asked
        )
    _print_result(spec, result, folder, facts.coverage.sentence(), as_json=as_json)
    if interruption.is_asked() and result.status == TrialStatus.STOPPED:
        console(stderr=True).print(f"nmlab: {interruption.saved(result.step)}", markup=False)
    if result.status == TrialStatus.FINISHED and not (quiet or as_json):
        steps = [evaluate_command] if spec.method == "dense" else [evaluate_command, export_command]
        print_steps(console(), [step(spec.key, tracking_uri=tracking_uri, results=results) for step in steps])
    if result.status != TrialStatus.FINISHED:
        raise typer.Exit(1)


def _texts(
    data: str, evaluation: str | None, *, splits: tuple[str | None, str | None], column: str | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of the text to learn from and of the text to evaluate on.

    One text given alone is cut (a Hugging Face dataset at its split): no mask is evaluated on the text it learned from.
    """
    learned = {"source": data, "split": splits[0], "column": column}
    held_out = {"source": evaluation or data, "split": splits[1], "column": column}
    if evaluation is not None or data.startswith("builtin:"):
        return learned, held_out
    if Path(data).expanduser().exists() or not _HUB_ID.fullmatch(data):
        return {**learned, "source": f"{data}[:80%]"}, {**held_out, "source": f"{data}[80%:]"}
    if splits[1] is None:
        name = splits[0] or "train"
        return {**learned, "split": f"{name}[:80%]"}, {**held_out, "split": f"{name}[80%:]"}
    return learned, held_out


def _hyperparameters(method: str, pattern: str, given: list[str]) -> dict[str, Any]:
    from nmlab.search_spaces.reading import study_yaml
    from nmlab.trials.contract.pattern import Pattern
    from nmlab.trials.methods import registry

    parsed = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set {text!r}: expected NAME=VALUE, for example steps=500")
        parsed[name.strip()] = study_yaml.parse(value, source=f"--set {name.strip()}")
    known = registry.get(method)
    config = known.configure(parsed)
    if reason := known.unsupported_reason(Pattern.parse(pattern), config):
        raise ValueError(f"{method}: {reason}")
    return config.model_dump()


class _Watcher:
    """Shows a progress bar on a terminal, and nothing elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("step {task.completed}"),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        out = console(stderr=True)
        self._progress = Progress(*columns, console=out, transient=True, disable=quiet or not out.is_terminal)
        self._task = self._progress.add_task("", total=None)

    def __enter__(self) -> "_Watcher":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, step: int, values: Mapping[str, float]) -> None:
        shown = {metric_of(name).label: value for name, value in values.items() if name in _SHOWN}
        text = "  ".join(f"{name} {value:.4g}" for name, value in shown.items())
        self._progress.update(self._task, completed=step, description=text)


_SHOWN = ("train/loss", "train/residual", "train/mask_change", "initial/perplexity", "eval/perplexity")


def _print_result(spec: "TrialSpec", result: "TrialResult", folder: Path, coverage: str, *, as_json: bool) -> None:
    if as_json:
        record = {"key": result.key, "status": result.status, "reason": result.reason, "folder": str(folder)}
        print_json(
            {
                **record,
                "coverage": coverage,
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
        out.print(f"  {'mask':{width}} {coverage}", markup=False)
    out.print(f"  {'files':{width}} {folder}", markup=False)
