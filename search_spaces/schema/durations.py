"""Durations as studies write them: 45s, 30m, 1h30m, and what a person writes instead."""

import re

_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_PART = re.compile(r"\s*(?P<count>[0-9]+(?:[.,][0-9]+)?)\s*(?P<unit>[A-Za-z]+)\s*(?:,|and\b)?\s*")
_CLOCK = re.compile(r"(?P<h>[0-9]+):(?P<m>[0-5][0-9])(?::(?P<s>[0-5][0-9]))?")
_WORDS = {
    "d": ("d", "day", "days"),
    "h": ("h", "hr", "hrs", "hour", "hours"),
    "m": ("m", "min", "mins", "minute", "minutes"),
    "s": ("s", "sec", "secs", "second", "seconds"),
}


def seconds_of(duration: str) -> int:
    """Return the seconds in a duration such as "45s", "30m" or "1h30m"; 0 when it is not one."""
    match = _DURATION.fullmatch(duration)
    parts = match.groups(default="0") if match else ()
    return sum(int(count) * unit for count, unit in zip(parts, _SECONDS.values(), strict=False))


def duration_meant(given: object) -> str:
    """Return what to write for ``2 hours``, ``90 min``, ``1:30`` or a bare number, as "; write 2h"; "" if unclear."""
    if isinstance(given, int) and not isinstance(given, bool) and given > 0:
        return f"; write {given}s, {given}m or {given}h"
    seconds = _seconds_meant(given.strip()) if isinstance(given, str) else 0
    return f"; write {_written(seconds)}" if seconds else ""


def _seconds_meant(text: str) -> int:
    if clock := _CLOCK.fullmatch(text):
        return int(clock["h"]) * 3600 + int(clock["m"]) * 60 + int(clock["s"] or 0)
    total, at = 0.0, 0
    while at < len(text):
        part = _PART.match(text, at)
        unit = next((unit for unit, words in _WORDS.items() if part and part["unit"].casefold() in words), None)
        if part is None or unit is None:
            return 0
        total, at = total + float(part["count"].replace(",", ".")) * _SECONDS[unit], part.end()
    return round(total)


def _written(seconds: int) -> str:
    parts = []
    for letter, unit in _SECONDS.items():
        count, seconds = divmod(seconds, unit)
        parts += [f"{count}{letter}"] if count else []
    return "".join(parts)
