"""What a person probably meant by a value of the wrong type: how to write it, for the end of a message.

Nothing is read in this way: a value that has to be guessed is refused, and the guess stands in the message.
"""

import math
import re
from collections.abc import Mapping

WHOLE = ("int_type", "int_parsing", "int_from_float")
REAL = ("float_type", "float_parsing", "finite_number")
BOOL = ("bool_type", "bool_parsing")
"""Types of pydantic's errors."""
NOTHING = ("none", "nil", "nothing", "off", "no", "-")
"""How a person writes null, in lower case."""

_NUMBER = re.compile(
    r"(?P<sign>[-+]?)(?P<digits>[0-9][0-9.,_ ']*|[.,][0-9]+)(?P<power>[eE][-+]?[0-9]+)?\s*(?P<unit>[kKMB%]?)"
)
_THOUSANDS = re.compile(r"[1-9][0-9]{0,2}(?:[,_ '][0-9]{3})+|[0-9]+(?:_[0-9]+)+")
_FACTORS = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "%": 0.01}
_SPAN = re.compile(r"(?P<low>[0-9]+)\s*(?:-|\.{2,3}|to)\s*(?P<high>[0-9]+)|range\((?P<count>[0-9]+)\)")
_MOST_LISTED = 20
_ENDS = (("low", "high"), ("min", "max"), ("start", "end"), ("from", "to"))


def instead(kind: str, given: object) -> str:
    """Return what to write instead of a value for which pydantic's error has a type, as "; write 8", else ""."""
    if kind == "tuple_type":
        return _write(list_meant(given))
    if kind in WHOLE or kind in REAL:
        return _number_instead(given, is_whole=kind in WHOLE)
    if kind in BOOL and isinstance(given, str) and given.casefold() in ("yes", "on", "no", "off"):
        return _write("true" if given.casefold() in ("yes", "on") else "false")
    return ""


def number_meant(text: str) -> str:
    """Return how YAML writes the number that a text such as ``0,9``, ``10_000``, ``10k`` or ``50%`` means; else ""."""
    found = _NUMBER.fullmatch(text.strip())
    if found is None:
        return ""
    digits = found["digits"].strip()
    if _THOUSANDS.fullmatch(digits):
        digits = re.sub(r"[^0-9]", "", digits)
    elif digits.count(",") == 1 and "." not in digits:
        digits = digits.replace(",", ".")
    try:
        value = float(f"{found['sign']}{digits}{found['power'] or ''}") * _FACTORS[found["unit"]]
    except ValueError:
        return ""
    if not math.isfinite(value):
        return ""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.15g}"


def list_meant(given: object) -> str:
    """Return the list that a single value, or a text that lists some, means, as YAML writes it; "" if unclear."""
    if given is None:
        return "[]"
    if isinstance(given, str):
        if span := _SPAN.fullmatch(given.strip()):
            first, after = (0, int(span["count"])) if span["count"] else (int(span["low"]), int(span["high"]) + 1)
            return str(list(range(first, after))) if 0 < after - first <= _MOST_LISTED else ""
        parts = [part for part in re.split(r"\s*[,;]\s*|\s+", given.strip("[]() ")) if part]
        return f"[{', '.join(parts)}]" if parts else ""
    return f"[{given}]" if isinstance(given, int | float) and not isinstance(given, bool) else ""


def range_meant(given: object, *, is_whole: bool = False) -> str:
    """Return what to write for a range whose ends are reversed or no numbers, as "; write [0.1, 0.9]"; else ""."""
    ends = _ends_of(given)
    if len(ends) == 4 and all(isinstance(end, int) for end in ends):
        return (
            f"; a comma separates numbers, so a decimal has a point, as in [{ends[0]}.{ends[1]}, {ends[2]}.{ends[3]}]"
        )
    if len(ends) != 2:
        return ""
    written = [number_meant(str(end)) for end in ends]
    if not all(written) or (is_whole and any("." in end or "e" in end for end in written)):
        return ""
    low, high = sorted(written, key=float)
    if float(low) == float(high):
        return "; a single value goes under fixed"
    is_written_so = isinstance(given, list | tuple) and [low, high] == [str(end) for end in ends]
    return "" if is_written_so else f"; write [{low}, {high}]"


def _ends_of(given: object) -> list[object]:
    if isinstance(given, Mapping):
        return next(([given[low], given[high]] for low, high in _ENDS if low in given and high in given), [])
    if isinstance(given, str):
        return [part for part in re.split(r"\s*(?:,\s|;|\bto\b|\.\.+|(?<=[0-9])\s*-)\s*", given.strip("[]() ")) if part]
    return list(given) if isinstance(given, list | tuple) else []


def _number_instead(given: object, *, is_whole: bool) -> str:
    if isinstance(given, float) and is_whole and given.is_integer():
        return _write(str(int(given)))
    if not isinstance(given, str):
        return ""
    before, comment, _ = given.partition("#")
    written = number_meant(before)
    if not written or (is_whole and not written.lstrip("-").isdigit()):
        return ""
    if comment:
        return f"; write {written} #..., since a comment begins with a space"
    return f"; write {written} without quotes" if _is_plain(given) else _write(written)


def _is_plain(text: str) -> bool:
    """Return whether a text is a number to Python, so that its quotes are what is wrong."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _write(text: str) -> str:
    return f"; write {text}" if text else ""
