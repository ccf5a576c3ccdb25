"""Losses of the sequences of a minibatch, each under a mask of its own.

Legend: K sequences of a minibatch and as many masks, T tokens of a sequence, g some groups of all layers.
"""

from collections.abc import Callable, Sequence

from torch import Tensor

from nmlab.trials.engines.engine import Draw, Engine
from nmlab.trials.engines.mask_patcher import MaskPatcher
from nmlab.trials.models import MaskedModel
from nmlab.trials.models.sequences import LayerDeviations, Way
from nmlab.trials.models.training_objective import NEXT_TOKEN, TrainingObjective

TOGETHER = 8
"""How many sequences go through the model at once, at most.

A constant, so that a loss does not depend on how many slots share a step. K sequences are divided into as few units as
that takes, in turn, as masks are divided among slots: of 16 the even ones are one unit, the odd ones another.
"""


class SequenceLosses:
    """Evaluates draws of one engine on a model, the draw of index k on sequence k alone.

    Takes the place of a `MaskPatcher`. The frozen weights are only read. Sequences go through the model together where
    it computes them apart (`MaskedModel.computes_sequences_apart`), else one after the other.
    """

    def __init__(
        self,
        model: MaskedModel,
        engine: Engine,
        *,
        way: Way | None = None,
        objective: TrainingObjective = NEXT_TOKEN,
    ) -> None:
        """Find out whether sequences can go through the model together; all ranks of a pipeline group must call it."""
        self._model, self._engine, self._way, self._objective = model, engine, way, objective
        self._patcher = MaskPatcher(model, engine)
        self.together = model.computes_sequences_apart()

    def of(self, draws: Sequence[Draw], tokens_KT: Tensor) -> Callable[[int], float]:
        """Return a function from an index k to the loss of sequence k under the mask of ``draws[k]``.

        The loss is the mean of the objective's losses over the sequence, in nats; that of the next token has T-1. It
        depends neither on which other indices are asked for nor on their order, bit for bit, so mask-parallel peers can
        divide them. A loss that is asked for the first time may compute others with it. All ranks of a pipeline group
        must ask for the same indices in the same order.

        Args:
            draws: K masks, drawn by the engine from its current logits; the function is valid as long as these stand.
            tokens_KT: int64.

        Raises ``ValueError`` unless there is one draw for each sequence.
        """
        if len(draws) != len(tokens_KT):
            raise ValueError(f"{len(draws)} masks for {len(tokens_KT)} sequences, expected one mask for each")
        if not self.together:
            return lambda index: self._alone(draws[index], tokens_KT[index : index + 1])
        units = -(-len(draws) // min(TOGETHER, self._model.micro_batch or TOGETHER))
        known: dict[int, float] = {}

        def loss(index: int) -> float:
            if index not in known:
                unit = range(index % units, len(draws), units)
                losses = self._together([draws[each] for each in unit], tokens_KT[index % units :: units])
                known.update(zip(unit, losses, strict=True))
            return known[index]

        return loss

    def mode_changed(self, groups_g: Tensor) -> None:
        """Record that the mode of these groups, int64 ascending, has changed since the last draws were evaluated."""
        self._patcher.mode_changed(groups_g)

    def _alone(self, draw: Draw, tokens_1T: Tensor) -> float:
        self._patcher.apply(draw)
        return self._model.loss(tokens_1T, objective=self._objective)

    def _together(self, draws: Sequence[Draw], tokens_KT: Tensor) -> list[float]:
        none_g = draws[0].groups_g[:0]
        self._patcher.apply(Draw(draws[0].key, none_g, draws[0].masks_gM[:0]))
        deviations = self._by_layer(draws)
        return self._model.sequence_losses(tokens_KT, deviations, way=self._way, objective=self._objective)

    def _by_layer(self, draws: Sequence[Draw]) -> dict[str, LayerDeviations]:
        """Return where the draws differ from the mode, by layer; layers in which none does are left out."""
        found: dict[str, LayerDeviations] = {}
        for index, draw in enumerate(draws):
            for name, which, first in self._engine.layout.parts(draw.groups_g):
                if name not in found:
                    found[name] = _none(draw, count=len(draws), first=first)
                found[name].groups[index], found[name].masks[index] = draw.groups_g[which], draw.masks_gM[which]
        return found


def _none(draw: Draw, *, count: int, first: int) -> LayerDeviations:
    """Return no deviations of ``count`` sequences from the mode, for a layer whose first group is ``first``."""
    return LayerDeviations([draw.groups_g[:0]] * count, [draw.masks_gM[:0]] * count, first)
