"""Losses of masks drawn from the final logits, on several minibatches: they show why the loss residual is used.

Where minibatches differ more than masks, a good mask on a hard minibatch has a higher loss than a bad one on an easy
one, and the plain loss says little about the mask. Axes: K masks, B minibatches.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.read.evaluations import MaskLosses
from nmlab.trials.contract.training_losses import loss_noun

FEWEST_MASKS = 10


@dataclass(frozen=True, slots=True)
class BatchLosses:
    """One minibatch: losses of the masks in nats a token, ascending, of the initial mask and of the dense model."""

    losses: tuple[float, ...]
    initial: float
    dense: float

    @property
    def mean(self) -> float:
        """Mean loss of the masks."""
        return float(np.mean(self.losses))


@dataclass(frozen=True, slots=True)
class SampledLosses:
    """The minibatches in order, with the spread of masks and of minibatches; or why there is nothing to show.

    Attributes:
        batch_deviation: standard deviation of the minibatches' mean losses.
        mask_deviation: standard deviation of the masks on one minibatch, pooled over minibatches.
        agreement: mean correlation of the masks' losses between two minibatches; 1 where all rank the masks alike.
    """

    label: str
    batches: tuple[BatchLosses, ...]
    batch_deviation: float = 0.0
    mask_deviation: float = 0.0
    agreement: float = 0.0
    skipped: str = ""
    noun: str = "loss"
    """What the losses are called, see `loss_noun`."""

    @property
    def ratio(self) -> float:
        """Spread between minibatches over spread between masks; infinite where all masks have the same loss."""
        return self.batch_deviation / self.mask_deviation if self.mask_deviation else float("inf")


def sampled_losses(found: MaskLosses | None, *, configurations: Sequence[Configuration]) -> SampledLosses:
    """Return the losses by minibatch and their spreads.

    Args:
        found: what one run kept, None where none kept any.
        configurations: all of a launch, for the name of the run's configuration.
    """
    if found is None:
        return SampledLosses("", (), skipped="no run drew masks from its final logits (loss_masks)")
    loss_KB = found.loss_KB
    if len(loss_KB) < FEWEST_MASKS or loss_KB.shape[1] < 2 or not np.isfinite(loss_KB).all():
        shape = f"{len(loss_KB)} masks on {loss_KB.shape[1]} minibatches"
        return SampledLosses("", (), skipped=f"{shape} do not show a spread: at least {FEWEST_MASKS} on 2 are needed")
    batches = tuple(
        BatchLosses(tuple(np.sort(loss_K).tolist()), float(initial), float(dense))
        for loss_K, initial, dense in zip(loss_KB.T, found.initial_B, found.dense_B, strict=True)
    )
    own = [item for item in configurations if found.run_id in item.run_ids]
    return SampledLosses(
        label=next((item.method for item in own), ""),
        batches=batches,
        batch_deviation=float(loss_KB.mean(axis=0).std(ddof=1)),
        mask_deviation=float(np.sqrt(loss_KB.var(axis=0, ddof=1).mean())),
        agreement=_agreement(loss_KB),
        noun=loss_noun(item.settings for item in own),
    )


def _agreement(loss_KB: npt.NDArray[np.float64]) -> float:
    if not loss_KB.std(axis=0).all():
        return 0.0
    matrix_BB = np.atleast_2d(np.corrcoef(loss_KB.T))
    return float(matrix_BB[np.triu_indices(len(matrix_BB), k=1)].mean())
