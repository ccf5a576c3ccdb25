"""The arrangement of groups in tiles and superblocks: no block holds groups of two layers.

A layer starts a new superblock, so its last one may end with slots that hold no group. A decision for a block then
depends on one layer alone, and is the same on a worker that holds some of the layers as on one that holds all.

Legend: G groups, L layers, S slots, B superblocks, b some of them; g and s some groups and their slots.
"""

from itertools import accumulate

import torch
from torch import Tensor

from nmlab.trials.engines.layout import GroupLayout

# Groups a tile, and tiles a superblock.
TILE_BITS = 4
TILE = 1 << TILE_BITS
SUPERBLOCK = TILE * TILE


class Blocks:
    """The slots of all groups of a layout."""

    def __init__(self, layout: GroupLayout, *, device: torch.device) -> None:
        groups_by_layer = [layout.pattern.groups(layer.numel) for layer in layout.layers]
        blocks_by_layer = [-(-groups // SUPERBLOCK) for groups in groups_by_layer]
        self.names = [layer.name for layer in layout.layers]
        self.first_group = list(accumulate(groups_by_layer, initial=0))
        self.first_block = list(accumulate(blocks_by_layer, initial=0))
        self.blocks = self.first_block[-1]
        # Of every superblock, how many of its layer precede it.
        self.place_in_layer = [place for blocks in blocks_by_layer for place in range(blocks)]
        # A slot is its group plus the slots that earlier layers leave empty.
        empty_L = torch.tensor(self.first_block[:-1]) * SUPERBLOCK - torch.tensor(self.first_group[:-1])
        self._last_group_L = (torch.tensor(self.first_group[1:]) - 1).to(device)
        self._empty_L = empty_L.to(device)
        self._empty_B = empty_L.repeat_interleave(torch.tensor(blocks_by_layer)).to(device)

    def layer_groups(self, layer: int) -> slice:
        """Return the groups of the layer number ``layer``."""
        return slice(self.first_group[layer], self.first_group[layer + 1])

    def layer_blocks(self, layer: int) -> slice:
        """Return the superblocks of the layer number ``layer``."""
        return slice(self.first_block[layer], self.first_block[layer + 1])

    def slots(self, groups_g: Tensor) -> Tensor:
        """Return the slots of groups."""
        return groups_g + self._empty_L.index_select(0, torch.searchsorted(self._last_group_L, groups_g))

    def groups(self, slots_s: Tensor) -> Tensor:
        """Return the groups of slots, none of which may be empty."""
        return slots_s - self._empty_B.index_select(0, slots_s >> 2 * TILE_BITS)
