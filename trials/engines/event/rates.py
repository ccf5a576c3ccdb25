"""Upper bounds of the rates at which groups deviate, summed exactly over tiles and superblocks.

A group deviates when a Poisson process of rate lambda = -log(1 - q) fires at least once: probability q. Bounds are
integers in units of 2^-35, so sums that are changed a million times are still exact, and a point drawn uniformly among
all units falls on a group with a probability that no rounding touches.

Legend: S slots, s some of them, T tiles, B superblocks, b some of them, L layers, p points.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nmlab.trials.engines.event.blocks import SUPERBLOCK, TILE, TILE_BITS, Blocks

UNIT = 2.0**-35
# The largest number in a slot of 32 bits: a rate of 1/16. Groups that deviate more often are hot and not kept here.
LARGEST = 2**31 - 1


def rate(q_g: Tensor) -> Tensor:
    """Return the rate of a process that fires with probability ``q_g``, in units; float64."""
    return torch.log1p(-q_g).div_(-UNIT)


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Positions of points: ``slots_p``, and how far into the units of their slot, ``depth_p``; both int64."""

    slots_p: Tensor
    depth_p: Tensor


class RateSums:
    """The bound of every slot, int32 [S], with its sums; a slot without a group, or with a hot one, holds zero."""

    def __init__(self, blocks: Blocks, *, device: torch.device) -> None:
        self.bound_S = torch.zeros(blocks.blocks * SUPERBLOCK, dtype=torch.int32, device=device)
        self._tile_T = torch.zeros(blocks.blocks * TILE, dtype=torch.int64, device=device)
        self._block_B = torch.zeros(blocks.blocks, dtype=torch.int64, device=device)
        self._first_block = torch.tensor(blocks.first_block, device=device)
        self.sum_up()

    def set(self, slots_s: Tensor, bound_s: Tensor) -> None:
        """Write the bounds (int64) of different slots; `sum_up` has to follow."""
        change_s = bound_s - self.bound_S.index_select(0, slots_s)
        self.bound_S[slots_s] = bound_s.to(torch.int32)
        self._tile_T.index_add_(0, slots_s >> TILE_BITS, change_s)
        self._block_B.index_add_(0, slots_s >> 2 * TILE_BITS, change_s)

    def clear(self, blocks: slice) -> None:
        """Set all bounds of a run of superblocks to zero; `sum_up` has to follow."""
        self.bound_S[blocks.start * SUPERBLOCK : blocks.stop * SUPERBLOCK] = 0
        self._tile_T[blocks.start * TILE : blocks.stop * TILE] = 0
        self._block_B[blocks] = 0

    def sum_up(self) -> None:
        """Update the sums over superblocks after bounds have changed."""
        self._end_B = self._block_B.cumsum(0)
        edge_L = F.pad(self._end_B, (1, 0))[self._first_block]
        # Layers own contiguous runs of units: layer l those from edges[l] to edges[l + 1].
        self.edges: list[int] = edge_L.tolist()

    def locate(self, units_p: Tensor) -> Points:
        """Return where units (int64, counted through all layers) lie."""
        block_p = torch.searchsorted(self._end_B, units_p, right=True)
        depth_p = units_p - self._end_B[block_p] + self._block_B[block_p]
        tile_p, depth_p = _descend(self._tile_T, block_p, depth_p)
        return Points(*_descend(self.bound_S, tile_p, depth_p))

    @property
    def nbytes(self) -> int:
        """Bytes of the bounds and of their sums."""
        return sum(tensor.nbytes for tensor in (self.bound_S, self._tile_T, self._block_B, self._end_B))


def _descend(children: Tensor, parent_p: Tensor, depth_p: Tensor) -> tuple[Tensor, Tensor]:
    """Return the child that each place in a parent lies in, and the place in that child."""
    end_pC = children.view(-1, TILE).index_select(0, parent_p).cumsum(1, dtype=torch.int64)
    child_p1 = torch.searchsorted(end_pC, depth_p.unsqueeze(1), right=True)
    child_p = torch.add(child_p1.squeeze(1), parent_p, alpha=TILE)
    return child_p, depth_p - end_pC.gather(1, child_p1).squeeze(1) + children.index_select(0, child_p)
