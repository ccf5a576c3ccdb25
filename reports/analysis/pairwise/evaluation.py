"""Evaluation noise: sides compared over the windows of a text or the questions of a task, averaged over their seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nmlab.reports.analysis.metrics import is_compared_by_ratio, is_of_task
from nmlab.reports.analysis.pairwise.side import Side
from nmlab.reports.read.evaluations import Counts, Floats, QuestionOutcomes, RunEvaluation, TextLosses
from nmlab.reports.statistics import SideComparison, compare_questions, compare_windows, divided, paired_bootstrap
from nmlab.reports.statistics.bootstrap import FEWEST_WINDOWS

_ROUNDING = 1e-12
"""Relative differences up to this size are rounding of means in float64."""


@dataclass(frozen=True, slots=True)
class WindowLosses:
    """Mean over seeds of the loss sum of each window in nats, with the tokens and words predicted in it."""

    loss_W: Floats
    tokens_W: Counts
    words_W: Counts

    def is_comparable(self, other: "WindowLosses") -> bool:
        """Whether both were taken on the same windows of text."""
        return np.array_equal(self.tokens_W, other.tokens_W) and np.array_equal(self.words_W, other.words_W)


def evaluation_comparisons(
    reference: Side, *, others: Sequence[Side], metric: str, evaluations: Mapping[str, RunEvaluation]
) -> dict[int, SideComparison]:
    """Return the comparisons with the reference by place, for sides with the same windows or questions.

    Args:
        reference: the side that the others are compared with.
        others: comparable sides.
        metric: a perplexity of a text is compared over the windows of that text, a measure of a task over its
            questions; other metrics have no recorded evaluation noise.
        evaluations: losses of windows and outcomes of questions by run id.
    """
    if is_of_task(metric):
        return _over_questions(reference, others=others, metric=metric, evaluations=evaluations)
    if not is_compared_by_ratio(metric):
        return {}
    return _over_windows(reference, others=others, metric=metric, evaluations=evaluations)


def _over_windows(
    reference: Side, *, others: Sequence[Side], metric: str, evaluations: Mapping[str, RunEvaluation]
) -> dict[int, SideComparison]:
    base = losses_of(reference, metric=metric, evaluations=evaluations)
    if base is None or len(base.tokens_W) < FEWEST_WINDOWS or not (base.tokens_W > 0).all():
        return {}
    found = {place: losses_of(side, metric=metric, evaluations=evaluations) for place, side in enumerate(others)}
    kept = {place: own for place, own in found.items() if own is not None and own.is_comparable(base)}
    if not kept:
        return {}
    values_WC = np.stack([_differences(own.loss_W, base.loss_W) for own in kept.values()], axis=1)
    drawn = paired_bootstrap(values_WC, weights_W=base.tokens_W.astype(np.float64))
    return {place: compare_windows(item) for place, item in zip(kept, drawn, strict=True)}


def _over_questions(
    reference: Side, *, others: Sequence[Side], metric: str, evaluations: Mapping[str, RunEvaluation]
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


def _differences(own: Floats, base: Floats) -> Floats:
    """Return the differences of two sides by window or question; what only rounding tells apart is equal.

    A mean of equal losses over several seeds differs in its last bits from the loss itself, in the same direction in
    many windows, and a test of signs would take that for a difference.
    """
    difference = own - base
    difference[np.abs(difference) <= _ROUNDING * np.maximum(np.abs(own), np.abs(base))] = 0.0
    return difference


def losses_of(side: Side, *, metric: str, evaluations: Mapping[str, RunEvaluation]) -> WindowLosses | None:
    """Return the losses of a side on the text of a metric; None where a run kept none, or has other windows."""
    kept = text_losses(side, metric=metric, evaluations=evaluations)
    if not kept or len(kept) < len(side.run_ids):
        return None
    losses = [item.initial_window_loss_sum_W if side.is_initial else item.window_loss_sum_W for item in kept]
    present = [loss for loss in losses if loss is not None]
    first = kept[0]
    if len(present) < len(losses) or any(not _same_windows(first, other) for other in kept[1:]):
        return None
    if not all(np.isfinite(loss).all() for loss in present):
        return None
    return WindowLosses(np.mean(present, axis=0), first.window_tokens_W, first.window_words_W)


def text_losses(side: Side, *, metric: str, evaluations: Mapping[str, RunEvaluation]) -> list[TextLosses]:
    """Return the losses that the finished runs of a side kept on the text of a metric."""
    found = [evaluations[run_id].of(metric) for run_id in side.run_ids if run_id in evaluations]
    return [item for item in found if item is not None]


def _same_windows(first: TextLosses, other: TextLosses) -> bool:
    same_tokens = np.array_equal(first.window_tokens_W, other.window_tokens_W)
    return same_tokens and np.array_equal(first.window_words_W, other.window_words_W)


def outcomes_of(side: Side, *, metric: str, evaluations: Mapping[str, RunEvaluation]) -> QuestionOutcomes | None:
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
    first: Side, *, second: Side, metric: str, evaluations: Mapping[str, RunEvaluation]
) -> tuple[int, int] | None:
    """Return on how many questions the first side did better, and on how many worse; None without their outcomes."""
    own, other = (outcomes_of(side, metric=metric, evaluations=evaluations) for side in (first, second))
    if own is None or other is None or not np.array_equal(own.question_Q, other.question_Q):
        return None
    return divided(own.outcome_Q, second_Q=other.outcome_Q)
