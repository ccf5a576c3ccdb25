"""Evaluation noise of several sides against one reference: over the windows of a text, or the questions of a task."""

from collections.abc import Mapping, Sequence

import numpy as np

from nmlab.reports.analysis.metrics import is_compared_by_ratio, is_of_task
from nmlab.reports.analysis.pairwise.losses import losses_of
from nmlab.reports.analysis.pairwise.question_outcomes import outcomes_of
from nmlab.reports.analysis.pairwise.side import Side
from nmlab.reports.read.evaluations import Evaluation, Floats_W
from nmlab.reports.statistics import SideComparison, compare_questions, compare_windows, paired_bootstrap
from nmlab.reports.statistics.bootstrap import FEWEST_WINDOWS

_ROUNDING = 1e-12
"""Relative differences up to this size are rounding of means in float64."""


def evaluation_comparisons(
    reference: Side, *, others: Sequence[Side], metric: str, evaluations: Mapping[str, Evaluation]
) -> dict[int, SideComparison]:
    """Return the comparisons with the reference by place, for sides with the same windows or questions.

    Args:
        reference: the side that the others are compared with.
        others: comparable sides.
        metric: a perplexity of the evaluation text is compared over its windows, a measure of a task over its
            questions; other metrics have no recorded evaluation noise.
        evaluations: losses of windows and outcomes of questions by run id.
    """
    if is_of_task(metric):
        return _over_questions(reference, others=others, metric=metric, evaluations=evaluations)
    return _over_windows(reference, others=others, evaluations=evaluations) if is_compared_by_ratio(metric) else {}


def _over_windows(
    reference: Side, *, others: Sequence[Side], evaluations: Mapping[str, Evaluation]
) -> dict[int, SideComparison]:
    base = losses_of(reference, evaluations=evaluations)
    if base is None or len(base.tokens_W) < FEWEST_WINDOWS or not (base.tokens_W > 0).all():
        return {}
    found = {place: losses_of(side, evaluations=evaluations) for place, side in enumerate(others)}
    kept = {place: own for place, own in found.items() if own is not None and own.is_comparable(base)}
    if not kept:
        return {}
    values_WC = np.stack([_differences(own.loss_W, base.loss_W) for own in kept.values()], axis=1)
    drawn = paired_bootstrap(values_WC, weights_W=base.tokens_W.astype(np.float64))
    return {place: compare_windows(item) for place, item in zip(kept, drawn, strict=True)}


def _over_questions(
    reference: Side, *, others: Sequence[Side], metric: str, evaluations: Mapping[str, Evaluation]
) -> dict[int, SideComparison]:
    base = outcomes_of(reference, metric=metric, evaluations=evaluations)
    if base is None or len(base.outcome_Q) < FEWEST_WINDOWS:
        return {}
    found = {place: outcomes_of(side, metric=metric, evaluations=evaluations) for place, side in enumerate(others)}
    kept = {
        place: own
        for place, own in found.items()
        if own is not None and np.array_equal(own.question_Q, base.question_Q)
    }
    if not kept:
        return {}
    values_QC = np.stack([_differences(own.outcome_Q, base.outcome_Q) for own in kept.values()], axis=1)
    drawn = paired_bootstrap(values_QC, weights_W=np.ones(len(base.outcome_Q)))
    return {
        place: compare_questions(own.outcome_Q, second_Q=base.outcome_Q, found=item)
        for (place, own), item in zip(kept.items(), drawn, strict=True)
    }


def _differences(own: Floats_W, base: Floats_W) -> Floats_W:
    """Return the differences of two sides by window or question; what only rounding tells apart is equal.

    A mean of equal losses over several seeds differs in its last bits from the loss itself, in the same direction in
    many windows, and a test of signs would take that for a difference.
    """
    difference = own - base
    difference[np.abs(difference) <= _ROUNDING * np.maximum(np.abs(own), np.abs(base))] = 0.0
    return difference
