"""Two compared sides in words: the verdict, the costs, and what a reader must know before trusting it."""

from nmlab.reports.narrative.two_sides.sentences import cost_sentence, title_of, verdict_of, warnings_of

__all__ = ["cost_sentence", "title_of", "verdict_of", "warnings_of"]
