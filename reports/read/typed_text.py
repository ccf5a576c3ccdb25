"""The texts of parameters and tags as the values that were recorded."""

import json
import math
import re
from collections.abc import Iterable
from functools import cache
from typing import TypeAlias

from nmlab.reports.read.errors import ReportError

Value: TypeAlias = int | float | str
"""The value of a setting."""
NUMBER = re.compile(r"[+-]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][+-]?[0-9]+)?")  # 007 is a name
MISSING = ("", "None", "null")


def typed(values: Iterable[str | None]) -> list[Value | None]:
    """Return parameters with the type they had: int where all parse as int, else float, else str.

    Missing values stay None and do not decide the type.
    """
    texts = [None if text is None or text in MISSING else text for text in values]
    present = [text for text in texts if text is not None]
    if not all(NUMBER.fullmatch(text) for text in present):
        return list(texts)
    for kind in (int, float):
        try:
            parsed = [None if text is None else kind(text) for text in texts]
        except ValueError:
            continue
        if present and all(math.isfinite(number) for number in parsed if number is not None):
            return list(parsed)
    return list(texts)


def tag_json(text: str, *, tag: str, run_id: str) -> dict[str, object]:
    """Return the JSON object that a tag of a run holds.

    Raises:
        ReportError: it holds something else.
    """
    try:
        value = _loaded(text)
    except json.JSONDecodeError as error:
        raise ReportError(f"tag {tag!r} of run {run_id} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ReportError(f"tag {tag!r} of run {run_id} holds {value!r}; expected a JSON object")
    return value


@cache
def _loaded(text: str) -> object:
    """Parse JSON once where many runs share the same text."""
    return json.loads(text)
