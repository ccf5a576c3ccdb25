"""Pairwise comparisons of masks, with training noise and evaluation noise kept apart."""

from nmlab.reports.analysis.pairwise.best_versus_rest import (
    adjusted_tasks,
    best_side,
    best_versus_rest,
    tied_with_best,
    untested_groups,
)
from nmlab.reports.analysis.pairwise.comparison import PairwiseComparison, adjusted_together, pairwise_comparisons
from nmlab.reports.analysis.pairwise.losses import WindowLosses, losses_of
from nmlab.reports.analysis.pairwise.partial import is_on_log_scale
from nmlab.reports.analysis.pairwise.question_outcomes import divided_questions
from nmlab.reports.analysis.pairwise.reasons import reasons_text, untested_reason
from nmlab.reports.analysis.pairwise.side import Side
from nmlab.reports.analysis.pairwise.winner import OtherConfiguration, Standing, Winner, winners_of

__all__ = [
    "OtherConfiguration",
    "PairwiseComparison",
    "Side",
    "Standing",
    "WindowLosses",
    "Winner",
    "adjusted_tasks",
    "adjusted_together",
    "best_side",
    "best_versus_rest",
    "divided_questions",
    "is_on_log_scale",
    "losses_of",
    "pairwise_comparisons",
    "reasons_text",
    "tied_with_best",
    "untested_groups",
    "untested_reason",
    "winners_of",
]
