"""Evaluate a masked model: perplexity on held-out text, and the tasks."""

from collections.abc import Mapping
from dataclasses import dataclass

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.sections import EvaluationSpec
from nmlab.trials.data import TextSource, evaluation_windows
from nmlab.trials.data.readable import check_readable
from nmlab.trials.evaluation.perplexity import Perplexity, measure_perplexity
from nmlab.trials.evaluation.tasks import TaskResults, run_tasks
from nmlab.trials.models import FrozenModel, MaskedModel
from nmlab.trials.models.context_length import embedding_rows, longest_context


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """The result of an evaluation: losses of every window, outcomes of every question, and the metrics."""

    perplexity: Perplexity
    tasks: TaskResults | None
    metrics: Mapping[str, float]


def evaluate(model: MaskedModel, spec: EvaluationSpec) -> EvaluationResult:
    """Evaluate a model with its applied masks; raises ``SourceError`` for text or tasks that cannot be used."""
    _check_length(model.frozen, spec)
    text = TextSource.held_out(spec)
    check_readable(text, tokenizer=model.frozen.tokenizer, rows=embedding_rows(model.frozen.module))
    windows = evaluation_windows(
        text,
        tokenizer=model.frozen.tokenizer,
        sequence_length=spec.sequence_length,
        limit=spec.windows,
        windowing=spec.windowing,
    )
    tasks = run_tasks(model, spec) if spec.tasks else None  # first, because its data may be missing
    perplexity = measure_perplexity(model, windows, batch_size=spec.batch_size)
    metrics = {**perplexity.metrics(spec.perplexity), **(tasks.metrics() if tasks else {})}
    return EvaluationResult(perplexity, tasks, metrics)


def _check_length(frozen: FrozenModel, spec: EvaluationSpec) -> None:
    longest = longest_context(frozen.module)
    if longest is not None and spec.sequence_length > longest:
        raise SourceError(f"sequence length {spec.sequence_length}: the model reads at most {longest} tokens")
