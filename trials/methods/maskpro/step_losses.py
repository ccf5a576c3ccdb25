"""The losses that a step of MaskPro learns from: of masks on a whole minibatch, or of each mask on its own sequence.

Here and in `SequenceLosses` a minibatch meets a mask; nothing else of MaskPro computes a loss in training.

Legend: K sequences of a minibatch, T tokens of a sequence, g some groups of all layers.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from torch import Tensor

from nmlab.trials.engines import Draw, Engine
from nmlab.trials.engines.mask_patcher import MaskPatcher
from nmlab.trials.engines.sequence_losses import SequenceLosses
from nmlab.trials.measure.cost import Cost
from nmlab.trials.models import MaskedModel
from nmlab.trials.models.training_objective import TrainingObjective


def batch_loss(model: MaskedModel, tokens_KT: Tensor, *, objective: TrainingObjective) -> list[float]:
    """Return the loss of a minibatch under the masks that are applied, in nats a token, as the only entry."""
    return [model.loss(tokens_KT, objective=objective)]


def losses_by_sequence(model: MaskedModel, tokens_KT: Tensor, *, objective: TrainingObjective) -> list[float]:
    """Return the losses of the sequences of a minibatch under the masks that are applied, in one forward."""
    losses: list[float] = model.token_losses(tokens_KT, objective=objective).double().mean(dim=1).tolist()
    return losses


class StepLosses(ABC):
    """Evaluates the masks of a step, each by its index."""

    @abstractmethod
    def of(self, draws: Sequence[Draw], tokens_KT: Tensor) -> Callable[[int], float]:
        """Return a function from the index of a draw to its loss in nats a token; valid while the logits stand."""

    @abstractmethod
    def mode_changed(self, groups_g: Tensor) -> None:
        """Record that the mode of these groups, int64 ascending, has changed since the last draws were evaluated."""


class LossesOnBatch(StepLosses):
    """Evaluates every mask on the whole minibatch."""

    def __init__(self, model: MaskedModel, engine: Engine, *, objective: TrainingObjective, cost: Cost) -> None:
        self._model, self._patcher, self._cost = model, MaskPatcher(model, engine), cost
        self._objective = objective

    def of(self, draws: Sequence[Draw], tokens_KT: Tensor) -> Callable[[int], float]:
        device = self._model.frozen.device

        def loss(index: int) -> float:
            with self._cost.phase("patch", device=device):
                self._patcher.apply(draws[index])
            with self._cost.phase("forward", device=device):
                return batch_loss(self._model, tokens_KT, objective=self._objective)[0]

        return loss

    def mode_changed(self, groups_g: Tensor) -> None:
        self._patcher.mode_changed(groups_g)


class LossesOnSequences(StepLosses):
    """Evaluates the mask of index k on sequence k of the minibatch alone."""

    def __init__(self, model: MaskedModel, engine: Engine, *, objective: TrainingObjective, cost: Cost) -> None:
        self._model, self._cost = model, cost
        self._sequences = SequenceLosses(model, engine, objective=objective)

    def of(self, draws: Sequence[Draw], tokens_KT: Tensor) -> Callable[[int], float]:
        of_sequence = self._sequences.of(draws, tokens_KT)

        def loss(index: int) -> float:
            with self._cost.phase("forward", device=self._model.frozen.device):
                return of_sequence(index)

        return loss

    def mode_changed(self, groups_g: Tensor) -> None:
        self._sequences.mode_changed(groups_g)
