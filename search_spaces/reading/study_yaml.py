"""Read and write the YAML of studies: plain scalars of version 1.2, every key once, errors with line and column.

PyYAML reads the older version 1.1, in which `2:4` is the number 124 (base 60), `1e-3` is text and `no` is false. Each
of these would silently change a study, so this reader resolves plain scalars as version 1.2 and JSON do. The writer
quotes text that either version would misread. Tags and aliases are refused: a study holds plain values only, and with
an alias one override would change two places.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from typing import Any

import yaml

from nmlab.search_spaces.reading.problems import StudyError
from nmlab.search_spaces.reading.yaml_problems import RefusedTextError, yaml_problem
from nmlab.search_spaces.schema.places import KeyPath

_FLOAT = re.compile(
    r"[-+]?(?:(?:0|[1-9][0-9]*)?\.[0-9]+(?:[eE][-+]?[0-9]+)?"
    r"|(?:0|[1-9][0-9]*)(?:\.(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)"
    r"|\.(?:inf|Inf|INF))$|\.(?:nan|NaN|NAN)$"
)
_SCALARS = (
    ("tag:yaml.org,2002:null", re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("tag:yaml.org,2002:int", re.compile(r"[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789")),
    ("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789")),
)


DEEPEST = 50
"""The most levels of nested lists and mappings; a study has six."""
MOST_DIGITS = 1000
"""The most digits of a whole number; Python itself reads at most 4300."""


class _Reader(yaml.SafeLoader):
    """A safe loader of plain values of YAML 1.2; each key of a mapping is text and occurs once."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own registry, filled below
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or event.tag is not None:
            text = "aliases (*name) and tags (!name) are not allowed; text that begins with * or ! goes in quotes"
            raise RefusedTextError(problem=text, problem_mark=event.start_mark)
        self._depth += 1
        if self._depth > DEEPEST:
            text = f"lists and mappings lie more than {DEEPEST} deep in each other"
            raise RefusedTextError(problem=text, problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        digits = len(node.value.lstrip("+-"))
        if digits > MOST_DIGITS:
            text = f"a whole number of {digits} digits; expected at most {MOST_DIGITS}"
            raise RefusedTextError(problem=text, problem_mark=node.start_mark)
        return int(node.value)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        first: dict[str, int] = {}
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                text = "expected text as a key, in quotes where it looks like something else"
                raise RefusedTextError(problem=text, problem_mark=key.start_mark)
            if key.value in first:
                before = first[key.value]
                where = "" if before == key.start_mark.line + 1 else f", first on line {before}"
                text = f"key {key.value!r} is given twice{where}; keep one of them"
                raise RefusedTextError(problem=text, problem_mark=key.start_mark)
            first[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep=deep)


class _Writer(yaml.SafeDumper):
    """A safe dumper that quotes text which YAML 1.1 or 1.2 would read as another type."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # PyYAML writes U+0085 and its like unescaped in single quotes, where a reader replaces them by spaces.
        style = None if data.replace("\n", "").isprintable() else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Reader.add_constructor("tag:yaml.org,2002:int", _Reader.construct_yaml_int)
_Writer.add_representer(str, _Writer.represent_str)
for _tag, _regexp, _first in _SCALARS:
    _Reader.add_implicit_resolver(_tag, _regexp, _first)
    _Writer.add_implicit_resolver(_tag, _regexp, _first)


def parse(text: str, *, source: str) -> Any:
    """Return the value of the YAML `text`; raises StudyError as `read` does."""
    return read(text, source=source)[0]


def read(text: str, *, source: str, has_lines: bool = True) -> tuple[Any, dict[KeyPath, int | None]]:
    """Return the value of the YAML `text`, and the line on which each key path of it stands.

    A byte-order mark before the text is no part of it. Raises StudyError with line and column if `text` is not YAML, or
    gives a key twice. Without `has_lines`, for the text of an option, line and column are left out.
    """
    text = text.removeprefix("\ufeff")
    try:
        reader = _Reader(text)
        node = reader.get_single_node()
        value = None if node is None else reader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        place, problem = yaml_problem(error, text=text)
        where = f", line {place[0] + 1}, column {place[1] + 1}" if has_lines and place else ""
        raise StudyError([problem], source=f"{source}{where}") from error
    except yaml.reader.ReaderError as error:
        where = f", line {1 + text[: error.position].count(chr(10))}" if has_lines else ""
        problem = f"the character #x{error.character:04x}, which no text file holds; expected text in UTF-8"
        raise StudyError([problem], source=f"{source}{where}") from error
    return value, {} if node is None else dict(_lines(node, path=()))


def _lines(node: yaml.Node, *, path: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    """Yield every key path below a node with the line, from 1, of its key or list item."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*path, key.value), key.start_mark.line + 1
            yield from _lines(value, path=(*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*path, index), item.start_mark.line + 1
            yield from _lines(item, path=(*path, index))


def dump(data: object) -> str:
    """Return `data` as block-style YAML in its own order, short lists and mappings on one line."""
    return yaml.dump(data, Dumper=_Writer, sort_keys=False, default_flow_style=None, allow_unicode=True, width=110)
