"""Earlier names of keys of a study, which stay readable: they are replaced before anything else looks at a study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nmlab.search_spaces.reading.problems import StudyError
from nmlab.search_spaces.schema.places import KeyPath, SettingPlaces
from nmlab.trials.contract.values import JsonMapping, JsonObject

EARLIER = {
    "answers": "question",
    "cadence": "intervals",
    "search.points": "search.initial_points",
    "replica.shards": "replica.pipeline_stages",
    "replica.participants": "replica.mask_parallel",
}
"""Path of a key in studies of earlier versions -> its path now, in the same section."""


def with_present_names(data: JsonMapping, *, source: str | SettingPlaces) -> tuple[JsonObject, tuple[str, ...]]:
    """Return a raw study, its presets included, with the present names, and the paths of earlier names that it has.

    Raises StudyError if a section gives a key under both names.
    """
    found: list[str] = []
    now = _section(data, path="", place="", found=found, source=source)
    presets = now.get("presets")
    if isinstance(presets, Mapping):
        now["presets"] = {
            name: _section(own, path="", place=f"presets.{name}", found=found, source=source)
            if isinstance(own, Mapping)
            else own
            for name, own in presets.items()
        }
    return now, tuple(found)


def override_with_present_names(
    keys: list[str], value: object, *, source: str
) -> tuple[list[str], object, tuple[str, ...]]:
    """Return the key path and the value of one override with the present names, and the earlier names in it."""
    found = [path for path in _prefixes(keys) if path in EARLIER]
    now = list(keys)
    for path in found:
        now[path.count(".")] = _last(EARLIER[path])
    inside: list[str] = []
    if isinstance(value, Mapping):
        value = _section(value, path=".".join(now), place="", found=inside, source=source)
    return now, value, (*found, *inside)


def present_path(path: KeyPath) -> KeyPath:
    """Return a key path with the present names of its keys, below a preset too."""
    if path[:1] == ("presets",):
        return (*path[:2], *present_path(path[2:]))
    now = list(path)
    for depth in (1, 2):
        earlier = ".".join(map(str, path[:depth]))
        if len(path) >= depth and earlier in EARLIER:
            now[depth - 1] = _last(EARLIER[earlier])
    return tuple(now)


def earlier_name_notes(found: tuple[str, ...], *, source: str) -> Iterator[str]:
    """Yield one line for each earlier name."""
    for place in dict.fromkeys(found):
        yield f"{source}: {place} is called {present_name(place)} now; the earlier name is still read"


def recorded_name(path: str) -> str:
    """Return the name under which MLflow records the setting at a path: the earlier one, as all runs have it."""
    for earlier, now in EARLIER.items():
        if path == now or path.startswith(f"{now}."):
            return earlier + path.removeprefix(now)
    return path


def present_name(place: str) -> str:
    """Return the present name of a key at a place such as ``presets.small.cadence``."""
    earlier = next(path for path in EARLIER if f".{place}".endswith(f".{path}"))
    return EARLIER[earlier]


def _section(given: JsonMapping, *, path: str, place: str, found: list[str], source: str | SettingPlaces) -> JsonObject:
    """Return a section with the present names; ``path`` is its path in a study, ``place`` that of its preset."""
    now: JsonObject = {}
    for key, value in given.items():
        own = _join(path, key)
        if own in EARLIER:
            found.append(_join(place, own))
            if _last(EARLIER[own]) in given:
                problem = (
                    f"{_join(place, own)} and {EARLIER[own]}: one key, given under its earlier and its present name"
                )
                raise StudyError([f"{problem}; expected {EARLIER[own]} only"], source=source)
            key = _last(EARLIER[own])
        below = isinstance(value, Mapping) and key in _WITH_EARLIER and not path
        now[key] = _section(value, path=own, place=place, found=found, source=source) if below else value
    return now


def _prefixes(keys: list[str]) -> Iterator[str]:
    return (".".join(keys[:depth]) for depth in range(1, len(keys) + 1))


def _join(section: str, key: str) -> str:
    return f"{section}.{key}" if section else key


def _last(path: str) -> str:
    return path.rpartition(".")[2]


_WITH_EARLIER = {path.partition(".")[0] for path in EARLIER if "." in path}
"""The sections in which keys have earlier names."""
