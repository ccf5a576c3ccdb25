"""The types of single settings, with their ranges; studies and trials share them.

They are strict: text is no number, and true is none either. A value in a record of an older version is read as it
was written (``FROM_RECORD``): text may then be empty or have spaces around it, since `nmlab run` once took such.
"""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    Strict,
    StringConstraints,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)

from nmlab.trials.contract.wording import invalid_value, shown

T = TypeVar("T")

FROM_RECORD = {"from_record": True}
"""The context in which pydantic reads what nmlab itself wrote down; see `Section.from_record`."""
_TEXT_NAME = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")
SCALAR_SCHEMA = {"type": ["boolean", "number", "string", "null"]}


def later_field() -> Any:
    """Return a field that earlier versions did not have: null by default, and not written while it is null."""
    return Field(default=None, exclude_if=lambda value: value is None)


def distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    """Return ``values``; refuse them when two are equal, as are 1, 1.0 and true to Optuna."""
    for index, value in enumerate(values):
        if value in values[:index]:
            first = shown(values[values.index(value)])
            given = shown(value)
            raise invalid_value(f"{given} is given twice" if given == first else f"{given} and {first} are equal")
    return values


def not_empty(values: tuple[T, ...]) -> tuple[T, ...]:
    """Return ``values``; refuse them when there is none."""
    if not values:
        raise invalid_value("expected a list of at least one")
    return values


def _is_scalar(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        raise invalid_value("expected a finite number")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise invalid_value("expected a number, text, true, false or null; write compound values as text, such as '2:4'")


def _name_of_text(value: str) -> str:
    if not _TEXT_NAME.fullmatch(value):
        raise invalid_value(
            "expected lower-case letters and digits, joined by hyphens or underscores, such as news-2024"
        )
    return value


def _text(value: object, check: ValidatorFunctionWrapHandler, info: ValidationInfo) -> object:
    if info.context == FROM_RECORD and isinstance(value, str):
        return value
    return check(value)


Scalar = Annotated[bool | int | float | str | None, BeforeValidator(_is_scalar), WithJsonSchema(SCALAR_SCHEMA)]
"""One value: a finite number, text, true, false or null."""
Hyperparameters: TypeAlias = Mapping[str, Scalar]
"""The hyperparameters of a method, by name."""
JsonObject: TypeAlias = dict[str, Any]
"""A JSON object as it is read or written; whoever reads one checks its members."""
JsonMapping: TypeAlias = Mapping[str, Any]
"""A JSON object that is only read."""
Text = Annotated[str, StringConstraints(strict=True, min_length=1, strip_whitespace=True), WrapValidator(_text)]
"""Text that is not empty, without spaces around it."""
TextName = Annotated[str, AfterValidator(_name_of_text)]
"""The name of a text, a part of the names of metrics: lower-case letters and digits, joined by hyphens or underscores.
"""
Column = Annotated[str, StringConstraints(strict=True, min_length=1), WrapValidator(_text)]
"""The name of a column: text that is not empty, spaces around it kept, because headers of tables have such."""
Seed = Annotated[int, Strict(), Field(ge=0, le=2**32 - 1)]
"""A seed that Python, NumPy, Optuna and torch all accept."""
Count = Annotated[int, Strict(), Field(ge=1)]
Length = Annotated[int, Strict(), Field(ge=2)]
Amount = Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)]
