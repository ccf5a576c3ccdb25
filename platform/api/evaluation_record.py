"""An evaluation as plain JSON, as `nmlab evaluate --json` prints it, and as the lines that people read."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, TypedDict

from nmlab.trials.contract.values import JsonMapping, JsonObject

if TYPE_CHECKING:
    from nmlab.trials.contract.sections import EvaluationSpec
    from nmlab.trials.evaluation import EvaluationResult
    from nmlab.trials.export.subject import Subject


class LayerSparsityRecord(TypedDict):
    """The share of a layer's weights that are not zero, and the N:M pattern that they follow, or ``none``."""

    name: str
    density: float
    pattern: str


class SparsityRecord(TypedDict):
    """The same of all prunable layers together, and of each."""

    pattern: str
    density: float
    layers: list[LayerSparsityRecord]


class EvaluationRecord(TypedDict):
    """What was measured of a model, and of what.

    ``trial`` is the key of the trial that the mask came from, and ``taken`` says how it was chosen; ``recorded`` is the
    run in MLflow that holds the result; ``use`` is what ``measure_speed`` returned.
    """

    target: str
    kind: Literal["trial", "mask", "maskllm", "checkpoint"]
    model: JsonObject
    mask: JsonObject | None
    coverage: str
    covered: float
    stored: str
    sparsity: SparsityRecord
    evaluation: JsonObject
    metrics: dict[str, float]
    tasks: JsonObject | None
    recorded: str | None
    use: JsonObject | None
    trial: str | None
    taken: str


def evaluation_record(
    target: str,
    subject: "Subject",
    evaluated: "EvaluationResult",
    *,
    spec: "EvaluationSpec",
    run_id: str | None,
    use: JsonObject | None,
    trial: str | None,
    taken: str,
) -> EvaluationRecord:
    """Return an evaluation as plain JSON.

    Args:
        target: what was asked for.
        subject: the model.
        evaluated: its metrics.
        spec: on which text and tasks.
        run_id: the run in MLflow that holds the result, if it was recorded.
        use: its speed, if it was measured.
        trial: the key of the trial that the mask came from, if any.
        taken: how that trial was chosen; "" if it was named.
    """
    from nmlab.trials.contract.model_settings import settings_of

    frozen, found = subject.model.frozen, subject.sparsity()
    return {
        "target": target,
        "kind": subject.kind,
        "model": {**settings_of(frozen.source), "digest": frozen.digest},
        "mask": vars(subject.finished.info) if subject.finished else None,
        "coverage": frozen.coverage.sentence("prunes" if found.pattern else "masks can cover"),
        "covered": frozen.coverage.share,
        "stored": frozen.stored,
        "sparsity": {
            "pattern": str(found.pattern or "none"),
            "density": found.density,
            "layers": [
                {"name": layer.name, "density": layer.density, "pattern": str(layer.pattern or "none")}
                for layer in found.layers
            ],
        },
        "evaluation": spec.model_dump(mode="json"),
        "metrics": dict(evaluated.metrics),
        "tasks": dict(evaluated.tasks.facts) if evaluated.tasks else None,
        "recorded": run_id,
        "use": use,
        "trial": trial,
        "taken": taken,
    }


def evaluation_rows(record: EvaluationRecord) -> Iterator[tuple[str, str]]:
    """Yield what is shown of an evaluation, in order: a name and a text."""
    model, evaluation = record["model"], record["evaluation"]
    if record["taken"]:
        yield "result", record["taken"]
    yield "model", f"{model['source']} in {model['dtype']}, digest {model['digest']}"
    if record["mask"]:
        yield "mask", f"{record['mask']['method']} {record['mask']['pattern']}"
    if record["stored"]:
        yield "weights", record["stored"]
    yield "pattern", _pattern(record["sparsity"])
    yield "coverage", record["coverage"]
    windows = f"{evaluation['windowing']} windows of {evaluation['sequence_length']} tokens"
    yield "text", f"{evaluation['source']}, {windows}"
    for name, value in record["metrics"].items():
        yield name, f"{value:.6g}"
    if record["recorded"]:
        yield "recorded", f"run {record['recorded']}"
    if record["use"]:
        yield from _use(record["use"])


def _use(use: JsonMapping) -> Iterator[tuple[str, str]]:
    count, load = use["flops"], use["workload"]
    yield (
        "FLOPs",
        f"{count['dense']:.4g} for a prompt of {load['prompt']} tokens, {count['prunable']:.4g} of them in "
        f"layers with a mask; {count['with_pattern']:.4g} with sparse kernels",
    )
    for speed in use["tokens_per_second"]:
        text = f"{speed['prefill']:.4g} prefill, {speed['decode']:.4g} decode" if speed["prefill"] else speed["skipped"]
        yield f"tokens/s {speed['name']}", text


def _pattern(sparsity: SparsityRecord) -> str:
    layers = sparsity["layers"]
    other = [layer["name"] for layer in layers if layer["pattern"] == "none"]
    density = f"{sparsity['density']:.4g} of the weights are not zero"
    if sparsity["pattern"] != "none":
        return f"{sparsity['pattern']} in all {len(layers)} prunable layers; {density}"
    if len(other) == len(layers):
        return f"none in any of {len(layers)} layers; {density}"
    named = ", ".join(other[:3]) + (f" and {len(other) - 3} more" if len(other) > 3 else "")
    return f"none that all layers share; {len(layers) - len(other)} of {len(layers)} follow one, not {named}; {density}"
