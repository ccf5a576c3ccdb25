"""Contrasts: two masks set against each other, with the noise of training and of evaluation kept apart."""

from nmlab.reports.analysis.pairwise.best_versus_rest import (
    best_side,
    rivals_of,
    settled_tasks,
    tied_with_best,
    untested_groups,
)
from nmlab.reports.analysis.pairwise.contrast import Contrast, contrasts_with, settled
from nmlab.reports.analysis.pairwise.losses import WindowLosses, losses_of
from nmlab.reports.analysis.pairwise.partial import is_on_log_scale
from nmlab.reports.analysis.pairwise.question_outcomes import divided_questions
from nmlab.reports.analysis.pairwise.reasons import reasons_text, untested_reason
from nmlab.reports.analysis.pairwise.side import Side
from nmlab.reports.analysis.pairwise.winner import Rival, Standing, Winner, winners_of

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
