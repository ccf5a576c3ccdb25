"""Types of hyperparameter values: JSON scalars, lists of distinct scalars, and intervals.

A list or a mapping is not a value, because it cannot be a category in Optuna's storages or a parameter in MLflow; a
compound value is written as text, such as "2:4".
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from nmlab.trials.contract.meant import list_meant, range_meant
from nmlab.trials.contract.values import SCALAR_SCHEMA, Scalar, distinct
from nmlab.trials.contract.wording import invalid_value

_LIST_SCHEMA = {"type": "array", "items": SCALAR_SCHEMA, "minItems": 1}


def same(left: object, right: object) -> bool:
    """Return whether two values of a condition are the same: 1 equals 1.0, but true is not 1."""
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def has(values: Sequence[object], value: object) -> bool:
    """Return whether `value` is one of `values`, in the sense of `same`."""
    return any(same(value, other) for other in values)


def _is_list(value: object) -> object:
    if isinstance(value, list | tuple) and value:
        return value
    meant = "" if value is None or isinstance(value, list | tuple) else list_meant(value)
    text = "expected a list of at least one value, for example [0.9, 0.99]"
    raise invalid_value(f"{text}; write {meant}" if meant else text)


def _as_list(value: object) -> object:
    return _is_list(value) if isinstance(value, list | tuple) else (value,)


def _is_number(value: object) -> bool:
    # Comparing, unlike math.isfinite, also takes whole numbers beyond the range of floats.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _reals(value: object) -> Sequence[float]:
    if isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_number, value)) and value[0] < value[1]:
        return value
    raise invalid_value(f"expected [low, high], two finite numbers with low < high{range_meant(value)}")


def _integers(value: object) -> Sequence[float]:
    bounds = _reals(value)
    if not all(isinstance(end, int) for end in bounds):
        meant = range_meant(value, is_whole=True)
        raise invalid_value(f"expected [low, high], two whole numbers with low < high{meant}")
    return bounds


def _above_zero(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] <= 0:
        raise invalid_value("expected a low end above 0, because the scale is logarithmic")
    return bounds


Values = Annotated[
    tuple[Scalar, ...], BeforeValidator(_is_list), AfterValidator(distinct), WithJsonSchema(_LIST_SCHEMA)
]
"""One or more distinct values."""

OneOrMore = Annotated[
    tuple[Scalar, ...],
    BeforeValidator(_as_list),
    AfterValidator(distinct),
    WithJsonSchema({"anyOf": [SCALAR_SCHEMA, _LIST_SCHEMA]}),
]
"""One value, or a list of distinct values; always kept as a list."""

Reals = Annotated[tuple[float, float], BeforeValidator(_reals)]
"""Two numbers, the lower first."""

PositiveReals = Annotated[tuple[float, float], AfterValidator(_above_zero), BeforeValidator(_reals)]
"""Two positive numbers, the lower first."""

Integers = Annotated[tuple[int, int], BeforeValidator(_integers)]
"""Two whole numbers, the lower first."""
