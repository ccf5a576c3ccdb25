"""Which groups to look at in a step: bounds of the cold ones, windows within which these hold, and the hot ones.

Legend: G groups, g some of them, S slots, b superblocks.
"""

from itertools import pairwise

import torch
from torch import Tensor

from nmlab.trials.engines.event.blocks import SUPERBLOCK, Blocks
from nmlab.trials.engines.event.drift import History
from nmlab.trials.engines.event.hot import HotGroups
from nmlab.trials.engines.event.rates import UNIT, RateSums
from nmlab.trials.engines.event.windows import HOT, Windows, bounds
from nmlab.trials.engines.layout import GroupLayout


class Watch:
    """The watch on all groups of a layout; it begins with none."""

    def __init__(self, layout: GroupLayout, *, device: torch.device) -> None:
        self.blocks = Blocks(layout, device=device)
        self.rates = RateSums(self.blocks, device=device)
        self.windows = Windows(self.blocks.blocks, n=layout.pattern.n, device=device)
        self.hot = HotGroups(self.blocks.first_group, device=device)

    def renew(self, groups_g: Tensor, q_g: Tensor, *, history: History) -> None:
        """Watch groups that were written just now and had been watched before, all hot ones among them."""
        slots_g = self.blocks.slots(groups_g)
        hot_g = q_g > HOT
        if len(self.hot):
            # A group is cold again only at half of the rate that makes it hot.
            hot_g |= (q_g > HOT / 2) & (self.rates.bound_S[slots_g] == 0)
        self.hot.replace(*self._set(groups_g, q_g, slots_g=slots_g, hot_g=hot_g, history=history))

    def extend(self, groups_g: Tensor, q_g: Tensor, *, history: History, hot_g: Tensor | None = None) -> None:
        """Watch groups that were written just now, none of them hot before; ``hot_g`` tells which are, if given."""
        hot_g = q_g > HOT if hot_g is None else hot_g
        self.hot.add(*self._set(groups_g, q_g, slots_g=self.blocks.slots(groups_g), hot_g=hot_g, history=history))

    def expired(self, history: History) -> Tensor | None:
        """Take superblocks out of the watch whose bounds may no longer hold; returns their cold groups, or None."""
        blocks_b = self.windows.expired(history)
        if blocks_b is None:
            return None
        cold_bS = self.rates.bound_S.view(-1, SUPERBLOCK)[blocks_b] > 0
        block_g, place_g = cold_bS.nonzero(as_tuple=True)
        self.windows.open(blocks_b)
        self.windows.measure()
        return self.blocks.groups(blocks_b[block_g] * SUPERBLOCK + place_g)

    def drop(self, layer: int) -> None:
        """End the watch on a layer."""
        self.rates.clear(self.blocks.layer_blocks(layer))
        self.rates.sum_up()
        self.windows.open(self.blocks.layer_blocks(layer))
        self.windows.measure()
        self.hot.drop(self.blocks.layer_groups(layer))

    def expected_touches(self) -> list[float]:
        """Return for every layer how many groups a step is expected to look at."""
        points = [(high - low) * UNIT for low, high in pairwise(self.rates.edges)]
        return [cold + hot for cold, hot in zip(points, self.hot.by_layer(), strict=True)]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.rates.nbytes + self.windows.nbytes + self.hot.nbytes

    def _set(
        self, groups_g: Tensor, q_g: Tensor, *, slots_g: Tensor, hot_g: Tensor, history: History
    ) -> tuple[Tensor, Tensor]:
        """Bound the cold ones; returns the hot ones, and their q."""
        found_h = hot_g.nonzero().squeeze(1)
        cold_g = q_g.masked_fill(hot_g, 0.0) if len(found_h) else q_g
        self.rates.set(slots_g, bounds(cold_g))
        self.windows.narrow(slots_g, cold_g, history=history)
        return groups_g.index_select(0, found_h), q_g.index_select(0, found_h)
