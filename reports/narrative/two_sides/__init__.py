"""Two compared sides in words: the verdict, the first screen, and every caveat."""

from nmlab.reports.narrative.two_sides.caveats import warnings_of
from nmlab.reports.narrative.two_sides.screen import first_screen_of_sides
from nmlab.reports.narrative.two_sides.sentences import title_of, verdict_of

__all__ = ["first_screen_of_sides", "title_of", "verdict_of", "warnings_of"]
