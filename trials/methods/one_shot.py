"""The run of a method whose mask is ready at once."""

from collections.abc import Mapping

from torch import Tensor

from nmlab.trials.methods.base import Run


class OneShotRun(Run):
    """Masks by layer name, boolean [out, in], and the weights beneath them where the method changes weights."""

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
