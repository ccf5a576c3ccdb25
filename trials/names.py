"""Near-name messages: what was given, what is known, and the closest known name."""

import difflib
from collections.abc import Iterable


def unknown_name(given: str, *, kind: str, known: Iterable[str]) -> str:
    """Return one line that says ``given`` is no known ``kind`` and which name is nearest, never ``given`` itself."""
    names = sorted(known)
    others = [name for name in names if name != given]
    near = difflib.get_close_matches(given, others, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {kind} {given!r}; {hint}known: {', '.join(names) or 'none'}"
