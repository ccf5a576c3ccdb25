"""Windows: how far the sums A and B may move before the bound of a group no longer holds.

A group whose logits move by a vector d deviates with probability at most q e^(sqrt 2 |d|): docs/engines.md proves it,
and that drift without writes moves it by at most

    |dA| sqrt 2 x + (dA^2 + dB) / 2 * K x^2,     x = q / (1 - q),   K = sqrt 2 (2N + 1 + 2x).

Every bound allows for `REACH` nats; a group is thus safe while |dA| <= W / x and dB <= V / x^2, W and V as made below.
A group's window follows from its bound and from A and B when it was bounded. The window of a tile or superblock is at
most as wide as that of any of its groups: single groups are checked only where A or B has left these.

Legend: T tiles, t some of them, B superblocks, b some of them, s slots (different ones).
"""

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from nmlab.trials.engines.event.blocks import TILE, TILE_BITS, Blocks
from nmlab.trials.engines.event.drift import DriftHistory
from nmlab.trials.engines.event.rates import LARGEST, UNIT, rate

# Nats that a group may drift before it is bounded again. A larger reach means fewer updates, and more points that are
# rejected (3 % at this reach); the error of the second-order update grows with its third power.
REACH = 0.02
# The last factor covers rounding, and that the derivative is taken over a distance (`drift`).
_GROWTH = math.exp(math.sqrt(2) * REACH) * (1 + 1e-6)
# A group that deviates more often than this has no bound: it is hot, and drawn in every step.
HOT = 1 / 20
assert -math.log1p(-HOT * _GROWTH) < LARGEST * UNIT
# Of the reach, what the first-order term may use.
_SHARE = 0.75
# A group is hot too where its window would last for fewer steps than this: bounding it again and again would cost more
# than drawing it in every step. Exactness does not depend on this number.
_LEAST_STEPS = 8
# Equal groups would all reach the end of their windows in one step; so the windows of a layer's superblocks are
# shortened by factors spread evenly between this and 1, by the golden ratio.
_SHORTEST, _GOLDEN = 0.5, (math.sqrt(5) - 1) / 2

End = TypeVar("End", float, Tensor)


def bounds(q_s: Tensor) -> Tensor:
    """Return upper bounds of the rates of groups within reach, int64 in units; positive where q is."""
    # One unit more than rounded up: the rounding of q is far below a unit and a relative 1e-9.
    return rate(q_s * _GROWTH).ceil_().add_(1).long() * (q_s > 0)


class DriftWindows:
    """The ranges of A and B in which all bounds hold: A from -row 0 to row 1, B to row 2; float32, rounded inwards."""

    def __init__(self, blocks: Blocks, *, n: int, device: torch.device) -> None:
        # x stays below twice the largest q of a cold group.
        curvature = math.sqrt(2) * (2 * n + 1 + 4 * HOT)
        self._first = _SHARE * REACH / math.sqrt(2)
        second = 2 * (1 - _SHARE) * REACH / curvature - self._first**2
        assert second > 0
        spread_B = torch.tensor(blocks.place_in_layer, dtype=torch.float64).mul_(_GOLDEN).frac_()
        shortened_B = _SHORTEST + (1 - _SHORTEST) * spread_B
        self._reach_2B = torch.stack([self._first * shortened_B, second * shortened_B]).to(device)
        self._ends_3T = torch.full((3, blocks.blocks * TILE), torch.inf, device=device)
        self._ends_3B = torch.full((3, blocks.blocks), torch.inf, device=device)
        self._narrowest = [math.inf] * 3

    def open(self, blocks: slice) -> None:
        """Forget the windows of a run of superblocks."""
        self._ends_3B[:, blocks] = torch.inf
        self._ends_3T[:, blocks.start * TILE : blocks.stop * TILE] = torch.inf
        self._measure()

    def reopen(self, tiles_t: Tensor, slots_s: Tensor, ends_3s: Tensor) -> None:
        """Replace the windows of tiles, ascending, by those of the groups in them that stay bounded."""
        self._ends_3T.index_fill_(1, tiles_t, torch.inf)
        _narrow(self._ends_3T, slots_s >> TILE_BITS, _inwards(ends_3s))
        blocks_b = torch.unique_consecutive(tiles_t >> TILE_BITS)
        tiles_3bC = self._ends_3T.view(3, -1, TILE).index_select(1, blocks_b)
        self._ends_3B[:, blocks_b] = tiles_3bC.amin(2)
        self._measure()

    def ends(self, slots_s: Tensor, bound_s: Tensor, *, sums: tuple[Tensor | float, Tensor | float]) -> Tensor:
        """Return the ends of single groups' windows, [3, s], from their bounds and from A and B when they were bounded.

        A bound of zero has a window without end.
        """
        rate_s = bound_s.double() * UNIT
        # x is below e^rate - 1, which is below rate / (1 - rate).
        inverse_s = (1.0 - rate_s).div_(rate_s)
        reach_2s = self._reach_2B.index_select(1, slots_s >> 2 * TILE_BITS)
        first_s, (first, second) = inverse_s * reach_2s[0], sums
        return torch.stack([first_s - first, first_s + first, inverse_s.square_().mul_(reach_2s[1]).add_(second)])

    def narrow(self, slots_s: Tensor, ends_3s: Tensor) -> None:
        """Narrow the windows of tiles and superblocks to those of groups."""
        if len(slots_s) == 0:
            return
        ends_3s = _inwards(ends_3s)
        _narrow(self._ends_3T, slots_s >> TILE_BITS, ends_3s)
        _narrow(self._ends_3B, slots_s >> 2 * TILE_BITS, ends_3s)
        self._narrowest = list(map(min, self._narrowest, ends_3s.amin(1).tolist()))

    def hottest(self, history: DriftHistory) -> float:
        """Return the largest q for which a group is bounded and not hot, at the recent pace of A."""
        # A walk of steps of size s leaves a window of half-width w after (w / s)^2 steps.
        pace = history.pace() * math.sqrt(_LEAST_STEPS)
        return min(HOT, (1 + _SHORTEST) / 2 * self._first / pace) if pace else HOT

    def looks(self, q_s: Tensor, history: DriftHistory) -> Tensor:
        """Return the expected number of times a step that the windows of cold groups end."""
        return (q_s / (1.0 - q_s) * (history.pace() / ((1 + _SHORTEST) / 2 * self._first))).square_()

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._ends_3T.nbytes + self._ends_3B.nbytes + self._reach_2B.nbytes

    def expired(self, history: DriftHistory) -> Tensor | None:
        """Return the tiles whose windows A or B has left, int64 ascending; None if there is none."""
        if not has_left(history, self._narrowest):
            return None
        blocks_b = has_left(history, self._ends_3B.unbind(0)).nonzero().squeeze(1)
        ends_3bC = self._ends_3T.view(3, -1, TILE).index_select(1, blocks_b)
        row_t, place_t = has_left(history, ends_3bC.unbind(0)).nonzero(as_tuple=True)
        return torch.add(place_t, blocks_b[row_t], alpha=TILE)

    def _measure(self) -> None:
        """Find the narrowest window of all."""
        self._narrowest = self._ends_3B.amin(1).tolist()


def has_left(history: DriftHistory, ends: Sequence[End]) -> End:
    """Return whether A or B has left windows with these three ends, as `DriftWindows` holds them."""
    low, high, second = ends
    return (-low > history.first) | (high < history.first) | (second < history.second)


def _inwards(ends_3s: Tensor) -> Tensor:
    """Return ends in float32 that A and B, also rounded to float32, pass no later than the exact ones."""
    rounded_3s = ends_3s.float()
    return rounded_3s.nextafter(rounded_3s.new_tensor(-torch.inf))


def _narrow(ends_3X: Tensor, place_s: Tensor, ends_3s: Tensor) -> None:
    ends_3X.scatter_reduce_(1, place_s.expand(3, -1), ends_3s, "amin")
