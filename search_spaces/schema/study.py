"""The study: one question, as one YAML file.

A study holds model, data, pattern and method, the fixed and the searched hyperparameters, the search, the seeds, and
the limits. This module checks the form only. The platform checks the names of methods and of their hyperparameters
against the registry of methods, which this package must not import.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from nmlab.search_spaces.schema import checks, conditions, neutral, objectives
from nmlab.search_spaces.schema.entries import Entry, ListedEntry, SpaceEntry, TextOrListed
from nmlab.search_spaces.schema.places import SettingPlaces
from nmlab.search_spaces.schema.sections import Budget, Data, Replica, Search
from nmlab.trials.contract.paper_names import called_here, our_names
from nmlab.trials.contract.run_params import CALIBRATION_SAMPLES as SAMPLES
from nmlab.trials.contract.sections import Intervals, ModelSource, Section
from nmlab.trials.contract.values import Scalar, Seed, Text, distinct, not_empty
from nmlab.trials.contract.wording import invalid_value

INCONSISTENT = "inconsistent"
"""Pydantic error type of a study whose sections do not fit together; its text holds one problem a line."""

SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_ITEM = re.compile(r"[a-z0-9-]+/[a-z0-9-]+")
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*")


def _slug(value: str) -> str:
    if not SLUG.fullmatch(value):
        raise invalid_value("expected lower-case letters and digits, joined by hyphens, for example maskpro-alpha")
    return value


def _item(value: str) -> str:
    if not _ITEM.fullmatch(value):
        raise invalid_value("expected paper/item, for example maskpro/table-10")
    return value


def _identifier(value: object) -> object:
    if isinstance(value, str) and _IDENTIFIER.fullmatch(value):
        return value
    if names_here := our_names(value):
        raise invalid_value(called_here(names_here))
    raise invalid_value("expected a name of lower-case letters, digits and underscores, such as alpha")


def _baseline_key(value: object) -> object:
    return value if value == SAMPLES else _identifier(value)


def _one_line(value: str) -> str:
    if "\n" in value.strip():
        raise invalid_value("expected one line")
    return value


def _baseline(value: object) -> object:
    """Refuse a baseline that is neither a method nor a mapping with one, or has a wrong pattern, seed or samples."""
    if isinstance(value, str) and value:
        return value
    if isinstance(value, Mapping) and isinstance(value.get("method"), str):
        if "seed" in value:
            raise invalid_value("expected no seed; every configuration runs with the study's seeds")
        for name, problem in (("pattern", checks.pattern_problem), (SAMPLES, checks.samples_problem)):
            if name in value and (text := problem(value[name])):
                raise invalid_value(f"{name}: {text}")
        return value
    raise invalid_value("expected a method, or a mapping with method and hyperparameters, as in {method: wanda}")


def _seeds(value: object) -> object:
    """Refuse a number of seeds with the list that it means."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        several = f"{value} of them are {list(range(value))}; " if 1 < value <= 10 else ""
        raise invalid_value(f"expected a list of seeds; {several}seed {value} alone is [{value}]")
    return value


def _branch(value: object) -> str:
    return "<name>" if isinstance(value, str) else "<mapping>"


def _items(value: object) -> object:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value


Item = Annotated[Text, AfterValidator(_item)]
Items = Annotated[
    tuple[Item, ...],
    BeforeValidator(_items),
    AfterValidator(distinct),
    WithJsonSchema({"anyOf": [{"type": ["string", "null"]}, {"type": "array", "items": {"type": "string"}}]}),
]
"""None, one or several published items; always kept as a list."""
Seeds = Annotated[tuple[Seed, ...], BeforeValidator(_seeds), AfterValidator(not_empty), AfterValidator(distinct)]
Line = Annotated[Text, AfterValidator(_one_line)]
Identifier = Annotated[str, BeforeValidator(_identifier)]
BaselineKey = Annotated[str, BeforeValidator(_baseline_key)]
Baseline = Annotated[
    Annotated[str, Tag("<name>")]
    | Annotated[Mapping[BaselineKey, Scalar], Tag("<mapping>"), Field(json_schema_extra={"required": ["method"]})],
    Discriminator(_branch),
    BeforeValidator(_baseline),
]


class Study(Section):
    """A study: one question with all settings, after presets and overrides.

    Raises `pydantic.ValidationError` for invalid values; `loader.load` turns that into
    one readable line for each problem.
    """

    name: Annotated[Text, AfterValidator(_slug)]
    """Name of the study and of its MLflow experiment: lower-case letters, digits and hyphens."""
    preset: Annotated[Text, AfterValidator(_slug)] | None = None
    """The preset of the file that this is; null if the file has none."""
    title: Line | None = None
    """Heading of the report; null takes the name."""
    question: Line | None = None
    """The question that the study answers, in one line."""
    description: Text | None = None
    """Anything a reader should know before reading the results."""
    reproduces: Items = ()
    """Published item or items, as paper/item, whose claims are tested and whose numbers the report sets beside ours."""
    model: ModelSource
    """The frozen language model."""
    data: Data
    """Calibration, validation, evaluation and neutral texts."""
    pattern: TextOrListed
    """N:M in quotes, for example "2:4", or an entry with several."""
    method: TextOrListed
    """Method, for example maskpro, or an entry with several, each with its part of the space by `when`."""
    fixed: Mapping[Identifier, Scalar] = Field(default_factory=dict)
    """Hyperparameters with one value."""
    space: Mapping[Identifier, SpaceEntry] = Field(default_factory=dict)
    """Hyperparameters to be searched."""
    baselines: Annotated[tuple[Baseline, ...], AfterValidator(distinct)] = ("dense",)
    """Methods run besides the search for comparison, by name or as a mapping with hyperparameters.

    Such a mapping may also name a pattern, and how many samples of the calibration text the method reads.
    """
    search: Search = Search()
    """How configurations are chosen."""
    seeds: Seeds = (0, 1, 2)
    """Seeds of the replicates of every configuration."""
    replica: Replica = Replica()
    """Copies of the model, and the slots on which trials run."""
    budget: Budget = Budget()
    """Limits of the launch and of a trial."""
    intervals: Intervals = Intervals()
    """How often a trial logs, evaluates and saves."""
    _places: SettingPlaces = PrivateAttr(default=SettingPlaces())

    @model_validator(mode="before")
    @classmethod
    def _with_objective(cls, given: object) -> object:
        return objectives.with_objective(given)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = [
            *checks.patterns(self.pattern),
            *checks.methods(self.method),
            *checks.names(self.fixed, space=self.space),
            *conditions.problems(self.entries, fixed=self.fixed),
            *checks.algorithm(self.search, entries=self.entries),
            *objectives.objectives(self.search, methods=self.methods, data=self.data),
            *objectives.constraints(self.search, methods=self.methods, data=self.data),
            *objectives.scheduler(self.search, intervals=self.intervals),
            *objectives.confirmation(self.search),
            *objectives.stopping(self.search),
            *checks.gpu_hours(self.budget, replica=self.replica),
            *checks.calibration(self.data),
            *neutral.problems(self.data.neutral or ()),
        ]
        if problems:
            raise PydanticCustomError(INCONSISTENT, "{text}", {"text": "\n".join(problems)})
        return self

    @property
    def places(self) -> SettingPlaces:
        """Where a file or overrides give each setting, for messages; no part of the study."""
        return self._places

    def with_places(self, places: SettingPlaces) -> Self:
        """Return an equal study that knows where its settings were given."""
        known = self.model_copy()
        known._places = places
        return known

    @property
    def entries(self) -> dict[str, Entry]:
        """All searched entries: method, pattern and number of samples if they are searched, then the space."""
        top = {"method": self.method, "pattern": self.pattern, SAMPLES: self.data.calibration.samples}
        return {**{name: value for name, value in top.items() if isinstance(value, Entry)}, **self.space}

    @property
    def searched(self) -> tuple[str, ...]:
        """The names of all searched entries except method and pattern, which every trial has."""
        return tuple(name for name in self.entries if name not in conditions.TOP_LEVEL)

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of the search, in file order."""
        return _texts(self.method)

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns of the search, in file order."""
        return _texts(self.pattern)

    @property
    def concurrency(self) -> int:
        """The trials that run at once: the budget's limit, else one for each slot, or for each group of peers."""
        slots = self.replica.count * self.replica.slots
        return self.budget.max_concurrent or max(1, slots // self.replica.mask_parallel)


def _texts(value: str | ListedEntry) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(str(item) for item in value.values)
