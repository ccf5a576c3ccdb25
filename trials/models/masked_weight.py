"""Masked weights: two ways of making a layer act as dense weight times mask, and of changing a few groups of the mask.

`CopiedWeight` holds the product: as many bytes as the weight, no work in the forward. `MultipliedWeight` holds the mask
as codes, one bit a weight where the group size is 8, 16 or 32, and computes the product in every forward.

Legend: O outputs, I inputs, G groups of the layer counted row by row, g some of them, M group size.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nmlab.trials.masks.codes import decode, encode


class MaskedWeight(ABC):
    """The mask of one linear layer of a trial's module tree, or of several that share a weight, which is only read.

    Attributes:
        linears: the layers.
        dense_OI: the weight that is masked.
    """

    linears: Sequence[nn.Linear]
    dense_OI: Tensor

    @property
    @abstractmethod
    def masked_OI(self) -> Tensor:
        """Weight times mask; only to be read."""

    @abstractmethod
    def apply(self, weight_OI: Tensor, mask_OI: Tensor) -> None:
        """Make the layer act as ``weight`` times ``mask`` (boolean)."""

    @abstractmethod
    def patch(self, groups_g: Tensor, masks_gM: Tensor) -> None:
        """Change the mask of some groups, int64 [g] without repeats, to ``masks_gM`` (boolean)."""

    def change(self, groups_n: Tensor, masks_nM: Tensor) -> Tensor:
        """Return by how much each weight of some groups would change under other masks, exactly; repeats allowed."""
        dense_nM = self.dense_OI.view(-1, masks_nM.shape[1]).index_select(0, groups_n)
        return (dense_nM * masks_nM).sub_(self._masked_groups(dense_nM, groups_n))

    @abstractmethod
    def _masked_groups(self, dense_nM: Tensor, groups_n: Tensor) -> Tensor:
        """Return the masked weights of some groups, whose dense weights are given."""

    @abstractmethod
    def restore(self) -> None:
        """Make the layer act as it did before a mask was applied."""

    @property
    @abstractmethod
    def bytes(self) -> int:
        """Bytes that this masked weight holds besides the shared dense weight."""


class CopiedWeight(MaskedWeight):
    """Holds the product of weight and mask, in the type of the dense weight."""

    def __init__(self, linears: Sequence[nn.Linear]) -> None:
        self.linears, self._dense = linears, linears[0].weight
        self._masked_OI = torch.empty_like(self._dense, requires_grad=False)
        self.dense_OI = self._dense
        masked = nn.Parameter(self._masked_OI, requires_grad=False)
        for linear in linears:
            linear.weight = masked

    @property
    def masked_OI(self) -> Tensor:
        return self._masked_OI

    def apply(self, weight_OI: Tensor, mask_OI: Tensor) -> None:
        self.dense_OI = weight_OI
        torch.mul(weight_OI, mask_OI, out=self._masked_OI)

    def patch(self, groups_g: Tensor, masks_gM: Tensor) -> None:
        m = masks_gM.shape[1]
        self._masked_OI.view(-1, m)[groups_g] = self.dense_OI.view(-1, m)[groups_g] * masks_gM

    def _masked_groups(self, dense_nM: Tensor, groups_n: Tensor) -> Tensor:
        return self._masked_OI.view(-1, dense_nM.shape[1]).index_select(0, groups_n)

    def restore(self) -> None:
        for linear in self.linears:
            linear.weight = self._dense

    @property
    def bytes(self) -> int:
        return self._masked_OI.numel() * self._masked_OI.element_size()


class MultipliedWeight(MaskedWeight):
    """Holds the mask as one code for each group of ``m`` inputs, and multiplies the weight in every forward."""

    def __init__(self, linears: Sequence[nn.Linear], *, m: int) -> None:
        self.linears, self._m = linears, m
        weight_OI = linears[0].weight
        self.dense_OI = weight_OI
        self._codes_G = encode(torch.ones(weight_OI.numel() // m, m, dtype=torch.bool, device=weight_OI.device))
        for linear in linears:
            # An attribute of the instance is found before the method of the class, so only this tree's layer changes.
            linear.forward = partial(self._forward, linear)  # type: ignore[method-assign]

    @property
    def masked_OI(self) -> Tensor:
        return self.dense_OI * decode(self._codes_G, self._m).view_as(self.dense_OI)

    def apply(self, weight_OI: Tensor, mask_OI: Tensor) -> None:
        self.dense_OI = weight_OI
        self._codes_G = encode(mask_OI.reshape(-1, self._m))

    def patch(self, groups_g: Tensor, masks_gM: Tensor) -> None:
        self._codes_G[groups_g] = encode(masks_gM)

    def _masked_groups(self, dense_nM: Tensor, groups_n: Tensor) -> Tensor:
        return dense_nM * decode(self._codes_G.index_select(0, groups_n), self._m)

    def restore(self) -> None:
        for linear in self.linears:
            del linear.forward

    @property
    def bytes(self) -> int:
        return self._codes_G.numel() * self._codes_G.element_size()

    def _forward(self, linear: nn.Linear, inputs: Tensor) -> Tensor:
        return F.linear(inputs, self.masked_OI, linear.bias)


def computes_plainly(linear: nn.Linear) -> bool:
    """Return whether a layer's forward is that of ``nn.Linear``, so that `MultipliedWeight` can replace it."""
    return type(linear).forward is nn.Linear.forward
