"""Look at a model and its text before anything is loaded: are they there, do they fit, how large will it be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from transformers import PreTrainedTokenizerBase

from nmlab.trials.data import TextSource, calibration_batches, evaluation_windows
from nmlab.trials.data.readable import check_readable
from nmlab.trials.data.sources import documents_digest, overlap, read_documents
from nmlab.trials.errors import SourceError
from nmlab.trials.evaluation import check_tasks
from nmlab.trials.models import ModelSource, locate
from nmlab.trials.models.context import embedding_rows, longest_context
from nmlab.trials.models.coverage import Coverage
from nmlab.trials.models.frozen import read_tokenizer
from nmlab.trials.models.prunable import PrunableLayer, check_divisible, find_prunable
from nmlab.trials.models.reading import read_skeleton
from nmlab.trials.models.stored import stored_note
from nmlab.trials.pattern import Pattern
from nmlab.trials.spec import CalibrationSpec, EvaluationSpec


@dataclass(frozen=True)
class Facts:
    """What is known of a model and its text without loading the weights."""

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
    """What must be said of how the weights are stored."""


def preflight(
    model: ModelSource,
    *,
    patterns: Sequence[Pattern],
    calibration: CalibrationSpec,
    evaluation: EvaluationSpec,
) -> Facts:
    """Raise ``SourceError`` for a model or text that is missing, unreadable, too short, or does not fit a pattern."""
    folder = locate(model)
    skeleton = read_skeleton(folder, model)
    config = skeleton.config
    tokenizer = read_tokenizer(folder, model)
    found = find_prunable(skeleton, leave_dense=model.leave_dense)
    layers = found.layers
    for pattern in patterns:
        check_divisible(layers, pattern=pattern)
    _check_apart(calibration, evaluation)
    longest = longest_context(skeleton)
    _check_length(longest, calibration, evaluation)
    check_tasks(evaluation, tokenizer=tokenizer, longest=longest)
    for text in sources_of(calibration, evaluation):
        check_readable(text, tokenizer=tokenizer, rows=embedding_rows(skeleton))
    windows, digest = _check_text(tokenizer, calibration, evaluation)
    parameters = list(skeleton.parameters())
    return Facts(
        architecture=type(skeleton).__name__,
        parameters=sum(p.numel() for p in parameters),
        prunable=sum(layer.numel for layer in layers),
        layers=len(layers),
        blocks=1 + max(layer.block for layer in layers),
        model_bytes=sum(p.numel() * p.element_size() for p in parameters),
        vocabulary_size=int(config.get_text_config(decoder=True).vocab_size),
        evaluation_windows=windows,
        data_digest=digest,
        hidden=int(config.get_text_config(decoder=True).hidden_size),
        prunable_layers=layers,
        sizes={name: tuple(p.shape) for name, p in skeleton.named_parameters()},
        coverage=found.coverage,
        stored=stored_note(folder, dtype=model.dtype),
    )


def sources_of(calibration: CalibrationSpec, evaluation: EvaluationSpec) -> tuple[TextSource, TextSource]:
    """Return the text that is learned from, and the one that is held out."""
    return (
        TextSource(calibration.source, part="calibration", split=calibration.split, column=calibration.column),
        TextSource(evaluation.source, part="evaluation", split=evaluation.split, column=evaluation.column),
    )


def _check_apart(calibration: CalibrationSpec, evaluation: EvaluationSpec) -> None:
    learned = TextSource(calibration.source, part="calibration", split=calibration.split)
    held_out = TextSource(evaluation.source, part="evaluation", split=evaluation.split)
    if overlap(learned, held_out):
        raise SourceError(
            f"data: calibration ({learned.source!r}) and evaluation ({held_out.source!r}) read the same text, so masks "
            "would be judged on what they learned; give another text, or slices such as FILE[:80%] and FILE[80%:]"
        )


def _check_length(longest: int | None, calibration: CalibrationSpec, evaluation: EvaluationSpec) -> None:
    for name, length in (
        ("calibration", calibration.sequence_length),
        ("evaluation", evaluation.sequence_length),
    ):
        if longest is not None and length > longest:
            raise SourceError(f"data.{name}.sequence_length = {length}: the model reads at most {longest} tokens")


def _check_text(
    tokenizer: PreTrainedTokenizerBase, calibration: CalibrationSpec, evaluation: EvaluationSpec
) -> tuple[int, str]:
    learned = TextSource(calibration.source, part="calibration", split=calibration.split, column=calibration.column)
    calibration_batches(
        learned,
        tokenizer=tokenizer,
        samples=calibration.samples,
        sequence_length=calibration.sequence_length,
        batch_size=calibration.batch_size,
        seed=calibration.seed,
    )
    held_out = TextSource(evaluation.source, part="evaluation", split=evaluation.split, column=evaluation.column)
    windows = evaluation_windows(
        held_out,
        tokenizer=tokenizer,
        sequence_length=evaluation.sequence_length,
        limit=evaluation.windows,
        windowing=evaluation.windowing,
    )
    digest = documents_digest([documents_digest(read_documents(learned)), documents_digest(read_documents(held_out))])
    return len(windows), digest
