"""Turn pydantic's errors into one readable line for each problem, and the error that holds the lines."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from functools import cache
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from nmlab.search_spaces.schema.entries import Entry
from nmlab.search_spaces.schema.neutral import NeutralText
from nmlab.search_spaces.schema.places import SettingPlaces
from nmlab.search_spaces.schema.sections import Limits
from nmlab.search_spaces.schema.study import INCONSISTENT, Study
from nmlab.trials.contract.meant import NOTHING
from nmlab.trials.contract.near_names import hint, nearest
from nmlab.trials.contract.paper_names import called_here, our_names
from nmlab.trials.contract.sections import MixturePart
from nmlab.trials.contract.values import JsonMapping
from nmlab.trials.contract.wording import either, expectation, shown

_NEVER = {"model.trust_remote_code": "no setting; code from a model repository is never run"}
_MARK = re.compile(r"<[a-z]+>|\[key\]")
_WITHOUT_SPACE = re.compile(r"(?P<key>[A-Za-z_][\w.-]*):(?P<value>[^\s:].*)")
_MAPPING = ("model_type", "mapping_type", "dict_type")
_INDEX = re.compile(r"\[\d+\]$")
_LISTED: dict[str, type[BaseModel]] = {"data.calibration.source": MixturePart, "data.neutral": NeutralText}
"""The sections that are entries of a list, by the path of the list."""


class StudyError(ValueError):
    """A study that cannot be used. `problems` holds one line for each problem; the error's text joins them.

    `source` is what gave the study, or the places of its settings: each problem is then told with the line of the
    setting with which it begins.
    """

    def __init__(self, problems: Sequence[str], *, source: str | SettingPlaces = "") -> None:
        places = source if isinstance(source, SettingPlaces) else SettingPlaces(source)
        self.problems = tuple(places.told(problem) for problem in problems)
        super().__init__("\n".join(self.problems))


def missing_space(text: str, *, known: Container[str] | None = None) -> str:
    """Return what to write for a text such as ``samples:8``; "" where no space is missing after a colon.

    ``known`` are the keys that may stand there; by default any.
    """
    found = _WITHOUT_SPACE.fullmatch(text.strip().removeprefix("- ").rstrip(","))
    if found is None or (known is not None and found["key"] not in known):
        return ""
    return f"a space is missing after the colon; write {found['key']}: {found['value']}"


def problem_lines(error: ValidationError, *, data: JsonMapping) -> list[str]:
    """Return one line for each problem of the study `data`: path, what was given, what was expected."""
    return [line for detail in error.errors() for line in _line(detail, data=data).splitlines()]


def _line(detail: ErrorDetails, *, data: JsonMapping) -> str:
    path, kind, context = _path(detail["loc"]), detail["type"], detail.get("ctx", {})
    if kind == INCONSISTENT:
        return str(context["text"])
    if kind == "missing":
        return f"{path}: missing; expected {_wanted(path)}"
    if kind == "extra_forbidden":
        key = str(detail["loc"][-1])
        return f"{path}: " + (_NEVER.get(path) or _dotted_key(key) or _unknown_key(path, data=data))
    given = detail["input"]
    if kind in _MAPPING:
        return f"{path} {shown(given)}: {_mapping_expected(path, given)}"
    return f"{path} {shown(given)}: {expectation(detail)}{_null_instead(path, given)}"


def _path(location: Sequence[int | str]) -> str:
    """Return a location such as `space.alpha.grid[0]`, without pydantic's marks of union branches and keys."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not _MARK.fullmatch(part):
            path += f".{part}" if path else part
    return path


def sections(model: type[BaseModel], *, prefix: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield every section of a study, also those that may be null, as (path, model); that of the study itself is ""."""
    yield prefix, model
    for name, field in model.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from sections(kind, prefix=_join(prefix, name))


@cache
def _sections() -> dict[str, type[BaseModel]]:
    """Return every section of a study by its path, those that may be null included; for messages."""
    return dict(_every_section(Study, prefix=""))


def _every_section(model: type[BaseModel], *, prefix: str) -> Iterator[tuple[str, type[BaseModel]]]:
    yield prefix, model
    for name, field in model.model_fields.items():
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel) and not issubclass(part, Entry):
                yield from _every_section(part, prefix=_join(prefix, name))


def _section_at(path: str) -> type[BaseModel] | None:
    """Return the section at a path, also that of one constraint or of an entry of a list; None where there is none."""
    if path.rpartition(".")[0] == "search.constraints":
        return Limits
    return _LISTED.get(_INDEX.sub("", path)) if _INDEX.search(path) else _sections().get(path)


def _wanted(path: str) -> str:
    """Return what is expected at `path`: the keys of a section, or the description of a value."""
    if (own := _section_at(path)) is not None:
        return f"a mapping with {', '.join(own.model_fields)}"
    section, _, name = path.rpartition(".")
    holder = _section_at(section)
    assert holder is not None, f"no section holds {path}"
    text = str(holder.model_fields[name].description).removesuffix(".")
    return text[0].lower() + text[1:] if text[1:2].islower() else text


def _mapping_expected(path: str, given: object) -> str:
    """Return what is expected in place of a value that is no mapping, and what to write."""
    section = _section_at(path)
    known = () if section is None else tuple(section.model_fields)
    expected = f"expected a mapping with {', '.join(known)}" if known else "expected a mapping"
    if given is None:
        return f"{expected}; indent its keys below it"
    if isinstance(given, str) and (text := missing_space(given, known=known or None)):
        return f"{expected}; {text}"
    if isinstance(given, str) and "source" in known:
        return f"{expected}; write {{source: {given[:40]}}}"
    if isinstance(given, list) and given and all(isinstance(item, Mapping) for item in given):
        return f"{expected}; write its keys without dashes"
    return expected


def _null_instead(path: str, given: object) -> str:
    """Return that null is how a setting that may have no value is left out, where a person wrote "none"."""
    section, _, name = path.rpartition(".")
    field = getattr(_section_at(section), "model_fields", {}).get(name)
    is_nothing = given is False or str(given).casefold() in NOTHING
    may_be_null = field is not None and type(None) in get_args(field.annotation)
    return "; write null for none" if is_nothing and may_be_null else ""


def _dotted_key(key: str) -> str:
    """Return what to write for a key such as ``search.samples``, which `--set` takes and a file does not; else ""."""
    section, _, name = key.rpartition(".")
    keys = {part: model.model_fields for part, model in _sections().items() if part}
    if section not in ("fixed", "space") and name not in keys.get(section, ()):
        return ""
    opened, closing = section.replace(".", ": {"), "}" * section.count(".")
    return f"unknown key; dotted keys are for --set, so write {opened}: {{{name}: ...}}{closing}"


def _unknown_key(path: str, *, data: JsonMapping) -> str:
    """Return that a key is unknown, with the nearest valid key, here or in another section, or all."""
    section, _, name = path.rpartition(".")
    known = {part: list(model.model_fields) for part, model in _sections().items()}
    if (own := _section_at(section)) is not None:
        known[section] = list(own.model_fields)
    else:  # a dot in the key itself
        section, name = "", path
    if text := missing_space(name):
        return f"unknown key; {text}"
    hyperparameters = [_join(part, name) for part in ("fixed", "space") if name in (data.get(part) or ())]
    if hyperparameters:
        meant = hyperparameters[:1]
    elif near := nearest(name, known[section]):
        meant = [_join(section, near)]
    elif names_here := our_names(name):
        return f"unknown key; {called_here(names_here)}, under fixed or space"
    else:
        meant = [_join(part, name) for part, keys in known.items() if name in keys]
    return (
        f"unknown key; did you mean {either(map(repr, meant))}?"
        if meant
        else f"unknown key{hint(name, known[section])}"
    )


def _join(section: str, name: str) -> str:
    return f"{section}.{name}" if section else name
