"""Find out where the settings of a study were given: lines of its file, a preset and a scale, keys, and overrides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from nmlab.search_spaces.reading import earlier_names
from nmlab.search_spaces.reading.overrides import as_given, split_override
from nmlab.search_spaces.reading.presets import SECTIONS, preset_names, scale_file
from nmlab.search_spaces.schema.places import KeyPath, SettingPlaces, SettingSource, path_text
from nmlab.trials.contract.values import JsonMapping
from nmlab.trials.contract.wording import shown


def places_in_file(lines: Mapping[KeyPath, int | None], *, source: str) -> SettingPlaces:
    """Return the places of the settings of a file, given the line of each key path; earlier names are known too."""
    return SettingPlaces(source, (_source(source, {**lines, **_with_present_names(lines)}),))


def places_in_mapping(data: JsonMapping, *, source: str) -> SettingPlaces:
    """Return the places of the settings of a mapping, which has no lines."""
    return SettingPlaces(source, (mapping_source(data, source=source),))


def mapping_source(data: JsonMapping, *, source: str) -> SettingSource:
    """Return a mapping as a source of settings."""
    return places_in_file(dict.fromkeys(_paths(data)), source=source).sources[0]


def settled_places(
    places: SettingPlaces, data: JsonMapping, *, preset: str | None, overrides: Sequence[str]
) -> SettingPlaces:
    """Return the places of a study's settings at a preset and with overrides, given those of the raw study `data`."""
    name = places.name if preset is None else f"{places.name}, preset {preset}"
    chosen = preset if preset is not None else next(iter(preset_names(data)), None)
    given = [*places.sources]
    if chosen is not None and "presets" in data:
        scale = (data["presets"][chosen] or {}).get("scale")
        given = [*(_of_scale(scale) if scale else ()), *given, *(_of_preset(each, chosen) for each in given)]
    return SettingPlaces(name, (*given, *map(_of_override, overrides)))


def _source(name: str, lines: Mapping[KeyPath, int | None]) -> SettingSource:
    return SettingSource(name, lines, frozenset(path for path in lines if path_text(path) not in SECTIONS))


def _of_preset(source: SettingSource, preset: str) -> SettingSource:
    """Return what one preset of a file gives, as a source of its own."""
    above = ("presets", preset)
    return _source(
        source.name, {path[2:]: line for path, line in source.lines.items() if path[2:] and path[:2] == above}
    )


def _of_scale(name: str) -> Iterator[SettingSource]:
    """Yield what a scale gives, that of the scale below it first."""
    data, lines = scale_file(name)
    if "scale" in data:
        yield from _of_scale(data["scale"])
    yield _source(f"scale {name}", lines)


def _of_override(override: str) -> SettingSource:
    keys, raw = split_override(override)
    present, value, _ = earlier_names.override_with_present_names(keys, raw, source=as_given(override))
    path: KeyPath = tuple(present)
    name, lines = ".".join(present), dict.fromkeys([path, *((*path, *below) for below in _paths(value))])
    repeats = (f"{name} {shown(value)}: ", f"{name} = {shown(value)}: ", f"{name}: ")
    return SettingSource(as_given(override), lines, frozenset([path]), repeats)


def _with_present_names(lines: Mapping[KeyPath, int | None]) -> dict[KeyPath, int | None]:
    return {earlier_names.present_path(path): line for path, line in lines.items()}


def _paths(value: object) -> Iterator[KeyPath]:
    """Yield the path of every key and list item below a value."""
    if isinstance(value, Mapping):
        below = [(str(key), item) for key, item in value.items()]
        yield from ((key, *path) for key, item in below for path in ((), *_paths(item)))
    elif isinstance(value, list | tuple):
        yield from ((index, *path) for index, item in enumerate(value) for path in ((), *_paths(item)))
