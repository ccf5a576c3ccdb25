"""The bounds of cold groups: upper bounds of their rates, and the windows of A and B within which these hold.

Legend: G groups, g some of them, S slots, s some of them; C slots of a tile, t some tiles.
"""

from itertools import pairwise

import torch
from torch import Tensor

from nmlab.trials.engines.event.blocks import TILE, Blocks
from nmlab.trials.engines.event.drift import DriftHistory
from nmlab.trials.engines.event.rates import UNIT, RateSums
from nmlab.trials.engines.event.windows import DriftWindows, bounds, has_left
from nmlab.trials.engines.layout import GroupLayout


class Watch:
    """The bounds and windows of the groups of a layout; at first no group is bounded."""

    def __init__(self, layout: GroupLayout, *, device: torch.device) -> None:
        self.blocks = Blocks(layout, device=device)
        self.rates = RateSums(self.blocks, device=device)
        self.windows = DriftWindows(self.blocks, n=layout.pattern.n, device=device)

    def bound(self, groups_g: Tensor, q_g: Tensor, *, sums: tuple[Tensor | float, Tensor | float]) -> None:
        """Bound groups with deviation probabilities ``q_g`` (0 ends the bound) as of the sums A and B in ``sums``."""
        slots_g, bound_g = self.blocks.slots(groups_g), bounds(q_g)
        self.rates.set(slots_g, bound_g)
        self.windows.narrow(slots_g, self.windows.ends(slots_g, bound_g, sums=sums))

    def expired(self, history: DriftHistory, stamp_G: Tensor) -> Tensor | None:
        """Return the groups whose bounds may no longer hold, int64 ascending, or None; `bound` has to follow."""
        tiles_t = self.windows.expired(history)
        if tiles_t is None:
            return None
        bound_tC = self.rates.bound_S.view(-1, TILE).index_select(0, tiles_t)
        row_s, place_s = bound_tC.nonzero(as_tuple=True)
        slots_s = torch.add(place_s, tiles_t[row_s], alpha=TILE)
        groups_s = self.blocks.groups(slots_s)
        ends_3s = self.windows.ends(slots_s, bound_tC[row_s, place_s], sums=history.at(stamp_G[groups_s]))
        gone_s = has_left(history, ends_3s.unbind(0))
        stay_s = (~gone_s).nonzero().squeeze(1)
        self.windows.reopen(tiles_t, slots_s[stay_s], ends_3s.index_select(1, stay_s))
        return groups_s[gone_s]

    def drop(self, layer: int) -> None:
        """End the watch on a layer."""
        self.rates.clear(self.blocks.layer_blocks(layer))
        self.rates.sum_up()
        self.windows.open(self.blocks.layer_blocks(layer))

    def expected_points(self) -> list[float]:
        """Return for every layer how many points a step is expected to draw."""
        return [(high - low) * UNIT for low, high in pairwise(self.rates.edges)]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.rates.nbytes + self.windows.nbytes
