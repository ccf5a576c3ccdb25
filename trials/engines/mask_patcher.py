"""The mask patcher: applies an engine's draws to a model by changing only the groups in which they differ.

Two masks of one step and two of neighbouring steps differ where either is not the mode, which at a logit magnitude of
10 is one group in ten thousand: rewriting every masked weight would cost a thousand times the change.

Legend: G groups of all layers, g some of them, M group size.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from nmlab.trials.engines.engine import Draw, Engine
from nmlab.trials.models import MaskedModel

# Beyond this share of changed groups, gathering and scattering them costs more than writing all of them in order.
_WORTH_PATCHING = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class _Patches:
    """A mask patcher's state at the model: the groups whose applied mask is not the mode, int64 ascending."""

    by: "MaskPatcher"
    off_mode_g: Tensor


class MaskPatcher:
    """Applies the draws of one engine to a model, one after the other."""

    def __init__(self, model: MaskedModel, engine: Engine) -> None:
        self._model, self._engine = model, engine

    def apply(self, draw: Draw) -> None:
        """Apply ``draw`` to the model; the engine must have drawn it from its current logits."""
        off_mode_g = self._off_mode()
        if off_mode_g is None or self._is_much(draw, off_mode_g):
            self._model.apply_masks(self._engine.layout.split(draw.over(self._engine.mode())))
        else:
            self._patch(off_mode_g, self._engine.mode(off_mode_g))
            self._patch(draw.groups_g, draw.masks_gM)
        self._model.patches = _Patches(self, draw.groups_g)

    def mode_changed(self, groups_g: Tensor) -> None:
        """Record that the mode of these groups has changed since the last draw was applied."""
        off_mode_g = self._off_mode()
        if off_mode_g is not None and len(groups_g):
            self._model.patches = _Patches(self, torch.unique(torch.cat([off_mode_g, groups_g])))

    def _off_mode(self) -> Tensor | None:
        """Return the groups whose applied mask is not the mode, or None if other masks were applied since."""
        patches = self._model.patches
        return patches.off_mode_g if isinstance(patches, _Patches) and patches.by is self else None

    def _is_much(self, draw: Draw, off_mode_g: Tensor) -> bool:
        return len(draw.groups_g) + len(off_mode_g) > _WORTH_PATCHING * self._engine.layout.groups

    def _patch(self, groups_g: Tensor, masks_gM: Tensor) -> None:
        for name, which, first in self._engine.layout.parts(groups_g):
            self._model.patch(name, groups_g[which] - first, masks_gM[which])
