"""Pairwise comparisons of masks, with training noise and evaluation noise kept apart."""

from nmlab.reports.analysis.pairwise.best_versus_rest import (
    best_side,
    best_versus_rest,
    compared_with_best,
)
from nmlab.reports.analysis.pairwise.comparison import (
    PairwiseComparison,
    adjusted_together,
    over_seeds,
    pairwise_comparisons,
)
from nmlab.reports.analysis.pairwise.evaluation import WindowLosses, divided_questions, losses_of
from nmlab.reports.analysis.pairwise.reasons import reasons_text, untested_reason
from nmlab.reports.analysis.pairwise.side import Competitor, Side
from nmlab.reports.analysis.pairwise.task_comparisons import TaskComparison, task_comparisons
from nmlab.reports.analysis.pairwise.winner import Completion, OtherConfiguration, Winner, winners_of

__all__ = [
    "Competitor",
    "Completion",
    "OtherConfiguration",
    "PairwiseComparison",
    "Side",
    "TaskComparison",
    "WindowLosses",
    "Winner",
    "adjusted_together",
    "best_side",
    "best_versus_rest",
    "compared_with_best",
    "divided_questions",
    "losses_of",
    "over_seeds",
    "pairwise_comparisons",
    "reasons_text",
    "task_comparisons",
    "untested_reason",
    "winners_of",
]
