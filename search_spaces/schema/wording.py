"""Parts of error messages: values as in YAML, lists of names, the nearest valid name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from pydantic_core import PydanticCustomError

REFUSED = "refused"
"""Pydantic error type of a value that a rule of this package refuses; its text is shown to the user as it is."""

_WORDS = {"None": "null", "True": "true", "False": "false", "nan": ".nan", "inf": ".inf", "-inf": "-.inf"}


def shown(value: object, *, limit: int = 60) -> str:
    """Return `value` on one line as in YAML, cut after `limit` characters."""
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


def closest(given: object, valid: Iterable[str]) -> str | None:
    """Return the valid name most similar to `given`, ignoring case, but never `given` itself; None if none is near."""
    by_folded = {name.casefold(): name for name in valid if name != str(given)}
    found = get_close_matches(str(given).casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def nearest(given: object, valid: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the nearest valid name, or else all of them."""
    names = list(valid)
    match = closest(given, names)
    if match is not None:
        return f"; nearest: {match}"
    return f"; valid: {', '.join(names)}" if names else ""


def refuse(text: str) -> PydanticCustomError:
    """Return the error with which a validator refuses a value; `text` says what was expected."""
    return PydanticCustomError(REFUSED, "{text}", {"text": text})
