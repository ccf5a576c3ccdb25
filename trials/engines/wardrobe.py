"""Puts the masks that an engine draws on a model, by changing only the groups in which they differ.

Two masks of one step and two of neighbouring steps differ where either is not the mode, which at a logit magnitude of
10 is one group in ten thousand: rewriting every masked weight would cost a thousand times the change.

Legend: G groups of all layers, g some of them, M group size.
"""

import torch
from torch import Tensor

from nmlab.trials.engines.engine import Draw, Engine
from nmlab.trials.models import MaskedModel

# Beyond this share of changed groups, gathering and scattering them costs more than writing all of them in order.
_WORTH_PATCHING = 0.1


class Wardrobe:
    """A model that wears the draws of one engine, one after the other."""

    def __init__(self, model: MaskedModel, engine: Engine) -> None:
        self._model, self._engine = model, engine
        self._off_mode_g: Tensor | None = None
        self._changes = -1

    @property
    def nbytes(self) -> int:
        """Bytes held between two draws: which groups wear another mask than the mode."""
        return 0 if self._off_mode_g is None else self._off_mode_g.nbytes

    def show(self, draw: Draw) -> None:
        """Make the model wear ``draw``, which the engine drew from its logits as they stand."""
        if self._off_mode_g is None or self._changes != self._model.changes or self._is_much(draw):
            self._model.wear(self._engine.layout.split(draw.over(self._engine.mode())))
            self._changes = self._model.changes
        else:
            self._patch(self._off_mode_g, self._engine.mode(self._off_mode_g))
            self._patch(draw.groups_g, draw.masks_gM)
        self._off_mode_g = draw.groups_g

    def mode_changed(self, groups_g: Tensor) -> None:
        """Learn that the mode of these groups is another one than when the last draw was shown."""
        if self._off_mode_g is not None and len(groups_g):
            self._off_mode_g = torch.unique(torch.cat([self._off_mode_g, groups_g]))

    def _is_much(self, draw: Draw) -> bool:
        assert self._off_mode_g is not None
        return len(draw.groups_g) + len(self._off_mode_g) > _WORTH_PATCHING * self._engine.layout.groups

    def _patch(self, groups_g: Tensor, masks_gM: Tensor) -> None:
        for name, which, first in self._engine.layout.parts(groups_g):
            self._model.patch(name, groups_g[which] - first, masks_gM[which])
