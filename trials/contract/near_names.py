"""Messages about unknown names: what was given, which known name is nearest, and which names are known.

All such messages of nmlab are made here. `unknown_name` is a whole sentence; `hint` is the end of a line that has
already said what is wrong, as the lines about a study do; `nearest` is for messages of another form.
"""

from collections.abc import Iterable
from difflib import get_close_matches

LIKENESS = 0.6
"""The least likeness of a name that is offered: difflib's ratio, from 0 to 1, ignoring case."""
MOST_LISTED = 30


def nearest(given: object, known: Iterable[str]) -> str | None:
    """Return the known name most like ``given``, never ``given`` itself; None where none is near."""
    by_folded = {name.casefold(): name for name in known if name != str(given)}
    found = get_close_matches(str(given).casefold(), by_folded, n=1, cutoff=LIKENESS)
    return by_folded[found[0]] if found else None


def unknown_name(given: str, *, kind: str, known: Iterable[str], expected: str = "") -> str:
    """Return one line that says that ``given`` is no known ``kind``, which name is nearest, and which are known.

    ``expected`` stands in place of the known names where they are too many to list.
    """
    names = sorted(known)
    near = nearest(given, names)
    offered = f"did you mean {near!r}? " if near else ""
    return f"unknown {kind} {given!r}; {offered}{expected or _listed(names)}"


def hint(given: object, known: Iterable[str]) -> str:
    """Return the end of a line about an unknown name: the nearest known one, or else all of them in their order."""
    names = list(known)
    near = nearest(given, names)
    return f"; did you mean {near!r}?" if near else f"; {_listed(names)}"


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_LISTED
    return f"known: {', '.join(names[:MOST_LISTED]) or 'none'}" + (f" and {more} more" if more > 0 else "")
