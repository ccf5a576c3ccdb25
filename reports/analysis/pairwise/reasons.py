"""Why two sides could not be tested: one seed, too few windows, different windows, or no losses kept."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import numpy as np

from nmlab.reports.analysis.metrics import is_counted, is_of_task, plain_name
from nmlab.reports.analysis.pairwise.comparison import PairwiseComparison
from nmlab.reports.analysis.pairwise.evaluation import outcomes_of, text_losses
from nmlab.reports.analysis.pairwise.side import Side
from nmlab.reports.read.evaluations import RunEvaluation, TextLosses
from nmlab.reports.statistics.bootstrap import FEWEST_WINDOWS
from nmlab.reports.values import counted


def untested_reason(comparison: PairwiseComparison, *, evaluations: Mapping[str, RunEvaluation]) -> str:
    """Return in a few words why a comparison has no test; empty where it has one or needs none.

    Args:
        comparison: the comparison of two sides.
        evaluations: losses by window and outcomes by question of their runs, as far as kept.
    """
    decisive = comparison.decisive
    if is_counted(comparison.metric) or (decisive is not None and decisive.p_value is not None):
        return ""
    sides = (comparison.side, comparison.reference)
    trained = [side for side in sides if side.has_training_noise]
    if trained:
        return _seeds_reason(trained, comparison)
    if is_of_task(comparison.metric) and not comparison.is_ratio:
        return _questions_reason(sides, comparison.metric, evaluations)
    if comparison.is_ratio:
        return _windows_reason(sides, comparison.metric, evaluations)
    if any(len(side.values(comparison.metric)) > 1 for side in sides):
        return f"all seeds gave the same value, and {plain_name(comparison.metric)} has no replicates to test over"
    return f"one value each: {plain_name(comparison.metric)} has no replicates to test over"


def reasons_text(reasons: Iterable[str]) -> str:
    """Return several reasons as one clause, the most frequent first, with counts where there are several."""
    found = Counter(reason for reason in reasons if reason).most_common()
    if len(found) < 2:
        return found[0][0] if found else ""
    return "; ".join(f"{reason} ({count} of them)" for reason, count in found)


def _seeds_reason(trained: list[Side], comparison: PairwiseComparison) -> str:
    single = [side for side in trained if len(side.values(comparison.metric)) == 1]
    if len(single) == 2:
        return "one seed each"
    if single:
        return f"one seed of {single[0].item.method} ({single[0].item.key})"
    shared = comparison.training.n if comparison.training is not None else 0
    return "one seed in common" if shared else "no seed in common"


def _windows_reason(sides: Collection[Side], metric: str, evaluations: Mapping[str, RunEvaluation]) -> str:
    runs = sum(len(side.run_ids) for side in sides)
    kept = [(own, side) for side in sides for own in text_losses(side, metric=metric, evaluations=evaluations)]
    losses = [own.initial_window_loss_sum_W if side.is_initial else own.window_loss_sum_W for own, side in kept]
    present = [loss for loss in losses if loss is not None]
    if not present:
        return "one value each, and no losses by window were stored"
    if len(present) < runs:
        return f"{counted(runs - len(present), noun='run')} of {runs} stored no losses by window"
    if not all(np.isfinite(loss).all() for loss in present):
        return "losses by window are not finite"
    first = kept[0][0]
    if not all(_has_same_windows(first, item) for item, _ in kept):
        return "not evaluated on the same windows"
    windows = len(first.window_tokens_W)
    if windows < FEWEST_WINDOWS:
        return f"{counted(windows, noun='window')}, a test needs at least {FEWEST_WINDOWS}"
    return "some windows have no token"


def _questions_reason(sides: Iterable[Side], metric: str, evaluations: Mapping[str, RunEvaluation]) -> str:
    found = [outcomes_of(side, metric=metric, evaluations=evaluations) for side in sides]
    kept = [question_outcomes for question_outcomes in found if question_outcomes is not None]
    if not kept:
        return "one value each, and no outcomes by question were stored"
    if len(kept) < len(found):
        return "one of the two stored no outcomes by question"
    if not np.array_equal(kept[0].question_Q, kept[1].question_Q):
        return "not evaluated on the same questions"
    return f"{counted(len(kept[0].outcome_Q), noun='question')}, a test needs at least {FEWEST_WINDOWS}"


def _has_same_windows(first: TextLosses, other: TextLosses) -> bool:
    same_tokens = np.array_equal(first.window_tokens_W, other.window_tokens_W)
    return same_tokens and np.array_equal(first.window_words_W, other.window_words_W)
