"""Space entries: the values of one searched name, written `{grid: [..]}`, `{uniform: [a, b]}` and so on.

An entry can request a value from an Optuna trial, and has the condition under which its name is searched.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Protocol

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Strict,
    Tag,
    model_serializer,
)

from nmlab.search_spaces.schema.scalars import Integers, OneOrMore, PositiveReals, Reals, Values
from nmlab.trials.contract.meant import instead
from nmlab.trials.contract.near_names import hint
from nmlab.trials.contract.pattern import base_sixty_hint
from nmlab.trials.contract.values import Scalar
from nmlab.trials.contract.wording import either, invalid_value, shown

KINDS = ("grid", "choice", "uniform", "loguniform", "int")
"""The kinds of entries; an entry has exactly one of these keys."""


class TrialLike(Protocol):
    """The part of `optuna.trial.Trial` that a space needs; Ray's wrapper around it has it too."""

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        """Return one of `choices`."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Return a number between `low` and `high`, both included."""

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """Return a whole number between `low` and `high`, both included."""


class Entry(BaseModel, ABC):
    """The base of all entries, with the condition under which the name is part of a configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
    kind: ClassVar[str]

    when: Mapping[str, OneOrMore] = Field(default_factory=dict)
    """Searched only if every name here has the given value, or one of the given values."""

    @abstractmethod
    def suggest(self, trial: TrialLike, *, name: str) -> Scalar:
        """Return the value that `trial` proposes for `name` within this entry."""

    @model_serializer(mode="wrap")
    def _without_empty_condition(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        return {key: value for key, value in handler(self).items() if key != "when" or value}


class ListedEntry(Entry, ABC):
    """An entry whose values are written out."""

    values: Values

    def suggest(self, trial: TrialLike, *, name: str) -> Scalar:
        """Return one of the listed values."""
        return trial.suggest_categorical(name, list(self.values))


class GridEntry(ListedEntry):
    """Values that a grid search visits all; a sampling search treats them as categories."""

    kind: ClassVar[str] = "grid"
    values: Values = Field(alias="grid")


class ChoiceEntry(ListedEntry):
    """Categories without an order; a grid search visits all of them."""

    kind: ClassVar[str] = "choice"
    values: Values = Field(alias="choice")


class UniformEntry(Entry):
    """A number, uniform between two bounds, both included."""

    kind: ClassVar[str] = "uniform"
    bounds: Reals = Field(alias="uniform")

    def suggest(self, trial: TrialLike, *, name: str) -> Scalar:
        """Return a number within the bounds."""
        return trial.suggest_float(name, *self.bounds)


class LogUniformEntry(Entry):
    """A positive number, uniform in its logarithm between two bounds, both included."""

    kind: ClassVar[str] = "loguniform"
    bounds: PositiveReals = Field(alias="loguniform")

    def suggest(self, trial: TrialLike, *, name: str) -> Scalar:
        """Return a number within the bounds, drawn on a logarithmic scale."""
        return trial.suggest_float(name, *self.bounds, log=True)


class IntEntry(Entry):
    """A whole number, uniform between two bounds, both included."""

    kind: ClassVar[str] = "int"
    bounds: Integers = Field(alias="int")

    def suggest(self, trial: TrialLike, *, name: str) -> Scalar:
        """Return a whole number within the bounds."""
        return trial.suggest_int(name, *self.bounds)


def _check_keys(value: Mapping[object, object], *, kinds: Sequence[str]) -> None:
    for key in value:
        if key not in (*kinds, "when"):
            raise invalid_value(f"unknown key {key!r}{hint(key, (*kinds, 'when'))}")
    given = [key for key in value if key != "when"]
    if len(given) != 1:
        raise invalid_value(f"expected exactly one of {either(kinds)}; given {' and '.join(map(str, given)) or 'none'}")


def _one_entry(value: object) -> object:
    """Refuse a value that is no entry with one message, before every branch of the union raises its own."""
    if isinstance(value, Mapping):
        _check_keys(value, kinds=KINDS)
    elif not isinstance(value, Entry):
        others = _several(value) or "; a single value goes under fixed"
        raise invalid_value(f"expected a mapping with one of {either(KINDS)}{others}")
    return value


def _text_or_listed(value: object) -> object:
    if isinstance(value, Mapping):
        _check_keys(value, kinds=("grid", "choice"))
    elif not isinstance(value, str | ListedEntry):
        raise invalid_value(f"expected text in quotes, or a mapping with grid or choice{_text_meant(value)}")
    return value


def _text_meant(value: object) -> str:
    """Return what was meant by a value that is no text: a pattern without quotes, or a list of several."""
    return base_sixty_hint(value) or _several(value)


def _several(value: object) -> str:
    return f"; several values are {{grid: {shown(value)}}}" if isinstance(value, list | tuple) else ""


def _count_or_listed(value: object) -> object:
    if isinstance(value, Mapping):
        _check_keys(value, kinds=("grid", "choice"))
    elif not isinstance(value, int | ListedEntry) or isinstance(value, bool):
        meant = instead("int_type", value) or _several(value)
        raise invalid_value(f"expected a whole number, or a mapping with grid or choice{meant}")
    return value


def _branch(value: object) -> str | None:
    """Return the mark of a union's branch; its brackets distinguish it from a key of the file (see `problems`)."""
    if isinstance(value, str):
        return "<text>"
    if isinstance(value, int):
        return "<count>"
    if isinstance(value, Entry):
        return f"<{value.kind}>"
    return next((f"<{key}>" for key in KINDS if isinstance(value, Mapping) and key in value), None)


SpaceEntry = Annotated[
    Annotated[GridEntry, Tag("<grid>")]
    | Annotated[ChoiceEntry, Tag("<choice>")]
    | Annotated[UniformEntry, Tag("<uniform>")]
    | Annotated[LogUniformEntry, Tag("<loguniform>")]
    | Annotated[IntEntry, Tag("<int>")],
    Discriminator(_branch),
    BeforeValidator(_one_entry),
]
"""One entry of a study's `space`."""

TextOrListed = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[GridEntry, Tag("<grid>")] | Annotated[ChoiceEntry, Tag("<choice>")],
    Discriminator(_branch),
    BeforeValidator(_text_or_listed),
]
"""A text, or an entry that lists several; the form of a study's `pattern` and `method`."""

CountOrListed = Annotated[
    Annotated[int, Strict(), Field(ge=1), Tag("<count>")]
    | Annotated[GridEntry, Tag("<grid>")]
    | Annotated[ChoiceEntry, Tag("<choice>")],
    Discriminator(_branch),
    BeforeValidator(_count_or_listed),
]
"""A number of things, at least one, or an entry that lists several such numbers."""
