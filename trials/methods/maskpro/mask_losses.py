"""Losses of masks drawn from the final logits, minibatch by minibatch: the signal that a policy gradient learns from.

MaskPro, Figure 2: on two minibatches the losses of the same masks lie far apart, so that a good mask on one can lose
more than a bad one on the other.

Legend: K masks, B minibatches.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nmlab.trials.engines import Engine, MaskKey
from nmlab.trials.engines.mask_patcher import MaskPatcher
from nmlab.trials.masks.randomness import key_bits
from nmlab.trials.measure.cost import Cost
from nmlab.trials.models import MaskedModel
from nmlab.trials.models.training_objective import TrainingObjective


def mask_keys(seed: int, *, masks: int) -> list[MaskKey]:
    """Return the keys of the masks, under a seed of their own that differs from every draw of training."""
    own = key_bits("losses of masks", seed) % 2**64
    return [MaskKey(own, 0, index) for index in range(masks)]


def sampled_losses(
    engine: Engine,
    *,
    model: MaskedModel,
    keys: Sequence[MaskKey],
    batches: Sequence[Tensor],
    objective: TrainingObjective,
    account: Cost,
    cancelled: Callable[[], bool],
) -> NDArray[np.float64] | None:
    """Return the losses [K, B] in nats of the masks that ``keys`` name, drawn from the engine's unchanged logits.

    Returns None as soon as ``cancelled()``. Afterwards the last of the masks is applied to the model.
    """
    patcher, loss_KB = MaskPatcher(model, engine), np.empty((len(keys), len(batches)))
    for mask, key in enumerate(keys):
        if cancelled():
            return None
        patcher.apply(engine.sample(key))
        loss_KB[mask] = _losses(model, batches, objective=objective, account=account)
    return loss_KB


def dense_losses(
    model: MaskedModel, batches: Sequence[Tensor], *, objective: TrainingObjective, account: Cost
) -> NDArray[np.float64]:
    """Remove the masks of the model and return its losses [B] in nats, and charge what the objective takes."""
    model.remove_masks()
    for tokens in list(batches) * objective.dense_forwards:
        account.count_forward(tokens.numel())
    return np.array(_losses(model, batches, objective=objective, account=account))


def _losses(
    model: MaskedModel, batches: Sequence[Tensor], *, objective: TrainingObjective, account: Cost
) -> list[float]:
    for tokens in batches:
        account.count_forward(tokens.numel())
    return [model.loss(tokens, objective=objective) for tokens in batches]
