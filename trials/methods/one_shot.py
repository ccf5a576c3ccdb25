"""The run of a one-shot method, whose mask is ready when the run is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nmlab.trials.methods.base import Run

if TYPE_CHECKING:
    from torch import Tensor


class OneShotRun(Run):
    """A run that holds masks by layer, boolean [out, in], and new weights where the method changes them."""

    def __init__(self, masks: dict[str, Tensor], *, weights: Mapping[str, Tensor] | None = None) -> None:
        self._masks = masks
        self._weights = weights

    def masks(self) -> dict[str, Tensor]:
        return self._masks

    def weights(self) -> Mapping[str, Tensor] | None:
        return self._weights

    @property
    def state_bytes(self) -> int:
        """Bytes of the masks, and of the weights where it has new ones."""
        held = [*self._masks.values(), *(self._weights or {}).values()]
        return sum(tensor.numel() * tensor.element_size() for tensor in held)
