"""Evaluate a masked model: perplexity on held-out text and on neutral texts, and the tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.metrics import neutral_prefix
from nmlab.trials.contract.sections import EvaluationSpec, HeldOutText, NeutralSpec
from nmlab.trials.data import TextSource, Windows, evaluation_windows
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
    neutral: Mapping[str, Perplexity] = field(default_factory=dict)
    """On neutral texts, by name."""


def evaluate(model: MaskedModel, spec: EvaluationSpec, *, neutral: Sequence[NeutralSpec] = ()) -> EvaluationResult:
    """Evaluate a model with its applied masks; raises ``SourceError`` for text or tasks that cannot be used."""
    windows = _windows(model.frozen, spec)
    others = {text.name: (text, _windows(model.frozen, text)) for text in neutral}
    tasks = run_tasks(model, spec) if spec.tasks else None  # first, because its data may be missing
    perplexity = measure_perplexity(model, windows, batch_size=spec.batch_size)
    found = {name: measure_perplexity(model, own, batch_size=text.batch_size) for name, (text, own) in others.items()}
    metrics = {**perplexity.metrics(spec.perplexity), **(tasks.metrics() if tasks else {})}
    for name, own in found.items():
        metrics |= own.metrics(spec.perplexity, prefix=neutral_prefix(name))
    return EvaluationResult(perplexity, tasks, metrics, found)


def _windows(frozen: FrozenModel, spec: HeldOutText) -> Windows:
    """Return the windows of a text after a check that the model reads it."""
    _check_length(frozen, spec)
    text = TextSource.held_out(spec)
    check_readable(text, tokenizer=frozen.tokenizer, rows=embedding_rows(frozen.module))
    return evaluation_windows(
        text,
        tokenizer=frozen.tokenizer,
        sequence_length=spec.sequence_length,
        limit=spec.windows,
        windowing=spec.windowing,
    )


def _check_length(frozen: FrozenModel, spec: HeldOutText) -> None:
    longest = longest_context(frozen.module)
    if longest is not None and spec.sequence_length > longest:
        raise SourceError(f"sequence length {spec.sequence_length}: the model reads at most {longest} tokens")
