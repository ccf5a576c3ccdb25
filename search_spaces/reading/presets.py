"""Presets: one study at several sizes, each a set of overrides of the common part.

A study file may have `presets:`, a mapping from name to overrides; the first one is the default. A preset may name a
packaged `scale`, a file with the settings that many studies of one size share: model, data, replicas and limits, never
the question. Later ones override earlier ones: scale, study, preset, `--set`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from nmlab.search_spaces.reading import study_yaml
from nmlab.search_spaces.reading.overrides import TWINS
from nmlab.search_spaces.reading.problems import StudyError, sections
from nmlab.search_spaces.schema.places import KeyPath, SettingPlaces
from nmlab.search_spaces.schema.study import SLUG, Study
from nmlab.trials.contract.near_names import hint
from nmlab.trials.contract.values import JsonMapping, JsonObject
from nmlab.trials.contract.wording import shown

SCALE_KEYS = ("model", "data", "replica", "budget", "intervals")
"""The sections that a scale may set."""

SCALES = Path(__file__).parents[1] / "scales"
SECTIONS = frozenset({path for path, _ in sections(Study) if path} | {"fixed", "space", "replica.resources.custom"})
"""What is merged key by key; every other value is replaced as a whole."""


def preset_names(data: JsonMapping) -> tuple[str, ...]:
    """Return the names of the presets of the raw study `data`, the default first; none if it has no `presets`."""
    return tuple(data.get("presets") or ())


def scales() -> tuple[str, ...]:
    """Return the names of the packaged scales."""
    return tuple(sorted(path.stem for path in SCALES.glob("*.yaml")))


def scale(name: str) -> JsonObject:
    """Return the settings of the packaged scale of this name, merged with those of the scale below it, if any."""
    given, _ = scale_file(name)
    data = {key: value for key, value in given.items() if key != "scale"}
    return merged(scale(given["scale"]), data) if "scale" in given else data


@cache
def scale_file(name: str) -> tuple[JsonMapping, Mapping[KeyPath, int | None]]:
    """Return what the file of a packaged scale holds, and the line of each key path."""
    path = SCALES / f"{name}.yaml"
    data, lines = study_yaml.read(path.read_text(encoding="utf-8"), source=path.name)
    assert isinstance(data, dict), f"{path.name} is no mapping"
    assert set(data) <= {*SCALE_KEYS, "scale"}, f"{path.name} sets {sorted({*data} - {*SCALE_KEYS})}"
    return data, lines


def at_preset(data: JsonMapping, *, preset: str | None, source: str | SettingPlaces) -> JsonObject:
    """Return the raw study `data` at one of its presets, the first one by default, without `presets`.

    The name of any preset but the first is appended to the study's name, unless the preset sets one. Raises StudyError
    for an unknown preset or scale, and for `presets` of the wrong form.
    """
    study = source.name if isinstance(source, SettingPlaces) else source
    if "presets" not in data:
        if preset is not None:
            raise StudyError([f"preset {shown(preset)}: unknown; the study has no presets"], source=study)
        return dict(data)
    problems = list(_problems(data))
    if problems:
        raise StudyError(problems, source=source)
    chosen = preset_names(data)[0] if preset is None else preset
    if chosen not in preset_names(data):
        raise StudyError([f"preset {shown(chosen)}: unknown preset{hint(chosen, preset_names(data))}"], source=study)
    shared = {key: value for key, value in data.items() if key != "presets"}
    own = {key: value for key, value in (data["presets"][chosen] or {}).items() if key != "scale"}
    if chosen != preset_names(data)[0] and isinstance(shared.get("name"), str):
        shared["name"] = f"{shared['name']}-{chosen}"
    size = (data["presets"][chosen] or {}).get("scale")
    return {**merged(merged(scale(size) if size else {}, shared), own), "preset": chosen}


def merged(general: JsonMapping, particular: JsonMapping) -> JsonObject:
    """Return `general` with everything that `particular` sets, section by section.

    Only sections are merged. A list, a space entry, and a searched method or pattern is one value and is replaced as a
    whole. A name that `particular` sets under `fixed` is removed from `space`, and the other way round.
    """
    kept = dict(general)
    for key, twin in TWINS.items():
        here, moved = general.get(key), particular.get(twin)
        if isinstance(here, Mapping) and isinstance(moved, Mapping):
            kept[key] = {name: value for name, value in here.items() if name not in moved}
    return _merged(kept, particular, path="")


def _merged(general: JsonMapping, particular: JsonMapping, *, path: str) -> JsonObject:
    result = dict(general)
    for key, value in particular.items():
        below = f"{path}.{key}" if path else key
        if below in SECTIONS and isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = _merged(result[key], value, path=below)
        else:
            result[key] = value
    return result


def _problems(data: JsonMapping) -> Iterator[str]:
    """Yield what is wrong with the form of `presets`; the values that a preset sets are checked after merging."""
    given = data["presets"]
    if not isinstance(given, Mapping) or not given:
        yield f"presets {shown(given)}: expected a mapping from name to overrides, as in {{small: {{scale: tiny}}}}"
        return
    if "preset" in data:
        yield f"preset {shown(data['preset'])}: expected no such key beside presets; --preset NAME chooses one"
    for name, own in given.items():
        path = f"presets.{name}"
        if not SLUG.fullmatch(name):
            yield f"{path}: expected lower-case letters and digits, joined by hyphens, for example full-llama-2-7b"
        if own is not None and not isinstance(own, Mapping):
            yield f"{path} {shown(own)}: expected a mapping with overrides of the study"
            continue
        yield from _problems_of_one(own or {}, path=path)


def _problems_of_one(own: JsonMapping, *, path: str) -> Iterator[str]:
    for key in ("preset", "presets"):
        if key in own:
            yield f"{path}.{key}: expected no presets within a preset"
    size = own.get("scale")
    if size is not None and size not in scales():
        yield f"{path}.scale {shown(size)}: unknown scale{hint(size, scales())}"
