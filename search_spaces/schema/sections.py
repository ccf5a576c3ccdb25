"""The sections of a study: data, search, replica and budget; what trials have as well is in `nmlab.trials.contract`.

Each is a frozen pydantic model with its types and ranges; rules on several sections together are in `checks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self, cast

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Strict, Tag, model_validator

from nmlab.search_spaces.schema.algorithms import AlgorithmName
from nmlab.search_spaces.schema.constraints import Constraint
from nmlab.search_spaces.schema.durations import duration_meant, seconds_of
from nmlab.search_spaces.schema.entries import CountOrListed, ListedEntry
from nmlab.search_spaces.schema.modes import with_modes
from nmlab.search_spaces.schema.neutral import NeutralItem, neutral_text
from nmlab.trials.contract.sections import (
    CalibrationSpec,
    CalibrationText,
    EvaluationSpec,
    NeutralSpec,
    Section,
    TrialBudget,
    ValidationSpec,
)
from nmlab.trials.contract.values import Amount, Count, Positive, Scalar, Seed, Text, distinct, later_field, not_empty
from nmlab.trials.contract.wording import invalid_value


def _duration(value: object) -> object:
    if isinstance(value, str) and seconds_of(value) > 0:
        return value
    raise invalid_value(f"expected a duration such as 45s, 30m or 1h30m{duration_meant(value)}")


def _one_or_list(value: object) -> str:
    return "<list>" if isinstance(value, list | tuple) else "<one>"


def _name_or_mapping(value: object) -> str:
    return "<name>" if isinstance(value, str) else "<mapping>"


def _constrained(value: Mapping[str, object]) -> Mapping[str, object]:
    if not value:
        raise invalid_value("expected at least one metric with its limits, as in {memory/peak_bytes: {max: 2e9}}")
    return value


Duration = Annotated[str, BeforeValidator(_duration)]
Mode = Literal["min", "max"]
Limit = Annotated[float, Strict(), Field(allow_inf_nan=False)]
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


class Calibration(CalibrationText[CountOrListed]):
    """The calibration text of a study: what methods measure or learn from."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of sequences that are searched, in file order."""
        return (
            cast("tuple[int, ...]", self.samples.values) if isinstance(self.samples, ListedEntry) else (self.samples,)
        )

    def with_samples(self, samples: int) -> CalibrationSpec:
        """Return the calibration text of a trial that reads ``samples`` sequences."""
        return CalibrationSpec(**{**dict(self), "samples": samples})


class Data(Section):
    """The calibration text, the validation text, the evaluation text and the neutral texts of a study."""

    calibration: Calibration
    validation: ValidationSpec | None = later_field()
    """The text on which configurations are chosen; null chooses them on the evaluation text."""
    evaluation: EvaluationSpec
    neutral: Annotated[tuple[NeutralItem, ...], AfterValidator(not_empty)] | None = later_field()
    """Texts neutral to the calibration text, on which finished masks are measured too; null for none."""

    @property
    def neutral_texts(self) -> tuple[NeutralSpec, ...]:
        """The neutral texts as trials have them, each with its name; what an entry leaves out is as in evaluation."""
        return tuple(neutral_text(item).cut_as(self.evaluation) for item in self.neutral or ())

    @property
    def learning_part(self) -> Literal["learning"] | None:
        """The part of a built-in corpus that trials learn from: what validation leaves; None is all of it."""
        built_in = [part.source for part in self.calibration.parts if part.source.startswith("builtin:")]
        shared = self.validation is not None and self.validation.source in built_in
        return "learning" if shared else None


class Confirmation(Section):
    """Fresh seeds for the best configurations of a search, and for baselines that use random numbers."""

    top: Count = 3
    """The number of configurations that are run again, the best by their means in the search."""
    seeds: Count = 5
    """The number of seeds: the smallest that are not among the study's."""


class Limits(Section):
    """Limits on a metric, both included; at least one."""

    max: Limit | None = None
    """The most that a feasible configuration has on any seed."""
    min: Limit | None = None
    """The least that a feasible configuration has on any seed."""

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.max is None and self.min is None:
            raise invalid_value("expected max or min, as in {max: 2e9}")
        if self.max is not None and self.min is not None and self.min > self.max:
            raise invalid_value(f"expected min {self.min:g} to be at most max {self.max:g}")
        return self


class SearchStop(Section):
    """When a search proposes nothing more, although it has not tried all of its samples."""

    no_improvement: Count
    """The number of configurations, one after the other, of which none is better than the best before, beyond noise."""


class Search(Section):
    """How configurations are chosen, and the metrics by which they are compared."""

    algorithm: AlgorithmName = "grid"
    """`grid` visits every point; the others draw `samples` of them."""
    samples: Count | None = None
    """Number of configurations; null for a grid."""
    metric: Metrics = "eval/perplexity"
    """The objective, or a list for `tpe`, `gp`, `nsga2`; `validation/perplexity` by default with `data.validation`."""
    mode: Modes = "min"
    """`min` or `max`; a list for several objectives. By default the direction in which the metric gets better."""
    initial_points: Annotated[tuple[Point, ...], AfterValidator(distinct)] = ()
    """Initial points, tried first: `defaults` (each method's own values), or mappings of the searched names."""
    startup: Literal["random", "qmc"] | None = later_field()
    """How `tpe`, `gp` and `nsga2` draw their first points: `random`, the default, or `qmc`, a Sobol sequence."""
    constraints: Annotated[Mapping[Text, Limits], AfterValidator(_constrained)] | None = later_field()
    """Limits on metrics, as in {memory/peak_bytes: {max: 2e9}}; what breaks one on any seed is never the best."""
    scheduler: Literal["asha", "median", "hyperband"] | None = None
    """Early stopping of configurations that fall behind, by the mean over their seeds."""
    grace_period: Count | None = None
    """Steps before a configuration may be stopped early; null takes a tenth of them, at least two evaluations."""
    stop: SearchStop | None = later_field()
    """Stop proposing configurations where they no longer improve; null tries all samples."""
    confirm: Confirmation | None = later_field()
    """Run the best configurations again on fresh seeds when the search has ended; null does not."""
    seed: Seed = 0
    """Seed of the search itself, not of the trials."""

    @model_validator(mode="before")
    @classmethod
    def _with_modes(cls, given: object) -> object:
        return with_modes(given)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The objectives, always as a tuple."""
        return (self.metric,) if isinstance(self.metric, str) else self.metric

    @property
    def all_constraints(self) -> tuple[Constraint, ...]:
        """The constraints, in the order of the file."""
        given = self.constraints or {}
        return tuple(Constraint(name, max=limits.max, min=limits.min) for name, limits in given.items())

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
    pipeline_stages: Count = 1
    """Pipeline stages: workers over which the decoder blocks of one replica are spread."""
    mask_parallel: Count = 1
    """Mask-parallel peers: slots, of any replicas, that share the masks of a step; for several masks a step."""
    resources: Resources = Resources()


class LaunchBudget(Section):
    """What all trials of a launch may use together; at least one limit. Nothing is proposed beyond it."""

    seconds: Positive | None = None
    """Seconds of trials, added up over the slots; `budget.time_limit` is by the clock."""
    tokens: Count | None = None
    """Tokens through the model."""
    forwards: Count | None = None
    """Forward passes."""
    gpu_hours: Positive | None = None
    """Hours of trials times the GPUs that they have; slots share those of their replica."""

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if not self.model_dump(exclude_none=True):
            raise invalid_value("expected seconds, tokens, forwards or gpu_hours, as in {gpu_hours: 12}")
        return self


class Budget(TrialBudget):
    """Limits. Those of a trial end it as finished, whichever is reached first; null is no limit."""

    max_concurrent: Count | None = None
    """Trials that run at once; null fills every slot of every replica."""
    time_limit: Duration | None = None
    """Wall-clock limit of a launch of the study, such as 45s, 30m or 1h30m."""
    total: LaunchBudget | None = later_field()
    """What all trials of a launch may use together, at which nothing more is proposed; null is no limit."""

    @property
    def of_a_trial(self) -> TrialBudget:
        """The limits of each trial, without those of the launch."""
        return TrialBudget(**self.model_dump(include=set(TrialBudget.model_fields)))

    @property
    def time_limit_seconds(self) -> float | None:
        """The limit of the launch in seconds; None without a limit."""
        return None if self.time_limit is None else float(seconds_of(self.time_limit))
