"""Training objectives: the loss of a token, from the logits of a masked model, that a learned method lowers.

Legend: b some sequences of a minibatch, T tokens of each, P losses of each, V vocabulary.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

TokenLosses = Callable[[Tensor], Tensor]
"""Logits [b, T, V] -> losses in nats [b, P], float32; differentiable in the logits."""


class TrainingObjective(ABC):
    """What the logits of a masked model are compared with."""

    dense_forwards: int = 0
    """Forwards of the dense model that a minibatch takes, besides those of its masks."""

    @abstractmethod
    def losses_of(self, tokens_bT: Tensor) -> TokenLosses:
        """Return the function from the logits of these tokens to their losses.

        It may run the dense model, so all ranks of a pipeline group must call it; only the last one, which has the
        logits, calls what it returns.
        """

    @abstractmethod
    def losses_in(self, length: int) -> int:
        """Return the number of losses P of a sequence of ``length`` tokens."""


class NextToken(TrainingObjective):
    """The cross-entropy of the text's next token; T-1 losses of T tokens."""

    def losses_of(self, tokens_bT: Tensor) -> TokenLosses:
        return lambda logits_bTV: next_token_losses(logits_bTV, tokens_bT)

    def losses_in(self, length: int) -> int:
        return length - 1


NEXT_TOKEN = NextToken()


class Teacher(Protocol):
    """Gives the dense model's predictions."""

    def log_probabilities(self, tokens_bT: Tensor) -> Tensor | None:
        """Return the log-probabilities of the next token, [b, T, V] float32; None where another rank has them."""


class Distillation(TrainingObjective):
    """KL(dense || masked) of the next-token distributions after every token; T losses of T tokens.

    Knowledge distillation with soft targets alone, at temperature 1 (Hinton et al. 2015, arXiv:1503.02531), here from
    the dense model to its own masked form (self-distillation). The text's next token takes no part.
    """

    def __init__(self, teacher: Teacher, *, dense_forwards: int) -> None:
        self._teacher, self.dense_forwards = teacher, dense_forwards

    def losses_of(self, tokens_bT: Tensor) -> TokenLosses:
        dense_bTV = self._teacher.log_probabilities(tokens_bT)

        def losses(logits_bTV: Tensor) -> Tensor:
            assert dense_bTV is not None, "the rank that has the logits has the dense model's too"
            return divergences(dense_bTV, logits_bTV)

        return losses

    def losses_in(self, length: int) -> int:
        return length


def next_token_losses(logits_bTV: Tensor, tokens_bT: Tensor) -> Tensor:
    """Return the losses, [b, T-1] float32: logits at position t predict the token at t+1."""
    predicted = logits_bTV[:, :-1].float().flatten(0, 1)
    targets = tokens_bT[:, 1:].flatten().to(predicted.device)
    losses = F.cross_entropy(predicted, targets, reduction="none")
    return losses.view(tokens_bT.shape[0], -1)


def divergences(dense_bTV: Tensor, logits_bTV: Tensor) -> Tensor:
    """Return KL(dense || masked) at every position in nats, [b, T], computed in float32.

    Args:
        dense_bTV: log-probabilities of the dense model, float32.
        logits_bTV: logits of the masked model; the result is differentiable in them.
    """
    masked_bTV = logits_bTV.float().log_softmax(dim=-1)
    return F.kl_div(masked_bTV, dense_bTV, reduction="none", log_target=True).sum(dim=-1)
