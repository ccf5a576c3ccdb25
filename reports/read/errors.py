"""The error for users of reports: one line that says what was given and what was expected."""

import difflib
from collections.abc import Iterable


class ReportError(ValueError):
    """A report can't be made from what was given; the message is one line for the user."""


def nearest(name: str, *, names: Iterable[str]) -> str:
    """Return the names most like ``name``, never ``name`` itself, as the end of a sentence.

    Args:
        name: what the user typed.
        names: what exists.

    Returns:
        ``nearest: 'a', 'b'``, or ``there are: ...`` when nothing is like it, or ``there are none``.
    """
    known = sorted(set(names))
    if not known:
        return "there are none"
    close = difflib.get_close_matches(name, [other for other in known if other != name], n=3, cutoff=0.5)
    if close:
        return "nearest: " + ", ".join(repr(item) for item in close)
    shown = ", ".join(repr(item) for item in known[:5])
    return f"there are: {shown}" + (f" and {len(known) - 5} more" if len(known) > 5 else "")
