"""The sections that a study and a trial share: model, calibration and evaluation text, budget and intervals.

Each setting is declared here and nowhere else: its name, type, range, default and what it means. A study takes these
classes as they are, or with what a study alone has (`nmlab.search_spaces.schema.sections`).
"""

from collections.abc import Mapping
from typing import Annotated, Any, Generic, Literal, Self, TypeVar, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    Tag,
    model_validator,
)

from nmlab.trials.contract.mixture import window_counts
from nmlab.trials.contract.values import (
    FROM_RECORD,
    Column,
    Count,
    Length,
    Positive,
    Seed,
    Text,
    TextName,
    distinct,
    later_field,
)
from nmlab.trials.contract.wording import invalid_value

Samples = TypeVar("Samples")
Dtype = Literal["float32", "bfloat16", "float16"]
Windowing = Literal["joined", "rolling"]


def _as_names(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _in_order(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))


class Section(BaseModel):
    """Settings of every section: unknown keys are refused, and nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @classmethod
    def from_record(cls, record: Mapping[str, object]) -> Self:
        """Return what nmlab wrote down earlier, maybe an older version with fewer checks, exactly as it was."""
        return cls.model_validate(dict(record), context=FROM_RECORD)


class ModelSource(Section):
    """The frozen language model. Code from a model repository is never run, and no key allows it."""

    source: Text
    """`builtin:tiny`, a local Hugging Face folder, or a hub id."""
    revision: Text | None = None
    """Branch, tag or commit of a hub id."""
    dtype: Dtype = "float32"
    """Number format of the frozen weights."""
    leave_dense: Annotated[tuple[Text, ...], BeforeValidator(_as_names), AfterValidator(_in_order)] = ()
    """Weights of the decoder blocks that no mask shall touch: parts of their names, or patterns with `*`."""


class MixturePart(Section):
    """One text of a mixture, and its share of the sequences."""

    source: Text
    """`builtin:*`, a text or JSONL file, or the hub id of a dataset."""
    weight: Positive = 1.0
    """Its share is its weight over the sum of all weights."""
    split: Text | None = None
    """Split of a hub dataset; null takes the source's own choice."""
    column: Column | None = None
    """Column that holds the text; null takes the source's own choice."""


def _part(value: object) -> object:
    return {"source": value} if isinstance(value, str) else value


def _one_or_list(value: object) -> str:
    return "<list>" if isinstance(value, list | tuple) else "<one>"


def _several(parts: tuple[MixturePart, ...]) -> tuple[MixturePart, ...]:
    if len(parts) < 2:
        raise invalid_value("expected two texts or more in a list; one is written without")
    places = [(part.source, part.split, part.column) for part in parts]
    for index, place in enumerate(places):
        if place in places[:index]:
            raise invalid_value(f"{place[0]!r} is given twice; expected it once, with the weight of both")
    return parts


Mixture = Annotated[
    tuple[Annotated[MixturePart, BeforeValidator(_part, json_schema_input_type=str | MixturePart)], ...],
    AfterValidator(_several),
]
"""The texts of a mixture; a source alone has weight 1."""


class CalibrationText(Section, Generic[Samples]):
    """The text on which masks are scored and learned, or a mixture of several.

    A trial has one number of samples (`CalibrationSpec`); a study may list several, each for trials of its own.
    """

    source: Annotated[Annotated[Text, Tag("<one>")] | Annotated[Mixture, Tag("<list>")], Discriminator(_one_or_list)]
    """`builtin:*`, a text or JSONL file, or the hub id of a dataset; or a list of these, each with its weight."""
    split: Text | None = None
    """Split of a hub dataset; null takes the source's own choice."""
    column: Column | None = None
    """Column that holds the text; null takes the source's own choice."""
    samples: Samples = cast("Any", 128)
    """Number of sequences, or an entry with several."""
    sequence_length: Length = 128
    """Tokens in a sequence."""
    batch_size: Count = 32
    """Sequences in a minibatch; where fewer are read, the one minibatch has them all."""
    micro_batch: Count | None = None
    """Sequences of a minibatch that go through the model at once, to save memory; null takes them all."""
    seed: Seed = 0
    """Seed of the choice of sequences, the same for every trial."""

    @property
    def parts(self) -> tuple[MixturePart, ...]:
        """The texts that are read, each with its weight; a single one has weight 1."""
        if isinstance(self.source, str):
            return (MixturePart(source=self.source, split=self.split, column=self.column),)
        return self.source

    @property
    def is_mixture(self) -> bool:
        """Whether several texts are read."""
        return not isinstance(self.source, str)

    @model_validator(mode="after")
    def _places_with_the_texts(self) -> Self:
        if self.is_mixture:
            for name in ("split", "column"):
                if getattr(self, name) is not None:
                    raise invalid_value(f"expected {name} with the entries of source, since these are several texts")
        return self


class CalibrationSpec(CalibrationText[Count]):
    """The text that one trial learns from: ``samples`` windows of ``sequence_length`` tokens in fixed minibatches.

    ``micro_batch`` changes rounding only.
    """

    part: Literal["learning"] | None = later_field()
    """The part of a built-in corpus's calibration text: what its validation text leaves; null takes all of it."""

    @property
    def window_counts(self) -> tuple[int, ...]:
        """The sequences of each text that is read, in order; raises ``ValueError`` for fewer samples than texts."""
        return window_counts([part.weight for part in self.parts], samples=self.samples)

    @property
    def at_once(self) -> int:
        """The sequences of a minibatch that go through the model at once."""
        return min(self.micro_batch or self.batch_size, self.batch_size)

    @property
    def minibatches(self) -> int:
        """How many minibatches the windows make; the last one may be smaller."""
        return -(-self.samples // self.batch_size)


class HeldOutText(Section):
    """A text that no mask learns from, cut into windows."""

    source: Text
    """`builtin:*`, a text or JSONL file, or the hub id of a dataset."""
    split: Text | None = None
    """Split of a hub dataset; null takes the source's own choice."""
    column: Column | None = None
    """Column that holds the text; null takes the source's own choice."""
    windowing: Windowing = "joined"
    """`joined` cuts all documents as one text into equal windows; `rolling` cuts each by itself, as lm-eval does."""
    sequence_length: Length = 128
    """Tokens in a window."""
    windows: Count | None = None
    """Largest number of windows; null takes the whole text."""
    batch_size: Count = 32
    """Windows in a forward pass."""


class ValidationSpec(HeldOutText):
    """The held-out text on which configurations are chosen; the evaluation text is then read once, at the end."""

    model_config = ConfigDict(title="Validation")  # in the JSON Schema of studies


class NeutralSpec(HeldOutText):
    """A text neutral to the calibration text: finished masks are measured on it, and nothing is chosen by it."""

    name: TextName
    """Its name in metrics: ``neutral/<name>/perplexity``."""


class EvaluationSpec(HeldOutText):
    """The held-out text and the tasks on which finished masks are compared."""

    model_config = ConfigDict(title="Evaluation")  # in the JSON Schema of studies

    tasks: Annotated[tuple[Text, ...], AfterValidator(distinct)] = ()
    """lm-eval task names, or local JSONL files of multiple-choice questions."""
    few_shot: Annotated[int, Strict(), Field(ge=0)] | None = None
    """Worked examples before a question; null takes each task's own number."""
    questions: Count | None = None
    """Largest number of questions of a task; null takes them all."""
    perplexity: Literal["token", "word"] = "token"
    """Which perplexity `eval/perplexity`, `validation/perplexity` and `neutral/NAME/perplexity` stand for."""


class TrialBudget(Section):
    """Limits at which any method stops learning; null is no limit."""

    tokens: Count | None = None
    """Tokens through the model in one trial."""
    forwards: Count | None = None
    """Forward passes in one trial."""
    seconds: Positive | None = None
    """Seconds of one trial."""


class Intervals(Section):
    """How often a trial logs, evaluates and saves, in training steps."""

    log_every: Count | None = None
    """Steps between the points of a curve; null gives about 200 points."""
    evaluate_every: Count | None = None
    """Held-out evaluation during training; null evaluates only the first and the last mask."""
    checkpoint_every: Count = 500
    """Steps between checkpoints."""
