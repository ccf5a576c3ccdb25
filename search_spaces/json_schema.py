"""Build the JSON Schema of study files, for editors.

A file without `presets` is a whole study. With presets, values that a preset or its scale sets may be missing at the
top level, so only the name is required there; the loader checks that a study is complete at a given preset.
"""

from __future__ import annotations

from nmlab.search_spaces.reading.presets import scales
from nmlab.search_spaces.reading.problems import sections
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.contract.values import JsonObject

_DEFINITION = "#/$defs/"


def json_schema() -> JsonObject:
    """Return the JSON Schema (draft 2020-12) of a study file."""
    whole = Study.model_json_schema()
    definitions = whole.pop("$defs")
    parts = {model.__name__ for _, model in sections(Study)} - {Study.__name__}
    partial = {f"Partial{name}": _partial(definitions[name], parts) for name in parts}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": {**definitions, **partial, "Study": whole, "Preset": _preset(whole, parts)},
        "type": "object",
        "if": {"required": ["presets"]},
        "then": _with_presets(whole, parts),
        "else": {"$ref": f"{_DEFINITION}Study"},
    }


def _with_presets(whole: JsonObject, parts: set[str]) -> JsonObject:
    shared = _partial(whole, parts)
    own = {name: schema for name, schema in shared["properties"].items() if name != "preset"}
    presets = {
        "description": "Sizes of the study, the default first: overrides of what all share.",
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {"anyOf": [{"$ref": f"{_DEFINITION}Preset"}, {"type": "null"}]},
    }
    return {**shared, "properties": {**own, "presets": presets}, "required": ["name"]}


def _preset(whole: JsonObject, parts: set[str]) -> JsonObject:
    shared = _partial(whole, parts)
    own = {name: schema for name, schema in shared["properties"].items() if name != "preset"}
    scale = {"description": "A packaged scale that this preset builds on.", "enum": list(scales())}
    return {**shared, "title": "Preset", "properties": {"scale": scale, **own}}


def _partial(schema: JsonObject, parts: set[str]) -> JsonObject:
    """Return the schema of a section in which nothing is required, nor in the sections below it."""
    own = {name: value for name, value in schema.items() if name != "required"}
    return {**own, "properties": {name: _relaxed(value, parts) for name, value in own["properties"].items()}}


def _relaxed(value: JsonObject, parts: set[str]) -> JsonObject:
    if "anyOf" in value:  # a section that may be null
        return {**value, "anyOf": [_relaxed(each, parts) for each in value["anyOf"]]}
    name = value.get("$ref", "").removeprefix(_DEFINITION)
    return {**value, "$ref": f"{_DEFINITION}Partial{name}"} if name in parts else value
