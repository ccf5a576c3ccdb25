"""Preflight: check that a model and its texts exist and fit, and find their sizes, before anything is loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.sections import CalibrationSpec, EvaluationSpec
from nmlab.trials.data import TextSource, calibration_batches, evaluation_windows
from nmlab.trials.data.contamination import Contamination, contamination
from nmlab.trials.data.readable import check_readable
from nmlab.trials.data.sources import documents_digest, files_left_out, read_documents
from nmlab.trials.evaluation import check_tasks
from nmlab.trials.models import ModelSource, locate
from nmlab.trials.models.context_length import embedding_rows, longest_context
from nmlab.trials.models.coverage import Coverage
from nmlab.trials.models.frozen import read_tokenizer
from nmlab.trials.models.prunable import PrunableLayer, check_divisible, find_prunable
from nmlab.trials.models.reading import read_skeleton
from nmlab.trials.models.stored import stored_note

MOST_CONTAMINATED = 0.01  # share of the evaluation windows that may occur in the calibration text


@dataclass(frozen=True)
class PreflightFacts:
    """What is known about a model and its texts without loading the weights."""

    architecture: str
    parameters: int
    prunable: int
    layers: int
    blocks: int
    model_bytes: int
    vocabulary_size: int
    evaluation_windows: int
    data_digest: str
    hidden: int
    prunable_layers: tuple[PrunableLayer, ...] = field(repr=False)
    sizes: Mapping[str, tuple[int, ...]] = field(repr=False)
    """Shapes of all parameters by name."""
    coverage: Coverage = field(repr=False)
    """How much of the decoder blocks a mask covers, and what stays dense."""
    stored: str = ""
    """A note on how the weights are stored, "" for plain weights."""
    text_notes: tuple[str, ...] = ()
    """Notes on the texts for a reader of results, a line each; see ``check_no_overlap``."""


def preflight(
    model: ModelSource,
    *,
    patterns: Sequence[Pattern],
    calibration: CalibrationSpec,
    evaluation: EvaluationSpec,
) -> PreflightFacts:
    """Return the facts; raises ``SourceError`` for a missing, unreadable or unsuitable model or text."""
    folder = locate(model)
    skeleton = read_skeleton(folder, model)
    config = skeleton.config
    tokenizer = read_tokenizer(folder, model)
    found = find_prunable(skeleton, leave_dense=model.leave_dense)
    layers = found.layers
    for pattern in patterns:
        check_divisible(layers, pattern=pattern)
    longest = longest_context(skeleton)
    _check_length(longest, calibration, evaluation)
    check_tasks(evaluation, tokenizer=tokenizer, longest=longest)
    for source in sources_of(calibration, evaluation):
        check_readable(source, tokenizer=tokenizer, rows=embedding_rows(skeleton))
    text = _check_text(tokenizer, calibration, evaluation)
    parameters = list(skeleton.parameters())
    return PreflightFacts(
        architecture=type(skeleton).__name__,
        parameters=sum(p.numel() for p in parameters),
        prunable=sum(layer.numel for layer in layers),
        layers=len(layers),
        blocks=1 + max(layer.block for layer in layers),
        model_bytes=sum(p.numel() * p.element_size() for p in parameters),
        vocabulary_size=int(config.get_text_config(decoder=True).vocab_size),
        evaluation_windows=text.windows,
        data_digest=text.digest,
        hidden=int(config.get_text_config(decoder=True).hidden_size),
        prunable_layers=layers,
        sizes={name: tuple(p.shape) for name, p in skeleton.named_parameters()},
        coverage=found.coverage,
        stored=stored_note(folder, dtype=model.dtype),
        text_notes=text.notes,
    )


def sources_of(calibration: CalibrationSpec, evaluation: EvaluationSpec) -> tuple[TextSource, TextSource]:
    """Return the calibration text and the evaluation text."""
    return (
        TextSource(calibration.source, part="calibration", split=calibration.split, column=calibration.column),
        TextSource(evaluation.source, part="evaluation", split=evaluation.split, column=evaluation.column),
    )


def check_no_overlap(found: Contamination, *, calibration: str, evaluation: str) -> tuple[str, ...]:
    """Return a note if some of the evaluation windows occur in the calibration text.

    Raises ``SourceError`` where more than 1 % of them do. ``calibration`` and ``evaluation`` name the sources.
    """
    count = f"{len(found.found)} of {found.windows} evaluation windows ({100 * found.share:.3g} %)"
    text = f"{count} occur word for word in the calibration text"
    if found.share > MOST_CONTAMINATED:
        raise SourceError(_same_text(text, calibration=calibration, evaluation=evaluation))
    return (f"{text}; the first is window {found.found[0]}",) if found.found else ()


def _same_text(what: str, *, calibration: str, evaluation: str) -> str:
    return (
        f"data: calibration {calibration!r} and evaluation {evaluation!r} read the same text, so masks would be judged "
        f"on what they learned ({what}); give another text, or slices such as FILE[:80%] and FILE[80%:]"
    )


def _check_length(longest: int | None, calibration: CalibrationSpec, evaluation: EvaluationSpec) -> None:
    for name, length in (
        ("calibration", calibration.sequence_length),
        ("evaluation", evaluation.sequence_length),
    ):
        if longest is not None and length > longest:
            raise SourceError(f"data.{name}.sequence_length = {length}: the model reads at most {longest} tokens")


class _Text(NamedTuple):
    """The number of evaluation windows, a digest of both texts, and notes on them."""

    windows: int
    digest: str
    notes: tuple[str, ...]


def _check_text(tokenizer: PreTrainedTokenizerBase, calibration: CalibrationSpec, evaluation: EvaluationSpec) -> _Text:
    learned, held_out = sources_of(calibration, evaluation)
    documents = read_documents(learned)
    if read_documents(held_out) == documents:  # checked before the length of the text
        raise SourceError(_same_text("all of it", calibration=calibration.source, evaluation=evaluation.source))
    calibration_batches(
        learned,
        tokenizer=tokenizer,
        samples=calibration.samples,
        sequence_length=calibration.sequence_length,
        batch_size=calibration.batch_size,
        seed=calibration.seed,
    )
    windows = evaluation_windows(
        held_out,
        tokenizer=tokenizer,
        sequence_length=evaluation.sequence_length,
        limit=evaluation.windows,
        windowing=evaluation.windowing,
        passages=True,
    )
    found = contamination(windows.passages or (), calibration=documents)
    notes = check_no_overlap(found, calibration=calibration.source, evaluation=evaluation.source)
    digest = documents_digest([documents_digest(documents), windows.digest])
    return _Text(len(windows), digest, (*notes, *_left_out(learned), *_left_out(held_out)))


def _left_out(text: TextSource) -> tuple[str, ...]:
    names = files_left_out(text)
    return (f"data {text.source!r}: left out as no data: {', '.join(names)}",) if names else ()
