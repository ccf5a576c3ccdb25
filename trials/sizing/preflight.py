"""Preflight: check that a model and its texts exist and fit, and find their sizes, before anything is loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from nmlab.trials.contract.errors import OverlapError, SourceError
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.sections import CalibrationSpec, EvaluationSpec, HeldOutText, NeutralSpec, ValidationSpec
from nmlab.trials.data import TextSource, Windows, evaluation_windows, read_calibration
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
    """Of the calibration, validation and evaluation text."""
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
    validation_windows: int = 0
    """0 without a validation text."""
    neutral_windows: Mapping[str, int] = field(default_factory=dict)
    """By the name of the neutral text."""
    neutral_digests: Mapping[str, str] = field(default_factory=dict)
    """By the name of the neutral text."""


def preflight(
    model: ModelSource,
    *,
    patterns: Sequence[Pattern],
    calibration: CalibrationSpec,
    evaluation: EvaluationSpec,
    validation: ValidationSpec | None = None,
    neutral: Sequence[NeutralSpec] = (),
) -> PreflightFacts:
    """Return the facts; raises ``SourceError`` for a missing, unreadable or unsuitable model or text."""
    texts = StudyTexts(calibration, evaluation, validation, tuple(neutral))
    folder = locate(model)
    skeleton = read_skeleton(folder, model)
    config = skeleton.config.get_text_config(decoder=True)
    tokenizer = read_tokenizer(folder, model)
    found = find_prunable(skeleton, leave_dense=model.leave_dense)
    layers = found.layers
    for pattern in patterns:
        check_divisible(layers, pattern=pattern)
    _check_readable(skeleton, tokenizer, texts)
    text = _check_text(tokenizer, texts)
    parameters = list(skeleton.parameters())
    return PreflightFacts(
        architecture=type(skeleton).__name__,
        parameters=sum(p.numel() for p in parameters),
        prunable=sum(layer.numel for layer in layers),
        layers=len(layers),
        blocks=1 + max(layer.block for layer in layers),
        model_bytes=sum(p.numel() * p.element_size() for p in parameters),
        vocabulary_size=int(config.vocab_size),
        evaluation_windows=text.windows["evaluation"],
        validation_windows=text.windows.get("validation", 0),
        neutral_windows={own.name: text.windows[section_of(own)] for own in texts.neutral},
        neutral_digests=dict(text.neutral_digests),
        data_digest=text.digest,
        hidden=int(config.hidden_size),
        prunable_layers=layers,
        sizes={name: tuple(p.shape) for name, p in skeleton.named_parameters()},
        coverage=found.coverage,
        stored=stored_note(folder, dtype=model.dtype),
        text_notes=text.notes,
    )


@dataclass(frozen=True)
class StudyTexts:
    """The texts of a study, in the order in which they are read."""

    calibration: CalibrationSpec
    evaluation: EvaluationSpec
    validation: ValidationSpec | None = None
    neutral: tuple[NeutralSpec, ...] = ()

    @property
    def held_out(self) -> Mapping[str, HeldOutText]:
        """The texts that no mask may learn from, by the name of their section."""
        chosen_on = {} if self.validation is None else {"validation": self.validation}
        return {**chosen_on, "evaluation": self.evaluation, **{section_of(text): text for text in self.neutral}}

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Texts that must not overlap: each held-out one with all that are read before it but neutral ones."""
        held_out, neutral = self.held_out, set(map(section_of, self.neutral))
        found = combinations(self.sources, 2)
        return [(read, other) for read, other in found if other in held_out and read not in neutral]

    @property
    def all(self) -> Mapping[str, CalibrationSpec | HeldOutText]:
        """Every text by the name of its section, calibration first."""
        return {"calibration": self.calibration, **self.held_out}

    @property
    def learned(self) -> Mapping[str, TextSource]:
        """Where the calibration text comes from, or each text of its mixture, by the path of its setting."""
        texts = TextSource.of_calibration(self.calibration)
        if not self.calibration.is_mixture:
            return {"calibration": texts[0]}
        return {f"calibration.source[{place}]": text for place, text in enumerate(texts)}

    @property
    def sources(self) -> Mapping[str, TextSource]:
        """Where the texts come from, calibration first."""
        return {**self.learned, **{name: TextSource.held_out(section) for name, section in self.held_out.items()}}


def section_of(text: NeutralSpec) -> str:
    """Return what messages call a neutral text: ``neutral.news``."""
    return f"neutral.{text.name}"


def check_no_overlap(found: Contamination, *, read: tuple[str, str], held_out: tuple[str, str]) -> tuple[str, ...]:
    """Return a note if some windows of a held-out text occur in a text that is read before it.

    Masks learn from the calibration text, configurations are chosen on the validation text, and a neutral text must be
    another than all of these. Both texts are given as the name of the section and its source. Raises ``SourceError``
    where more than 1 % of the windows occur there.
    """
    count = f"{len(found.found)} of {found.windows} {held_out[0]} windows ({100 * found.share:.3g} %)"
    text = f"{count} occur word for word in the {read[0]} text"
    if found.share > MOST_CONTAMINATED:
        raise OverlapError(_same_text(text, read=read, held_out=held_out))
    return (f"{text}; the first is window {found.found[0]}",) if found.found else ()


def _same_text(what: str, *, read: tuple[str, str], held_out: tuple[str, str]) -> str:
    so = "masks would be evaluated on what they learned"
    if held_out[0].startswith("neutral."):
        so = "it is not neutral"
    elif read[0] == "validation":
        so = "results would be reported on the text that they were chosen on"
    return (
        f"data: {read[0]} {read[1]!r} and {held_out[0]} {held_out[1]!r} read the same text, so {so} ({what}); give "
        "another text, or slices such as FILE[:80%] and FILE[80%:]"
    )


def _check_readable(skeleton: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: StudyTexts) -> None:
    """Raise ``SourceError`` for text or tasks that the model does not read."""
    longest = longest_context(skeleton)
    for name, section in texts.all.items():
        length = section.sequence_length
        if longest is not None and length > longest:
            raise SourceError(f"data.{name}.sequence_length = {length}: the model reads at most {longest} tokens")
    check_tasks(texts.evaluation, tokenizer=tokenizer, longest=longest)
    for source in texts.sources.values():
        check_readable(source, tokenizer=tokenizer, rows=embedding_rows(skeleton))


class _Text(NamedTuple):
    """The windows by section, a digest of all texts but the neutral ones, which have their own, and notes on them."""

    windows: Mapping[str, int]
    digest: str
    notes: tuple[str, ...]
    neutral_digests: Mapping[str, str]


def _check_text(tokenizer: PreTrainedTokenizerBase, texts: StudyTexts) -> _Text:
    """Read every text, and check that a held-out one repeats none that is read before it."""
    sources = texts.sources
    documents = {name: read_documents(source) for name, source in sources.items()}
    _check_mixture(texts, documents)
    pairs = [((read, sources[read].source), (other, sources[other].source)) for read, other in texts.pairs]
    for read, held_out in pairs:  # before the length of a text is checked
        if documents[held_out[0]] == documents[read[0]]:
            raise OverlapError(_same_text("all of it", read=read, held_out=held_out))
    _check_samples(tokenizer, texts.calibration)
    windows = {name: _windows(tokenizer, section) for name, section in texts.held_out.items()}
    notes: list[str] = []
    for read, held_out in pairs:
        found = contamination(windows[held_out[0]].passages or (), calibration=documents[read[0]])
        notes += check_no_overlap(found, read=read, held_out=held_out)
    neutral = {text.name: windows[section_of(text)].digest for text in texts.neutral}
    selected = [windows[name].digest for name in ("validation", "evaluation") if name in windows]
    learned = [document for name in texts.learned for document in documents[name]]
    digests = [documents_digest(learned), *selected]
    left_out = [note for source in sources.values() for note in _left_out(source)]
    counts = {name: len(found) for name, found in windows.items()}
    return _Text(counts, documents_digest(digests), (*notes, *left_out), neutral)


def _check_samples(tokenizer: PreTrainedTokenizerBase, calibration: CalibrationSpec) -> None:
    """Raise ``SourceError`` where the calibration text has fewer windows than samples are asked for."""
    read_calibration(calibration, tokenizer=tokenizer)


def _check_mixture(texts: StudyTexts, documents: Mapping[str, list[str]]) -> None:
    """Raise ``OverlapError`` where two texts of a mixture are the same."""
    for first, second in combinations(texts.learned.items(), 2):
        if documents[first[0]] == documents[second[0]]:
            named = f"{first[0]} {first[1].source!r} and {second[0]} {second[1].source!r}"
            raise OverlapError(f"data: {named} read the same text; give it once, with the weight of both")


def _windows(tokenizer: PreTrainedTokenizerBase, section: HeldOutText) -> Windows:
    return evaluation_windows(
        TextSource.held_out(section),
        tokenizer=tokenizer,
        sequence_length=section.sequence_length,
        limit=section.windows,
        windowing=section.windowing,
        passages=True,
    )


def _left_out(text: TextSource) -> tuple[str, ...]:
    names = files_left_out(text)
    return (f"data {text.source!r}: left out as no data: {', '.join(names)}",) if names else ()
