"""Words, numbers and times in lines of a given width: broken between words only, and never wider."""

from collections.abc import Iterable

from rich.cells import cell_len

from nmlab.trials.contract.escaping import one_line
from nmlab.trials.contract.secrets import masked

_GAP = "..."


def wrapped(text: str, width: int, *, first: str = "", rest: str = "") -> list[str]:
    """Return text as lines of at most ``width`` cells, broken between words.

    A word that is wider than a line is shortened in its middle, because both of its ends tell more.

    Args:
        text: what to write. Passwords are masked, control characters written out, and line breaks are spaces.
        width: in cells of a terminal, in which some characters take two; 20 at least.
        first: what stands before the first line.
        rest: what stands before the others: spaces.
    """
    first, rest = shortened(first, width // 2), rest[: width // 2]
    found: list[str] = []
    line, is_empty = first, True
    for word in one_line(masked(text)).split(" "):
        fitting = shortened(word, width - max(cell_len(first), cell_len(rest)))
        if not is_empty and cell_len(line) + 1 + cell_len(fitting) > width:
            found.append(line)
            line, is_empty = rest, True
        line, is_empty = (line + fitting if is_empty else f"{line} {fitting}"), False
    return [each.rstrip() for each in (*found, line)]


def shortened(word: str, width: int) -> str:
    """Return a word of at most ``width`` cells: a longer one keeps its two ends, with dots between them."""
    if cell_len(word) <= width:
        return word
    if width <= len(_GAP) + 1:
        return _beginning(word, width)
    room = width - len(_GAP)
    end = _beginning(word[::-1], room // 2)[::-1]
    return f"{_beginning(word, room - cell_len(end))}{_GAP}{end}"


def _beginning(text: str, width: int) -> str:
    kept = ""
    for character in text:
        if cell_len(kept + character) > width:
            break
        kept += character
    return kept


def number(value: float | None) -> str:
    """Return a measured value with four digits, ``-`` for none."""
    return "-" if value is None else f"{value:.4g}"


def clock(seconds: float) -> str:
    """Return a time in two units at most: ``52s``, ``4m12s``, ``3h05m``, ``2d04h``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours:02d}h"
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def counted(count: int, name: str) -> str:
    """Return a number of things: ``1 seed``, ``3 seeds``."""
    return f"{count} {name}" if count == 1 else f"{count} {name}s"


def listed(values: Iterable[object], *, most: int = 6) -> str:
    """Return values with commas between them, and how many more there are."""
    every = [str(value) for value in values]
    more = [f"{len(every) - most} more"] if len(every) > most else []
    return ", ".join([*every[:most], *more])
