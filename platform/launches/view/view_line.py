"""One line of a view, and how text, named values and counts of what is not shown become lines."""

from dataclasses import dataclass
from typing import Literal

from nmlab.platform.launches.view.texts import wrapped

LineStyle = Literal["", "strong", "quiet", "bad", "bar"]
NAME_CELLS = 15
"""Cells of the column of names."""


@dataclass(frozen=True)
class ViewLine:
    """One line of the view: its text, and how it is to look where that can be shown."""

    text: str
    style: LineStyle = ""


def paragraph(text: str, width: int, *, indent: int = 0, style: LineStyle = "") -> list[ViewLine]:
    """Return text as lines, those after the first two cells further in."""
    return [ViewLine(line, style) for line in wrapped(text, width, first=" " * indent, rest=" " * (indent + 2))]


def row(name: str, text: str, width: int, *, style: LineStyle = "") -> list[ViewLine]:
    """Return a name with a text beside it, which is as narrow as the column leaves it."""
    first = f"{name} ".ljust(NAME_CELLS)
    return [ViewLine(line, style) for line in wrapped(text, width, first=first, rest=" " * NAME_CELLS)]


def more(count: int, name: str, width: int, *, why: str = "", indent: int = 2) -> list[ViewLine]:
    """Return the line that says how many are not shown; none if all are."""
    if count < 1:
        return []
    return paragraph(f"and {count} more {name if count == 1 else f'{name}s'}{why}", width, indent=indent, style="quiet")
