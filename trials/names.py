"""Near-name messages: what was given, what is known, and the closest known name."""

import difflib
from collections.abc import Iterable


def unknown_name(given: str, *, kind: str, known: Iterable[str]) -> str:
    """Return one line that says ``given`` is no known ``kind`` and which name is nearest."""
    names = sorted(known)
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {kind} {given!r}; {hint}known: {', '.join(names)}"
