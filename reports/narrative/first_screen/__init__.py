"""The first screen of a report: the verdict in a sentence, four tiles, and what to know before trusting it."""

from nmlab.reports.narrative.first_screen.screen import FirstScreen, first_screen_of

__all__ = ["FirstScreen", "first_screen_of"]
