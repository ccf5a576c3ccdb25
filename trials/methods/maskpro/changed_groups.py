"""Count the groups whose most probable mask differs from the initial one, at a cost that grows with the changes.

Legend: G groups, g some of them, M group size.
"""

import torch
from torch import Tensor

from nmlab.trials.engines import Draw, Engine
from nmlab.trials.masks.codes import decode, encode


class ChangedGroups:
    """The groups whose most probable mask differs from the initial one, updated when modes change."""

    def __init__(self, engine: Engine, initial_G: Tensor) -> None:
        self._engine, self._initial_G = engine, initial_G
        self._changed_G = torch.zeros_like(initial_G, dtype=torch.bool)
        self.count = 0

    @property
    def nbytes(self) -> int:
        """Bytes held besides the codes of the initial mask, which belong to the engine."""
        return self._changed_G.nbytes

    def initial(self) -> Tensor:
        """Return the initial mask, boolean [G, M]."""
        return decode(self._initial_G, self._engine.layout.pattern.m)

    def flips(self, draw: Draw) -> int:
        """Return how many groups of a sampled mask differ from the initial mask."""
        other_g = encode(draw.masks_gM) != self._initial_G[draw.groups_g]
        return self.count + int(other_g.sum()) - int(self._changed_G[draw.groups_g].sum())

    def mode_changed(self, groups_g: Tensor) -> None:
        """Update the groups ``groups_g``, whose modes have changed."""
        if len(groups_g):
            before = int(self._changed_G[groups_g].sum())
            self._changed_G[groups_g] = encode(self._engine.mode(groups_g)) != self._initial_G[groups_g]
            self.count += int(self._changed_G[groups_g].sum()) - before

    def recount(self) -> None:
        """Compare all groups with the initial mask again."""
        self._changed_G = encode(self._engine.mode()) != self._initial_G
        self.count = int(self._changed_G.sum())
