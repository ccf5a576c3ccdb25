"""Runs that learned nothing, in words: how many ended with the result of the mask they started from."""

from nmlab.reports.analysis.starts import Unmoved
from nmlab.reports.values import counted


def unmoved_text(found: Unmoved) -> str:
    """Return how many runs ended where they started, as the beginning of a sentence."""
    every = len(found.runs) == found.learned
    if every and found.learned > 1:
        return f"All {found.learned} runs that learn end with the result of the mask that they started from"
    verb = "ends" if len(found.runs) == 1 else "end"
    it = "it" if len(found.runs) == 1 else "they"
    of = counted(found.learned, noun="run")
    return f"{len(found.runs)} of {of} that learn {verb} with the result of the mask that {it} started from"
