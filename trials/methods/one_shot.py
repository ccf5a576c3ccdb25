"""The run of a method whose mask is ready at once."""

from torch import Tensor

from nmlab.trials.method import Run


class OneShotRun(Run):
    """Masks by layer name, boolean [out, in]."""

    def __init__(self, masks: dict[str, Tensor]) -> None:
        self._masks = masks

    def masks(self) -> dict[str, Tensor]:
        return self._masks
