"""Text of messages about wrong values: the value as one writes it in YAML, the choices, and what was expected."""

import re
from collections.abc import Callable, Iterable, Mapping

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from nmlab.trials.contract.meant import instead
from nmlab.trials.contract.near_names import nearest, unknown_name

INVALID_VALUE = "invalid_value"
"""Pydantic's type of an error that `invalid_value` made; its text is ready to show."""

_WORDS = {"None": "null", "True": "true", "False": "false", "nan": ".nan", "inf": ".inf", "-inf": "-.inf"}
_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "finite_number": "a finite number",
    "string_type": "text, in quotes where it looks like something else",
    "string_too_short": "text that is not empty",
    "tuple_type": "a list",
    "model_type": "a mapping",
    "mapping_type": "a mapping",
    "dict_type": "a mapping",
    "greater_than_equal": "at least {ge:g}",
    "greater_than": "more than {gt:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le}",
}


def shown(value: object, *, limit: int = 60) -> str:
    """Return ``value`` on one line, as one would write it in YAML, cut after ``limit`` characters."""
    text = _flow(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _flow(value: object) -> str:
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_flow(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_flow, value))}]"
    text = repr(value)
    return _WORDS.get(text, text)


def either(names: Iterable[object]) -> str:
    """Return the names as a choice: "a", "a or b", "a, b or c"."""
    words = [str(name) for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def invalid_value(text: str) -> PydanticCustomError:
    """Return the error with which a validator turns a value down; ``text`` says what was expected."""
    return PydanticCustomError(INVALID_VALUE, "{text}", {"text": text})


def expectation(detail: ErrorDetails) -> str:
    """Return what one of pydantic's errors says was expected, in the words of this package."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "literal_error":
        words = _choices(detail)
        near = nearest(detail["input"], words)
        return f"expected {either(words)}" + (f"; did you mean {near!r}?" if near else "")
    if kind == INVALID_VALUE:
        return str(context["text"])
    expected = _EXPECTED.get(kind)
    if expected:
        return f"expected {expected.format(**context)}{instead(kind, detail['input'])}"
    return detail["msg"].removeprefix("Value error, ")


def first_problem(error: ValidationError, *, name: Callable[[str], str] = str) -> str:
    """Return the first thing that is wrong with settings that were given one by one, in one line.

    ``name`` returns what the user knows a setting by, such as an option of the command line.
    """
    detail = error.errors()[0]
    setting = name(str(detail["loc"][0]))
    if detail["type"] == "literal_error":
        return unknown_name(str(detail["input"]), kind=setting, known=_choices(detail))
    return f"{setting} {shown(detail['input'])}: {expectation(detail)}"


def _choices(detail: ErrorDetails) -> list[str]:
    return re.findall(r"'([^']+)'", detail["ctx"]["expected"])
