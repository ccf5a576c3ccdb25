"""What is wrong with a text that is no YAML, in words that say what to write instead.

PyYAML says what its scanner met; here the cause that a person can remove is looked for in the lines around.
"""

from __future__ import annotations

import re

import yaml

from nmlab.search_spaces.reading.problems import missing_space


class RefusedTextError(yaml.MarkedYAMLError):
    """What YAML allows and a study does not; its ``problem`` is told as it is."""


_BREAKS = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")
_FOUND = re.compile(r"(?:found|got) (?P<token>'.*'|\".*\")$")
_CLOSING = {"[": "]", "{": "}"}

Place = tuple[int, int]
"""Line and column, both from 0."""


def yaml_problem(error: yaml.MarkedYAMLError, *, text: str) -> tuple[Place | None, str]:
    """Return the place to look at, and what is wrong there in one line."""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return None, f"not valid YAML: {error.problem or error.context}"
    if isinstance(error, RefusedTextError):
        return (mark.line, mark.column), str(error.problem)
    problem, lines = str(error.problem or error.context), _BREAKS.split(text)
    for explain in (_explained_character, _explained_colon, _explained_block, _explained_flow, _explained_rest):
        if found := explain(problem, error, lines):
            return found
    return (mark.line, mark.column), f"not valid YAML: {problem}"


_Found = tuple[Place, str] | None


def _explained_character(problem: str, error: yaml.MarkedYAMLError, lines: list[str]) -> _Found:
    """Explain a character with which no text can begin."""
    place = _place(error)
    context = str(error.context)
    if "cannot start any token" in problem:
        character = lines[place[0]][place[1]]
        if character == "\t":
            return place, "a tab; YAML is indented with spaces, so write two spaces in place of each tab"
        return place, f"text that begins with {character} goes in quotes"
    if "scanning an alias" in context or "scanning an anchor" in context or "scanning a block scalar" in context:
        start = _context(error)
        return start, f"text that begins with {lines[start[0]][start[1]]} goes in quotes"
    if "unknown escape character" in problem:
        return place, "a backslash in double quotes begins an escape; write the text in single quotes"
    return None


def _explained_colon(problem: str, error: yaml.MarkedYAMLError, lines: list[str]) -> _Found:
    """Explain a colon that is missing, lacks its space, or is one too many."""
    line, column = _place(error)
    if "could not find expected ':'" in problem:
        line, column = _context(error)
        given = lines[line].strip()
        return (line, column), missing_space(given) or f"{given[:40]!r} has no colon; write KEY: VALUE"
    if "mapping values are not allowed" not in problem:
        return None
    before = next((number for number in range(line - 1, -1, -1) if lines[number].strip()), None)
    if ": " in lines[line][:column]:
        return (line, column), "a second colon; text that holds a colon and a space goes in quotes"
    if before is not None and (text := missing_space(lines[before])):
        return (before, _indent(lines[before])), text
    if before is not None and ":" not in lines[before] and not lines[before].lstrip().startswith("-"):
        return (before, _indent(lines[before])), f"{lines[before].strip()[:40]!r} has no colon; write KEY: VALUE"
    return (line, _indent(lines[line])), "this line is indented deeper than the one above, which has a value already"


def _explained_block(problem: str, error: yaml.MarkedYAMLError, lines: list[str]) -> _Found:
    """Explain a line at the wrong depth, and what follows a whole value."""
    place = _place(error)
    found = _FOUND.search(problem)
    token = found["token"].strip("'\"") if found else ""
    if "sequence entries are not allowed here" in problem:
        return place, "a list begins on the next line, or is written in brackets, as in [dense, wanda]"
    if "expected <block end>" not in problem:
        return None
    if lines[place[0]][: place[1]].rstrip().endswith(("'", '"')):
        return place, "text goes on after its closing quote; put all of it in quotes of the other kind"
    if token in ("]", "}"):
        return place, f"{token} closes nothing"
    if token == "-":
        return place, "a list item between keys; begin it in the column of the list's first item, below its key"
    return place, "this line begins in a column of its own; the keys of one section begin in the same column"


def _explained_flow(problem: str, error: yaml.MarkedYAMLError, lines: list[str]) -> _Found:
    """Explain brackets that stay open, and commas that are missing or too many."""
    place = _place(error)
    if "expected ',' or" in problem and error.context_mark is not None:
        start = _context(error)
        opening = lines[start[0]][start[1]]
        closing = _CLOSING.get(opening, "]")
        where = "" if start[0] == place[0] else f" of line {start[0] + 1}"
        if "stream end" in problem or "document" in problem:
            return start, f"{opening} is not closed; write {closing} after its last value"
        return place, f"a comma is missing before this, or the {opening}{where} is not closed"
    if "expected the node content" in problem:
        if "stream end" in problem:
            return place, "the text ends within brackets; close them with ] or }"
        return place, "a value is missing here"
    if "scanning a quoted scalar" in str(error.context):
        start = _context(error)
        return start, "the quote that opens here is not closed"
    return None


def _explained_rest(problem: str, error: yaml.MarkedYAMLError, lines: list[str]) -> _Found:
    if "but found another document" in problem:
        place = _place(error)
        return place, "a second document begins here; a study is one document, so delete the line --- or make two files"
    if "expected '<document start>'" in problem:
        return _place(error), "the study has ended before this line; put it into the mapping above"
    return None


def _place(error: yaml.MarkedYAMLError) -> Place:
    mark = error.problem_mark or error.context_mark
    assert mark is not None, "an error without a mark is told as it is"
    return mark.line, mark.column


def _context(error: yaml.MarkedYAMLError) -> Place:
    mark = error.context_mark
    return (mark.line, mark.column) if mark is not None else _place(error)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
