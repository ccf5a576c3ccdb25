"""How far the sums A and B may move before the bounds of a superblock no longer hold.

A group whose logits move by a vector d deviates with probability at most q e^(sqrt 2 |d|): docs/engines.md proves it,
and that unseen drift moves it by at most

    |dA| sqrt 2 x + (dA^2 + dB) / 2 * K x^2,     x = q / (1 - q),   K = sqrt 2 (2N + 1 + 2x).

Every bound allows for `REACH` nats; a group is thus safe while |dA| <= W / x and dB <= V / x^2, W and V as made below.

Legend: B superblocks, b some of them, s slots (different ones) with q_s.
"""

import math
from typing import TypeVar

import torch
from torch import Tensor

from nmlab.trials.engines.event.blocks import TILE_BITS
from nmlab.trials.engines.event.drift import History
from nmlab.trials.engines.event.rates import LARGEST, UNIT, rate

# Nats that a group may drift before it is looked at again. More means fewer looks, and more points that fall on no
# deviation (3 % at this reach); the error of the second-order update grows with its third power.
REACH = 0.02
# The last factor covers rounding, and that the derivative is taken over a distance (`drift`).
_GROWTH = math.exp(math.sqrt(2) * REACH) * (1 + 1e-6)
# A group that deviates more often than this is hot: it is looked at every step. It is cold again at half of it.
HOT = 1 / 640
assert -math.log1p(-HOT * _GROWTH) < LARGEST * UNIT
# Of the reach, what the first-order term may use.
_SHARE = 0.75

End = TypeVar("End", float, Tensor)


def bounds(q_s: Tensor) -> Tensor:
    """Return upper bounds of the rates of groups within reach, int64 in units; positive where q is."""
    # One unit more than rounded up: the rounding of q is far below a unit and a relative 1e-9.
    return rate(q_s * _GROWTH).ceil_().add_(1).long() * (q_s > 0)


class Windows:
    """Within which A and B the bounds of every superblock hold: A from -row 0 to row 1, B to row 2; float64 [3, B]."""

    def __init__(self, blocks: int, *, n: int, device: torch.device) -> None:
        curvature = math.sqrt(2) * (2 * n + 1 + 4 * HOT)
        self._first = _SHARE * REACH / math.sqrt(2)
        self._second = 2 * (1 - _SHARE) * REACH / curvature - self._first**2
        assert self._second > 0
        self.ends_3B = torch.full((3, blocks), torch.inf, dtype=torch.float64, device=device)
        self.measure()

    def measure(self) -> None:
        """Find the narrowest window of all, after windows were opened or loaded."""
        self._narrowest: list[float] = self.ends_3B.amin(1).tolist()

    def open(self, blocks_b: Tensor | slice) -> None:
        """Forget the windows of superblocks all of whose groups are about to be bounded again."""
        self.ends_3B[:, blocks_b] = torch.inf

    def narrow(self, slots_s: Tensor, q_s: Tensor, *, history: History) -> None:
        """Take in groups that were bounded just now."""
        inverse_s = (1.0 - q_s).div_(q_s)
        first_s = inverse_s * self._first
        ends_3s = torch.stack([first_s - history.first, first_s + history.first, inverse_s.square_() * self._second])
        ends_3s[2] += history.second
        self.ends_3B.scatter_reduce_(1, (slots_s >> 2 * TILE_BITS).expand(3, -1), ends_3s, "amin")
        self._narrowest = list(map(min, self._narrowest, ends_3s.amin(1).tolist()))

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.ends_3B.nbytes

    def expired(self, history: History) -> Tensor | None:
        """Return the superblocks whose windows A or B has left, int64 ascending; None if there is none."""
        if not _left(history, *self._narrowest):
            return None
        gone_B = _left(history, *self.ends_3B.unbind(0))
        return gone_B.nonzero().squeeze(1)


def _left(history: History, low: End, high: End, second: End) -> End:
    return (-low > history.first) | (high < history.first) | (second < history.second)
