"""Losses by window, averaged over the seeds of one side: the basis of evaluation noise."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nmlab.reports.analysis.pairwise.side import Side
from nmlab.reports.read.evaluations import Counts_W, Evaluation, Floats_W


@dataclass(frozen=True, slots=True)
class WindowLosses:
    """Mean over seeds of the loss sum of each window in nats, with the tokens and words predicted in it."""

    loss_W: Floats_W
    tokens_W: Counts_W
    words_W: Counts_W

    def is_comparable(self, other: "WindowLosses") -> bool:
        """Whether both were taken on the same windows of text."""
        return np.array_equal(self.tokens_W, other.tokens_W) and np.array_equal(self.words_W, other.words_W)


def losses_of(side: Side, *, evaluations: Mapping[str, Evaluation]) -> WindowLosses | None:
    """Return the losses of a side; None where a finished run kept none, or has other windows."""
    found = [evaluations.get(run_id) for run_id in side.run_ids]
    kept = [item for item in found if item is not None]
    if not kept or len(kept) < len(found):
        return None
    losses = [item.initial_window_loss_sum_W if side.is_initial else item.window_loss_sum_W for item in kept]
    present = [loss for loss in losses if loss is not None]
    first = kept[0]
    if len(present) < len(losses) or any(not _same_windows(first, other) for other in kept[1:]):
        return None
    if not all(np.isfinite(loss).all() for loss in present):
        return None
    return WindowLosses(np.mean(present, axis=0), first.window_tokens_W, first.window_words_W)


def _same_windows(first: Evaluation, other: Evaluation) -> bool:
    same_tokens = np.array_equal(first.window_tokens_W, other.window_tokens_W)
    return same_tokens and np.array_equal(first.window_words_W, other.window_words_W)
