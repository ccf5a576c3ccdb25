"""The sections of a study: model, data, search, replica, budget and cadence.

Each is a frozen pydantic model with its types and ranges; rules on several sections together are in `checks`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    StringConstraints,
    Tag,
    model_validator,
)

from nmlab.search_spaces.schema.entries import CountOrListed, Listed
from nmlab.search_spaces.schema.modes import with_modes
from nmlab.search_spaces.schema.scalars import Scalar, distinct, not_empty
from nmlab.search_spaces.schema.wording import refuse

_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def seconds_of(duration: str) -> int:
    """Return the seconds in a duration such as "45s", "30m" or "1h30m"; 0 when it is not one."""
    match = _DURATION.fullmatch(duration)
    parts = match.groups(default="0") if match else ()
    return sum(int(count) * unit for count, unit in zip(parts, _SECONDS.values(), strict=False))


def _duration(value: object) -> object:
    if isinstance(value, str) and seconds_of(value) > 0:
        return value
    raise refuse("expected a duration such as 45s, 30m or 1h30m")


def _one_or_list(value: Any) -> str:
    return "<list>" if isinstance(value, list | tuple) else "<one>"


def _names(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _name_or_mapping(value: Any) -> str:
    return "<name>" if isinstance(value, str) else "<mapping>"


Text = Annotated[str, StringConstraints(strict=True, min_length=1, strip_whitespace=True)]
Seed = Annotated[int, Strict(), Field(ge=0, le=2**32 - 1)]
"""A seed that Python, NumPy, Optuna and torch all accept."""
Count = Annotated[int, Strict(), Field(ge=1)]
Length = Annotated[int, Strict(), Field(ge=2)]
Amount = Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)]
Duration = Annotated[str, BeforeValidator(_duration)]
Mode = Literal["min", "max"]
Metrics = Annotated[
    Annotated[Text, Tag("<one>")]
    | Annotated[tuple[Text, ...], AfterValidator(not_empty), AfterValidator(distinct), Tag("<list>")],
    Discriminator(_one_or_list),
]
Modes = Annotated[
    Annotated[Mode, Tag("<one>")] | Annotated[tuple[Mode, ...], AfterValidator(not_empty), Tag("<list>")],
    Discriminator(_one_or_list),
]


Point = Annotated[
    Annotated[Literal["defaults"], Tag("<name>")] | Annotated[Mapping[Text, Scalar], Tag("<mapping>")],
    Discriminator(_name_or_mapping),
]


class Section(BaseModel):
    """The base of all sections: unknown keys are refused, and values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ModelSource(Section):
    """The frozen language model. Code from a model repository is never run, and no key allows it."""

    source: Text
    """`builtin:tiny`, a local Hugging Face folder, or a hub id."""
    revision: Text | None = None
    """Branch, tag or commit of a hub id."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number format of the frozen weights."""
    leave_dense: Annotated[tuple[Text, ...], BeforeValidator(_names), AfterValidator(distinct)] = ()
    """Weights of the decoder blocks to leave without a mask: parts of their names, or patterns with `*`."""


class Calibration(Section):
    """The text on which masks are scored and learned."""

    source: Text
    """`builtin:*`, a text or JSONL file, or the hub id of a dataset."""
    split: Text | None = None
    """Split of a Hugging Face dataset; null takes the source's own choice."""
    column: Text | None = None
    """Column that holds the text; null takes the source's own choice."""
    samples: CountOrListed = 128
    """Number of sequences, or an entry with several."""
    sequence_length: Length = 128
    """Tokens in a sequence."""
    batch_size: Count = 32
    """Sequences in a minibatch; if fewer are read, the only minibatch has all of them."""
    micro_batch: Count | None = None
    """Sequences of a minibatch that go through the model at once, to save memory; null takes them all."""
    seed: Seed = 0
    """Seed of the choice of sequences, the same for every trial."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of sequences that are searched, in file order."""
        return cast("tuple[int, ...]", self.samples.values) if isinstance(self.samples, Listed) else (self.samples,)


class Evaluation(Section):
    """The held-out text and the tasks on which finished masks are compared."""

    source: Text
    """`builtin:*`, a text or JSONL file, or the hub id of a dataset."""
    split: Text | None = None
    """Split of a Hugging Face dataset; null takes the source's own choice."""
    column: Text | None = None
    """Column that holds the text; null takes the source's own choice."""
    windowing: Literal["joined", "rolling"] = "joined"
    """`joined` cuts all documents as one text into equal windows; `rolling` cuts each by itself, as lm-eval does."""
    sequence_length: Length = 128
    """Tokens in a window."""
    windows: Count | None = None
    """Largest number of windows; null takes the whole text."""
    batch_size: Count = 32
    """Windows in a forward pass."""
    tasks: Annotated[tuple[Text, ...], AfterValidator(distinct)] = ()
    """lm-eval task names, or local JSONL files of multiple-choice questions."""
    few_shot: Annotated[int, Strict(), Field(ge=0)] | None = None
    """Worked examples before a question; null takes each task's own number."""
    questions: Count | None = None
    """Largest number of questions of a task; null takes them all."""
    perplexity: Literal["token", "word"] = "token"
    """The perplexity that `eval/perplexity` means."""


class Data(Section):
    """The calibration text and the evaluation text of a study."""

    calibration: Calibration
    evaluation: Evaluation


class Search(Section):
    """How configurations are chosen, and the metrics by which they are compared."""

    algorithm: Literal["grid", "random", "tpe", "nsga2"] = "grid"
    """`grid` visits every point; the others draw `samples` of them."""
    samples: Count | None = None
    """Number of configurations; null for a grid."""
    metric: Metrics = "eval/perplexity"
    """The objective; a list of several for `nsga2`."""
    mode: Modes = "min"
    """`min` or `max`; a list for `nsga2`. By default the direction in which the metric gets better."""
    points: Annotated[tuple[Point, ...], AfterValidator(distinct)] = ()
    """Initial points, tried first: `defaults` (each method's own values), or mappings of the searched names."""
    scheduler: Literal["asha", "median"] | None = None
    """Early stopping of configurations that fall behind, by the mean over their seeds."""
    grace_period: Count | None = None
    """Steps before a configuration may be stopped early; null takes a tenth of them, at least two evaluations."""
    seed: Seed = 0
    """Seed of the search itself, not of the trials."""

    @model_validator(mode="before")
    @classmethod
    def _with_modes(cls, given: Any) -> Any:
        return with_modes(given)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The objectives, always as a tuple."""
        return (self.metric,) if isinstance(self.metric, str) else self.metric

    @property
    def modes(self) -> tuple[str, ...]:
        """The direction of each objective, always as a tuple."""
        return (self.mode,) if isinstance(self.mode, str) else self.mode


class Resources(Section):
    """The resources that one worker of a replica reserves in the cluster; null leaves them to the platform."""

    cpus: Amount | None = None
    gpus: Amount | None = None
    custom: Mapping[Text, Positive] = Field(default_factory=dict)
    """Resources that only some nodes of a cluster have, by the names given to `ray start`, such as {a100: 1}."""


class Replica(Section):
    """The copies of the frozen model, and how many trials share each."""

    count: Count = 1
    """Replicas of the model."""
    slots: Count = 1
    """Trials that run at once on one replica."""
    shards: Count = 1
    """Pipeline stages: workers over which the decoder blocks of one replica are spread."""
    participants: Count = 1
    """Mask-parallel peers: slots, of any replicas, that share the masks of a step; for several masks a step."""
    resources: Resources = Resources()


class Budget(Section):
    """Limits of a launch and of its trials; null is no limit. A trial that reaches one of its own ends as finished."""

    max_concurrent: Count | None = None
    """Trials that run at once; null fills every slot of every replica."""
    time_limit: Duration | None = None
    """Wall-clock limit of a launch of the study, such as 45s, 30m or 1h30m."""
    tokens: Count | None = None
    """Tokens through the model in one trial."""
    forwards: Count | None = None
    """Forward passes in one trial."""
    seconds: Positive | None = None
    """Seconds of one trial."""

    @property
    def time_limit_seconds(self) -> float | None:
        """The limit of the launch in seconds; None without a limit."""
        return None if self.time_limit is None else float(seconds_of(self.time_limit))


class Cadence(Section):
    """How often a trial logs, evaluates and writes checkpoints, in training steps."""

    log_every: Count | None = None
    """Steps between the points of a curve; null gives about 200 points."""
    evaluate_every: Count | None = None
    """Held-out evaluation during training; null evaluates only the first and the last mask."""
    checkpoint_every: Count = 500
