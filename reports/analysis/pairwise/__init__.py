"""Pairwise comparisons of masks, with training noise and evaluation noise kept apart."""

from nmlab.reports.analysis.pairwise.best_versus_rest import (
    best_side,
    best_versus_rest,
    compared_with_best,
    selected_side,
)
from nmlab.reports.analysis.pairwise.comparison import (
    PairwiseComparison,
    adjusted_together,
    over_seeds,
    pairwise_comparisons,
)
from nmlab.reports.analysis.pairwise.confirmation import Confirmed, FreshVerdict, confirmed_of, optimism_of
from nmlab.reports.analysis.pairwise.evaluation import WindowLosses, divided_questions, losses_of
from nmlab.reports.analysis.pairwise.reasons import reasons_text, untested_reason
from nmlab.reports.analysis.pairwise.side import Competitor, Side
from nmlab.reports.analysis.pairwise.task_comparisons import TaskComparison, task_comparisons
from nmlab.reports.analysis.pairwise.winner import Completion, OtherConfiguration, Winner, winners_of

__all__ = [
    "Competitor",
    "Completion",
    "Confirmed",
    "FreshVerdict",
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
    "confirmed_of",
    "divided_questions",
    "losses_of",
    "optimism_of",
    "over_seeds",
    "pairwise_comparisons",
    "reasons_text",
    "selected_side",
    "task_comparisons",
    "untested_reason",
    "winners_of",
]
