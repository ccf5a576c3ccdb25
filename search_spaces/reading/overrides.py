"""Apply overrides from the command line: `search.samples=4`, `space.alpha={grid: [0.9, 0.99]}`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

from nmlab.search_spaces.reading import earlier_names, study_yaml
from nmlab.search_spaces.reading.problems import StudyError
from nmlab.trials.contract.values import JsonMapping, JsonObject
from nmlab.trials.contract.wording import shown

_OPTION = "--set"
_LONGEST = 60
TWINS = {"fixed": "space", "space": "fixed"}
"""The two sections for hyperparameters; each hyperparameter is in one of them only."""


def split_override(override: str) -> tuple[list[str], object]:
    """Return the key path and the value of one override; the value is YAML, scalar or flow style.

    Raises StudyError if `override` does not have the form a.b=c, or the value is not YAML.
    """
    path, separator, text = override.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not separator or not all(keys):
        raise StudyError(
            [f"{shown(override)}: expected key=value, for example {_OPTION} search.samples=4"], source=_OPTION
        )
    if len(keys) > study_yaml.DEEPEST:
        raise StudyError([f"{len(keys)} keys below each other; expected at most {study_yaml.DEEPEST}"], source=_OPTION)
    return keys, study_yaml.read(text, source=as_given(override), has_lines=False)[0]


def as_given(override: str) -> str:
    """Return an override as it was given, with its option, on one line that is not long; messages begin with it."""
    text = " ".join(override.split())
    return f"{_OPTION} {text if len(text) <= _LONGEST else text[: _LONGEST - 3] + '...'}"


def apply_overrides(
    data: JsonMapping, overrides: Sequence[str], *, note: Callable[[str], None] = lambda line: None
) -> JsonObject:
    """Return a copy of the raw study `data` with each override set, in order; the last one wins.

    Setting a name under `fixed` removes it from `space`, and the other way round, because a name is in one section
    only. Unknown keys are set too: the schema refuses them, with the nearest valid key. Earlier names of keys are
    replaced, and ``note`` is called with a line for each.
    Raises StudyError if an override is malformed or its path leads through a value.
    """
    changed = copy.deepcopy(dict(data))
    for override in overrides:
        given, raw = split_override(override)
        keys, value, found = earlier_names.override_with_present_names(given, raw, source=as_given(override))
        for line in earlier_names.earlier_name_notes(found, source=_OPTION):
            note(line)
        _set(changed, keys=keys, value=value, source=as_given(override))
        _take_from_twin(changed, keys=keys)
    return changed


def _set(data: JsonObject, *, keys: Sequence[str], value: object, source: str) -> None:
    section = data
    for depth, key in enumerate(keys[:-1], start=1):
        if section.get(key) is None:
            section[key] = {}
        below = section[key]
        if not isinstance(below, dict):
            whole = ".".join(keys[:depth])
            raise StudyError([f"{whole} is {shown(below)}, without keys below it; expected {whole}=..."], source=source)
        section = below
    section[keys[-1]] = value


def _take_from_twin(data: JsonObject, *, keys: Sequence[str]) -> None:
    twin = data.get(TWINS.get(keys[0], ""))
    if len(keys) > 1 and isinstance(twin, dict):
        twin.pop(keys[1], None)
