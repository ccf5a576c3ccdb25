"""Outcomes by question, averaged over the seeds of one side: the basis of evaluation noise of accuracies."""

from collections.abc import Mapping

import numpy as np

from nmlab.reports.analysis.pairwise.side import Side
from nmlab.reports.read.evaluations import Evaluation
from nmlab.reports.read.question_outcomes import QuestionOutcomes
from nmlab.reports.statistics import divided


def outcomes_of(side: Side, *, metric: str, evaluations: Mapping[str, Evaluation]) -> QuestionOutcomes | None:
    """Return the outcomes of a side; None where a finished run kept none, or of other questions.

    Initial masks are not evaluated on questions.
    """
    found = [evaluations.get(run_id) for run_id in side.run_ids]
    kept = [item.question_outcomes[metric] for item in found if item is not None and metric in item.question_outcomes]
    if not kept or len(kept) < len(found) or side.is_initial:
        return None
    first = kept[0]
    if any(not np.array_equal(own.question_Q, first.question_Q) for own in kept[1:]):
        return None
    outcome_SQ = np.stack([own.outcome_Q for own in kept])
    return QuestionOutcomes(first.question_Q, outcome_SQ.mean(axis=0)) if np.isfinite(outcome_SQ).all() else None


def divided_questions(
    first: Side, *, second: Side, metric: str, evaluations: Mapping[str, Evaluation]
) -> tuple[int, int] | None:
    """Return on how many questions the first side did better, and on how many worse; None without their outcomes."""
    own, other = (outcomes_of(side, metric=metric, evaluations=evaluations) for side in (first, second))
    if own is None or other is None or not np.array_equal(own.question_Q, other.question_Q):
        return None
    return divided(own.outcome_Q, second_Q=other.outcome_Q)
