"""Contrasts: two masks set against each other, with the noise of training and of evaluation kept apart."""

from nmlab.reports.contrasts.answers import divided_questions
from nmlab.reports.contrasts.contrast import Contrast, contrasts_with, settled
from nmlab.reports.contrasts.losses import WindowLosses, losses_of
from nmlab.reports.contrasts.partial import is_on_log_scale
from nmlab.reports.contrasts.reasons import reasons_text, untested_reason
from nmlab.reports.contrasts.rivals import best_side, rivals_of, settled_tasks, tied_with_best, untested_groups
from nmlab.reports.contrasts.side import Side
from nmlab.reports.contrasts.winner import Rival, Standing, Winner, winners_of

__all__ = [
    "Contrast",
    "Rival",
    "Side",
    "Standing",
    "WindowLosses",
    "Winner",
    "best_side",
    "contrasts_with",
    "divided_questions",
    "is_on_log_scale",
    "losses_of",
    "reasons_text",
    "rivals_of",
    "settled",
    "settled_tasks",
    "tied_with_best",
    "untested_groups",
    "untested_reason",
    "winners_of",
]
