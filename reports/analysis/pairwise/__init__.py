"""Contrasts: two masks set against each other, with the noise of training and of evaluation kept apart."""

from nmlab.reports.analysis.pairwise.best_versus_rest import (
    best_side,
    best_versus_rest,
    settled_tasks,
    tied_with_best,
    untested_groups,
)
from nmlab.reports.analysis.pairwise.comparison import PairwiseComparison, pairwise_comparisons, settled
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
    "best_side",
    "best_versus_rest",
    "divided_questions",
    "is_on_log_scale",
    "losses_of",
    "pairwise_comparisons",
    "reasons_text",
    "settled",
    "settled_tasks",
    "tied_with_best",
    "untested_groups",
    "untested_reason",
    "winners_of",
]
