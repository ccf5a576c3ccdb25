"""The run of a one-shot method, whose mask is ready when the run is made, and pruning by scores of layer inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from nmlab.trials.methods.base import Run

if TYPE_CHECKING:
    from torch import Tensor

    from nmlab.trials.inputs.statistics import SquareMean
    from nmlab.trials.methods.base import TrialContext
    from nmlab.trials.models import PrunableLayer


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


def masks_by_score(
    context: TrialContext,
    *,
    score: Callable[[PrunableLayer, Tensor, Tensor], Tensor],
    into: dict[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Prune block after block to the N of every M weights with the largest score; return all masks.

    Args:
        context: the trial.
        score: of a layer, its weight [out, in] and the mean over sequences of its summed squared inputs [in]; float32
            [out, in].
        into: a dictionary that gets the scores of every layer; by default none is kept.
    """
    from nmlab.trials.inputs.calibration import prune_blocks
    from nmlab.trials.inputs.statistics import SquareMean
    from nmlab.trials.masks.topn import topn

    frozen = context.model.frozen

    def mask_of(layer: PrunableLayer, statistic: SquareMean) -> Tensor:
        found = score(layer, frozen.module.get_parameter(f"{layer.name}.weight"), statistic.mean_I)
        if into is not None:
            into[layer.name] = found
        return topn(found, context.pattern)

    return prune_blocks(
        context.model,
        context.batches,
        statistic=lambda layer: SquareMean(layer, device=frozen.device),
        mask_of=mask_of,
        cost=context.cost,
    )
