"""Perplexity of held-out text, with the loss of every window kept for paired comparisons.

Legend: W windows.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nmlab.trials.data.windows import Windows
from nmlab.trials.models.masked import MaskedModel


@dataclass(frozen=True, eq=False)
class Perplexity:
    """Summed negative log-likelihood in nats [W] float64, and predicted tokens and words [W], of each window."""

    loss_sum: NDArray[np.float64]
    tokens: NDArray[np.int64]
    words: NDArray[np.int64]

    @property
    def per_token(self) -> float:
        """exp(nats per predicted token)."""
        return _exp(self.loss_sum.sum() / self.tokens.sum())

    @property
    def per_word(self) -> float:
        """exp(nats per whitespace-separated word), comparable across tokenizers."""
        return _exp(self.loss_sum.sum() / self.words.sum())


def measure(model: MaskedModel, windows: Windows, *, batch_size: int) -> Perplexity:
    """Return the losses of a model on every window; windows never see each other, so batches only set the speed."""
    losses = [model.token_losses(batch).double().sum(1).cpu() for batch in torch.split(windows.tokens, batch_size)]
    predicted = windows.tokens.shape[1] - 1
    return Perplexity(
        torch.cat(losses).numpy(), np.full(len(windows), predicted, dtype=np.int64), windows.words.numpy()
    )


def _exp(nats: float) -> float:
    return math.inf if nats >= 700 else math.exp(nats)  # NaN stays NaN
