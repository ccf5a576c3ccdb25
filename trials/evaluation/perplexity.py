"""Perplexity of held-out text, with the loss of every window kept for paired comparisons.

Legend: W windows, B of them in a batch, L tokens that the model reads, V vocabulary.
"""

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from nmlab.trials.contract.metrics import EVAL
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

    def metrics(self, chosen: str, *, prefix: str = EVAL) -> dict[str, float]:
        """Return both by metric name; ``chosen``, ``token`` or ``word``, is the one under ``PREFIX/perplexity``."""
        return {
            f"{prefix}token_perplexity": self.per_token,
            f"{prefix}word_perplexity": self.per_word,
            f"{prefix}perplexity": self.per_token if chosen == "token" else self.per_word,
        }


def measure_perplexity(
    model: MaskedModel, windows: Windows, *, batch_size: int, first: AbstractContextManager[None] | None = None
) -> Perplexity:
    """Return the losses of a model on every window; windows never see each other, so batches only set the speed.

    ``first`` is a context manager that is entered for the first batch only, to measure it.
    """
    everything = torch.ones(windows.tokens.shape[0], windows.tokens.shape[1] - 1, dtype=torch.bool)
    predicted_WL = everything if windows.predicted is None else windows.predicted
    batches = zip(torch.split(windows.tokens, batch_size), torch.split(predicted_WL, batch_size), strict=True)
    losses: list[Tensor] = []
    for tokens, predicted in batches:
        with first if first is not None and not losses else nullcontext():
            losses.append(_loss_sums(model, tokens, predicted))
    return Perplexity(torch.cat(losses).numpy(), predicted_WL.sum(1).numpy(), windows.words.numpy())


def _loss_sums(model: MaskedModel, tokens_BL: Tensor, predicted_BL: Tensor) -> Tensor:
    """Return the summed loss of each window's predicted tokens, [B] float64, on the CPU.

    The last token is only ever predicted, so a window of the model's full length fits it. Losses are float32 whatever
    the model's type, window by window, because logits in float32 would be the largest tensor of the whole run.
    """

    def read(logits_BLV: Tensor) -> Tensor:
        losses = [
            F.cross_entropy(logits_LV.float(), targets_L, reduction="none")
            for logits_LV, targets_L in zip(logits_BLV, tokens_BL[:, 1:].to(logits_BLV.device), strict=True)
        ]
        return (torch.stack(losses).double().cpu() * predicted_BL).sum(1)

    return model.map_logits(tokens_BL[:, :-1], read)


def _exp(nats: float) -> float:
    return math.inf if nats >= 700 else math.exp(nats)  # NaN stays NaN
