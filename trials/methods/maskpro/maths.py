"""The scalars of a MaskPro step: residuals, the tracker, their spread, and the weight each sampled mask's score gets.

Algorithm 1 of the MaskPro paper. Legend: f loss of a sampled mask, f_0 loss of the initial mask on the same minibatch,
r = f - f_0 the residual, delta the tracker, alpha its decay, eta the learning rate.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nmlab.trials.methods.maskpro.config import MaskProConfig

# Averages over about a hundred steps: of single residuals the standard deviation is then known to a twentieth.
_SPREAD_DECAY = 0.99


@dataclass(frozen=True)
class ResidualTracker:
    """The moving average of residuals: ``value`` after ``updates`` residuals, with decay ``alpha``."""

    alpha: float
    value: float = 0.0
    updates: int = 0

    def updated(self, residual: float) -> "ResidualTracker":
        """delta <- alpha delta + (1 - alpha) r."""
        value = self.alpha * self.value + (1 - self.alpha) * residual
        return replace(self, value=value, updates=self.updates + 1)

    @property
    def corrected(self) -> float | None:
        """The average with the bias of starting at 0 removed; None before the first residual."""
        return self.value / (1 - self.alpha**self.updates) if self.updates else None


@dataclass(frozen=True)
class ResidualSpread:
    """The running standard deviation of residuals: the moving average of their variance after ``updates`` steps."""

    value: float = 0.0
    updates: int = 0

    def updated(self, variance: float) -> "ResidualSpread":
        """Take in the variance of the residuals of a step."""
        value = _SPREAD_DECAY * self.value + (1 - _SPREAD_DECAY) * variance
        return ResidualSpread(value, self.updates + 1)

    @property
    def sigma(self) -> float | None:
        """The standard deviation, the bias of starting at 0 removed; None before the first step that had a variance."""
        return math.sqrt(self.value / (1 - _SPREAD_DECAY**self.updates)) if self.updates else None


def variance_of(residuals: Sequence[float], *, tracker: ResidualTracker) -> float | None:
    """Return the variance of the residuals of a step, unbiased; of one residual its squared distance to the tracker.

    None where there is one residual and ``tracker``, as it stood before the step, has seen none.
    """
    if len(residuals) > 1:
        return statistics.variance(residuals)
    return None if tracker.corrected is None else (residuals[0] - tracker.corrected) ** 2


def score_weights(
    losses: Sequence[float], initial_losses: Sequence[float], *, tracker: ResidualTracker, config: MaskProConfig
) -> tuple[list[float], ResidualTracker]:
    """Return the weight of each sampled mask's score in the gradient, and the tracker after this step.

    ``initial_losses`` are those of the initial mask, each on the text on which the sampled mask was evaluated.

    With several masks a step the gradient is their average and the tracker follows their mean residual. The paper uses
    the tracker before it moves; the official code moves it first, which equals a learning rate of alpha times eta.
    With the corrected tracker the very first step has no baseline yet and does not move the logits. The leave-one-out
    baseline of a mask is the mean residual of the step's other masks, which is independent of it and so adds no bias;
    the tracker is then updated but not used.
    """
    residuals = residuals_of(losses, initial_losses)
    after = tracker.updated(sum(residuals) / len(residuals))
    if config.estimator == "vanilla":
        weights = list(losses)
    elif config.estimator == "residual":
        weights = residuals
    elif config.tracker == "leave_one_out":
        weights = leave_one_out(residuals)
    else:
        baseline = _baseline(tracker, after, config)
        weights = [0.0 if baseline is None else residual - baseline for residual in residuals]
    return [weight / len(weights) for weight in weights], after


def residuals_of(losses: Sequence[float], initial_losses: Sequence[float]) -> list[float]:
    """Return r = f - f_0 of every mask of a step."""
    return [loss - initial for loss, initial in zip(losses, initial_losses, strict=True)]


def leave_one_out(residuals: Sequence[float]) -> list[float]:
    """Return each of K >= 2 residuals less the mean of the others (Kool et al. 2019, "Buy 4 REINFORCE samples")."""
    assert len(residuals) > 1, "one residual alone has no others"
    total, others = sum(residuals), len(residuals) - 1
    return [residual - (total - residual) / others for residual in residuals]


def _baseline(before: ResidualTracker, after: ResidualTracker, config: MaskProConfig) -> float | None:
    """Return what each residual of a step is compared with; None where there is nothing yet.

    With ``compat`` official it is delta after it has moved, for either ``tracker``. Else it is delta before it moves:
    as it is for ``tracker`` paper, with its bias removed for corrected, which has none before the first residual.
    """
    if config.compat == "official":
        return after.value
    return before.value if config.tracker == "paper" else before.corrected
