"""``nmlab run``: one configuration, here and now."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nmlab.platform.cli.options import DEFAULT_URI, Json, Quiet, Results, TrackingUri, console, print_json

if TYPE_CHECKING:
    from nmlab.trials.spec import TrialSpec
    from nmlab.trials.trial import TrialResult

Hyperparameters = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A hyperparameter; see `nmlab methods METHOD`."),
]


def run(
    method: Annotated[str, typer.Argument(help="A method; see `nmlab methods`.")],
    hyperparameters: Hyperparameters = None,
    model: Annotated[str, typer.Option(help="builtin:tiny, a Hugging Face folder, or a hub id.")] = "builtin:tiny",
    revision: Annotated[str | None, typer.Option(help="Revision of a hub id.")] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    data: Annotated[
        str,
        typer.Option(help="Text to learn from: builtin:python-docs, a file or folder, JSONL, or a hub id."),
    ] = "builtin:python-docs",
    evaluation: Annotated[
        str | None,
        typer.Option(help="Held-out text; of a file given as --data alone, the last fifth is held out."),
    ] = None,
    pattern: Annotated[str, typer.Option(help="N:M, keep N of every M.")] = "2:4",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    samples: Annotated[int, typer.Option(min=1, help="Calibration windows.")] = 128,
    sequence_length: Annotated[int, typer.Option(min=2, help="Tokens of a window.")] = 128,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    windows: Annotated[int | None, typer.Option(min=1, help="At most so many evaluation windows.")] = None,
    results: Results = Path("results"),
    tracking_uri: TrackingUri = DEFAULT_URI,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run one configuration in this process, without a cluster, and record it in MLflow (experiment `runs`).

    Example: nmlab run maskpro --set steps=500 --set learning_rate=3 --set logit_magnitude=5
    """
    from nmlab.platform.single import make_folder, run_single
    from nmlab.platform.tracking.store import absolute_uri, check_store
    from nmlab.trials.models import ModelSource
    from nmlab.trials.pattern import Pattern
    from nmlab.trials.preflight import preflight
    from nmlab.trials.spec import CalibrationSpec, EvaluationSpec, TrialSpec

    learn, held_out = _sources(data, evaluation)
    spec = TrialSpec(
        method=method,
        pattern=str(Pattern.parse(pattern)),
        seed=seed,
        hyperparameters=_hyperparameters(method, pattern, hyperparameters or []),
        model=ModelSource(model, revision, dtype),
        calibration=CalibrationSpec(
            source=learn, samples=samples, sequence_length=sequence_length, batch_size=batch_size
        ),
        evaluation=EvaluationSpec(
            source=held_out, sequence_length=sequence_length, batch_size=batch_size, windows=windows
        ),
    )
    uri = absolute_uri(tracking_uri)
    facts = preflight(
        spec.model,
        patterns=[Pattern.parse(pattern)],
        calibration=spec.calibration,
        evaluation=spec.evaluation,
    )
    check_store(uri)
    folder = make_folder(results, key=spec.key)
    watch = _Watcher(quiet=quiet or as_json)
    with watch:
        result = run_single(spec, facts=facts, folder=folder, tracking_uri=uri, watch=watch)
    _tell(spec, result, folder, as_json=as_json)
    if result.status != "finished":
        raise typer.Exit(1)


def _sources(data: str, evaluation: str | None) -> tuple[str, str]:
    """Return calibration and evaluation source; a single file is cut, so that nothing is judged on what it learned."""
    if evaluation is not None or data.startswith("builtin:"):
        return data, evaluation or data
    return f"{data}[:80%]", f"{data}[80%:]"


def _hyperparameters(method: str, pattern: str, given: list[str]) -> dict[str, Any]:
    import yaml

    from nmlab.trials import registry
    from nmlab.trials.pattern import Pattern

    parsed = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set {text!r}: expected NAME=VALUE, for example steps=500")
        parsed[name.strip()] = yaml.safe_load(value)
    known = registry.get(method)
    config = known.configure(parsed)
    if reason := known.refuse(Pattern.parse(pattern), config):
        raise ValueError(f"{method}: {reason}")
    return config.model_dump()


class _Watcher:
    """A progress bar on a terminal, nothing elsewhere."""

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
        shown = {name.rpartition("/")[2]: value for name, value in values.items() if name in _SHOWN}
        text = "  ".join(f"{name} {value:.4g}" for name, value in shown.items())
        self._progress.update(self._task, completed=step, description=text)


_SHOWN = ("train/loss", "train/residual", "train/mask_change", "eval/perplexity")


def _tell(spec: "TrialSpec", result: "TrialResult", folder: Path, *, as_json: bool) -> None:
    if as_json:
        record = {"key": result.key, "status": result.status, "reason": result.reason, "folder": str(folder)}
        print_json({**record, "metrics": dict(result.metrics), "spec": spec.model_dump(mode="json")})
        return
    out = console()
    out.print(
        f"{spec.method} {spec.pattern} seed {spec.seed}: {result.status} {result.reason}".rstrip(),
        markup=False,
    )
    for name in (
        "eval/token_perplexity",
        "eval/word_perplexity",
        "cost/seconds",
        "cost/forwards",
        "time/step_s",
    ):
        if name in result.metrics:
            out.print(f"  {name:24} {result.metrics[name]:.6g}", markup=False)
    out.print(f"  files                    {folder}", markup=False)
