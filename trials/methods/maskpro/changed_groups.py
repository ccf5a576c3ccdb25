"""How many groups of a run have left the mask they began with, counted at the price of what changed.

Legend: G groups, g some of them, M group size.
"""

import torch
from torch import Tensor

from nmlab.trials.engines import Draw, Engine
from nmlab.trials.masks.codes import decode, encode


class ChangedGroups:
    """Which groups have a most probable mask other than the initial one; kept up to date at the price of a change."""

    def __init__(self, engine: Engine, initial_G: Tensor) -> None:
        self._engine, self._initial_G = engine, initial_G
        self._strayed_G = torch.zeros_like(initial_G, dtype=torch.bool)
        self.count = 0

    @property
    def nbytes(self) -> int:
        """Bytes held beside the codes of the initial mask, which are the engine's."""
        return self._strayed_G.nbytes

    def initial(self) -> Tensor:
        """Return the initial mask, boolean [G, M]."""
        return decode(self._initial_G, self._engine.layout.pattern.m)

    def flips(self, draw: Draw) -> int:
        """Return how many groups of a mask differ from the initial one."""
        other_g = encode(draw.masks_gM) != self._initial_G[draw.groups_g]
        return self.count + int(other_g.sum()) - int(self._strayed_G[draw.groups_g].sum())

    def mode_changed(self, groups_g: Tensor) -> None:
        """Learn that the mode of these groups is another one than before."""
        if len(groups_g):
            before = int(self._strayed_G[groups_g].sum())
            self._strayed_G[groups_g] = encode(self._engine.mode(groups_g)) != self._initial_G[groups_g]
            self.count += int(self._strayed_G[groups_g].sum()) - before

    def recount(self) -> None:
        """Compare all groups anew."""
        self._strayed_G = encode(self._engine.mode()) != self._initial_G
        self.count = int(self._strayed_G.sum())
