"""Losses of the sequences of a minibatch, each under a mask of its own.

Legend: K sequences of a minibatch and as many masks, T tokens of a sequence, g some groups of all layers.
"""

from collections.abc import Callable, Sequence

from torch import Tensor

from nmlab.trials.engines.engine import Draw, Engine
from nmlab.trials.engines.mask_patcher import MaskPatcher
from nmlab.trials.models import MaskedModel


class SequenceLosses:
    """Evaluates draws of one engine on a model, the draw of index k on sequence k alone.

    Takes the place of a `MaskPatcher`. The frozen weights are only read.
    """

    def __init__(self, model: MaskedModel, engine: Engine) -> None:
        self._model, self._patcher = model, MaskPatcher(model, engine)

    def of(self, draws: Sequence[Draw], tokens_KT: Tensor) -> Callable[[int], float]:
        """Return a function from an index k to the loss of sequence k under the mask of ``draws[k]``.

        The loss is the mean next-token cross-entropy in nats over the T-1 predictions of the sequence. It depends
        neither on which other indices are asked for nor on their order, bit for bit, so mask-parallel peers can divide
        them. A loss that is asked for the first time may compute others with it. All ranks of a pipeline group must ask
        for the same indices in the same order.

        Args:
            draws: K masks, drawn by the engine from its current logits; the function is valid as long as these stand.
            tokens_KT: int64.

        Raises ``ValueError`` unless there is one draw for each sequence.
        """
        if len(draws) != len(tokens_KT):
            raise ValueError(f"{len(draws)} masks for {len(tokens_KT)} sequences, expected one mask for each")

        def loss(index: int) -> float:
            self._patcher.apply(draws[index])
            return self._model.loss(tokens_KT[index : index + 1])

        return loss

    def mode_changed(self, groups_g: Tensor) -> None:
        """Record that the mode of these groups, int64 ascending, has changed since the last draws were evaluated."""
        self._patcher.mode_changed(groups_g)
