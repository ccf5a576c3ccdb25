"""Contrasts: two masks set against each other, with the noise of training and of evaluation kept apart."""

from nmlab.reports.contrasts.answers import divided_questions
from nmlab.reports.contrasts.contrast import Contrast, contrasts_with, settled
from nmlab.reports.contrasts.losses import WindowLosses, losses_of
from nmlab.reports.contrasts.rivals import best_side, rivals_of, settled_tasks, tied_with_best
from nmlab.reports.contrasts.side import Side

__all__ = [
    "Contrast",
    "Side",
    "WindowLosses",
    "best_side",
    "contrasts_with",
    "divided_questions",
    "losses_of",
    "rivals_of",
    "settled",
    "settled_tasks",
    "tied_with_best",
]
