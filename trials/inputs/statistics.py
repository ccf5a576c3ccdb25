"""Statistics of the inputs of a layer, updated minibatch by minibatch.

Legend: B batch, T tokens, R rows (tokens of all sequences of a batch), I inputs.
"""

from typing import Protocol

import torch
from torch import Tensor

from nmlab.trials.models import PrunableLayer


class InputStatistic(Protocol):
    """A running statistic of one layer's inputs."""

    def update(self, inputs_BTI: Tensor) -> None: ...


class SquareMean:
    """Squared inputs summed over tokens, averaged over sequences: a_j = 1/n sum_st x_stj^2 (Wanda), float32 [I]."""

    def __init__(self, layer: PrunableLayer, *, device: torch.device) -> None:
        self._sum_I = torch.zeros(layer.in_features, dtype=torch.float32, device=device)
        self._sequences = 0

    def update(self, inputs_BTI: Tensor) -> None:
        self._sum_I += inputs_BTI.float().square().sum(dim=(0, 1))
        self._sequences += inputs_BTI.shape[0]

    @property
    def mean_I(self) -> Tensor:
        return self._sum_I / self._sequences


class SecondMoment:
    """The Hessian of a layer's reconstruction error, H = 2/n sum_s X_s^T X_s (SparseGPT), float32 [I, I].

    X_s are the inputs of sequence s, [T, I]; n counts sequences.
    """

    def __init__(self, layer: PrunableLayer, *, device: torch.device) -> None:
        self._sum_II = torch.zeros(layer.in_features, layer.in_features, dtype=torch.float32, device=device)
        self._sequences = 0

    def update(self, inputs_BTI: Tensor) -> None:
        inputs_RI = inputs_BTI.flatten(0, 1).float()
        self._sum_II.addmm_(inputs_RI.T, inputs_RI)
        self._sequences += inputs_BTI.shape[0]

    @property
    def hessian_II(self) -> Tensor:
        return self._sum_II * (2 / self._sequences)
