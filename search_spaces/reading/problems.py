"""Turn pydantic's errors into one readable line for each problem, and the error that holds the lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from nmlab.search_spaces.schema.study import INCONSISTENT, Study
from nmlab.trials.contract.near_names import hint, nearest
from nmlab.trials.contract.values import JsonMapping
from nmlab.trials.contract.wording import either, expectation, shown

_NEVER = {"model.trust_remote_code": "no setting; code from a model repository is never run"}
_MARK = re.compile(r"<[a-z]+>|\[key\]")


class StudyError(ValueError):
    """A study that cannot be used. `problems` holds one line for each problem; the error's text joins them."""

    def __init__(self, problems: Sequence[str], *, source: str = "") -> None:
        self.problems = tuple(f"{source}: {problem}" if source else problem for problem in problems)
        super().__init__("\n".join(self.problems))


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
        return f"{path}: " + (_NEVER.get(path) or f"unknown key{_key_hint(path, data=data)}")
    return f"{path} {shown(detail['input'])}: {expectation(detail)}"


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


def _wanted(path: str) -> str:
    """Return what is expected at `path`: the keys of a section, or the description of a value."""
    known = dict(sections(Study))
    if path in known:
        return f"a mapping with {', '.join(known[path].model_fields)}"
    section, _, name = path.rpartition(".")
    text = str(known[section].model_fields[name].description).removesuffix(".")
    return text[0].lower() + text[1:] if text[1:2].islower() else text


def _key_hint(path: str, *, data: JsonMapping) -> str:
    """Return the end of a message about an unknown key: the nearest valid key, here or in another section, or all."""
    section, _, name = path.rpartition(".")
    known = {part: list(model.model_fields) for part, model in sections(Study)}
    hyperparameters = [part for part in ("fixed", "space") if name in (data.get(part) or ())]
    if hyperparameters:
        meant = [_join(hyperparameters[0], name)]
    elif near := nearest(name, known[section]):
        meant = [_join(section, near)]
    else:
        meant = [_join(part, name) for part, keys in known.items() if name in keys]
    return f"; did you mean {either(map(repr, meant))}?" if meant else hint(name, known[section])


def _join(section: str, name: str) -> str:
    return f"{section}.{name}" if section else name
