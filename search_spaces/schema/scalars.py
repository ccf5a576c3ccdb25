"""Types of hyperparameter values: JSON scalars, lists of distinct scalars, and intervals.

A list or a mapping is not a value, because it cannot be a category in Optuna's storages or a parameter in MLflow; a
compound value is written as text, such as "2:4".
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from nmlab.search_spaces.schema.wording import refuse, shown

_SCALAR_SCHEMA = {"type": ["boolean", "number", "string", "null"]}
_LIST_SCHEMA = {"type": "array", "items": _SCALAR_SCHEMA, "minItems": 1}


def same(left: object, right: object) -> bool:
    """Return whether two values of a condition are the same: 1 equals 1.0, but true is not 1."""
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def has(values: Sequence[object], value: object) -> bool:
    """Return whether `value` is one of `values`, in the sense of `same`."""
    return any(same(value, other) for other in values)


def distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return `values`; refuse them if two are equal, as 1, 1.0 and true are for Optuna."""
    for index, value in enumerate(values):
        if value in values[:index]:
            first = shown(values[values.index(value)])
            given = shown(value)
            raise refuse(f"{given} is given twice" if given == first else f"{given} and {first} are equal")
    return values


def not_empty(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return `values`; refuse an empty list."""
    if not values:
        raise refuse("expected a list of at least one")
    return values


def _is_scalar(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        raise refuse("expected a finite number")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise refuse("expected a number, text, true, false or null; write compound values as text, such as '2:4'")


def _is_list(value: object) -> object:
    if isinstance(value, list | tuple) and value:
        return value
    raise refuse("expected a list of at least one value, for example [0.9, 0.99]")


def _as_list(value: object) -> object:
    return _is_list(value) if isinstance(value, list | tuple) else (value,)


def _is_number(value: Any) -> bool:
    # Comparing, unlike math.isfinite, also takes whole numbers beyond the range of floats.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _reals(value: Any) -> Any:
    usable = isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_number, value))
    if not usable or not value[0] < value[1]:
        raise refuse("expected [low, high], two finite numbers with low < high")
    return value


def _integers(value: Any) -> Any:
    if not all(isinstance(end, int) for end in _reals(value)):
        raise refuse("expected [low, high], two whole numbers with low < high")
    return value


def _above_zero(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] <= 0:
        raise refuse("expected a low end above 0, because the scale is logarithmic")
    return bounds


Scalar = Annotated[bool | int | float | str | None, BeforeValidator(_is_scalar), WithJsonSchema(_SCALAR_SCHEMA)]
"""One value: a finite number, text, true, false or null."""

Values = Annotated[
    tuple[Scalar, ...], BeforeValidator(_is_list), AfterValidator(distinct), WithJsonSchema(_LIST_SCHEMA)
]
"""One or more distinct values."""

OneOrMore = Annotated[
    tuple[Scalar, ...],
    BeforeValidator(_as_list),
    AfterValidator(distinct),
    WithJsonSchema({"anyOf": [_SCALAR_SCHEMA, _LIST_SCHEMA]}),
]
"""One value, or a list of distinct values; always kept as a list."""

Reals = Annotated[tuple[float, float], BeforeValidator(_reals)]
"""Two numbers, the lower first."""

PositiveReals = Annotated[tuple[float, float], AfterValidator(_above_zero), BeforeValidator(_reals)]
"""Two positive numbers, the lower first."""

Integers = Annotated[tuple[int, int], BeforeValidator(_integers)]
"""Two whole numbers, the lower first."""
