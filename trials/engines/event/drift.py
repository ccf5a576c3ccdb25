"""The update of groups that no draw touches, kept in two numbers for all of them.

While a group stays at its mode, step t moves it by S_t g(logits), with S_t = -rate * sum of weights, the same number
for every group, and g the gradient of the log-probability of the mode. Skipped steps from a to b amount, to second
order in the distance moved, to

    (A_b - A_a) g + ((A_b - A_a)^2 - (B_b - B_a)) / 2 * (dg/dlogits) g,      A = sum of S_t,  B = sum of S_t^2,

with g and its derivative at the logits of step a: the sum over pairs s < t of S_s S_t is half of the squared sum less
the sum of squares. docs/engines.md says how much is left out.

Legend: g groups, M group size, N kept.
"""

import math

import torch
from torch import Tensor

from nmlab.trials.masks.deviation import Race

# The derivative is a difference over this multiple of the gradient: its relative error is about |g| / 4000, and
# rounding adds 1e-12 dA to the relative error of the whole move.
_NUDGE = 2.0**-12
# Steps from which the pace is computed.
_PACE_STEPS = 64


class DriftHistory:
    """The sums A and B after every step since the engine was made; float64, 16 bytes a step."""

    def __init__(self, *, device: torch.device) -> None:
        self._sums = torch.zeros(2, 1024, dtype=torch.float64, device=device)
        self.step = 0
        self.first = self.second = 0.0

    def append(self, size: float) -> None:
        """Add a step that moves modal groups by ``size`` times their gradient."""
        self.first += size
        self.second += size * size
        self.step += 1
        if self.step == self._sums.shape[1]:
            self._sums = torch.cat([self._sums, torch.zeros_like(self._sums)], dim=1)
        self._sums[0, self.step], self._sums[1, self.step] = self.first, self.second

    def at(self, stamp_g: Tensor) -> tuple[Tensor, Tensor]:
        """Return A and B after the steps ``stamp_g``; two [g] float64."""
        first_g, second_g = self._sums.index_select(1, stamp_g).unbind(0)
        return first_g, second_g

    def since(self, stamp_g: Tensor) -> tuple[Tensor, Tensor]:
        """Return the growth of the sums A and B since the steps ``stamp_g``: two tensors [g], float64."""
        first_g, second_g = self.at(stamp_g)
        return self.first - first_g, self.second - second_g

    def pace(self) -> float:
        """Return the root mean square of the sizes of the last steps, 0 at the start."""
        steps = min(self.step, _PACE_STEPS)
        if steps == 0:
            return 0.0
        return math.sqrt((self.second - float(self._sums[1, self.step - steps])) / steps)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._sums.nbytes

    def state(self) -> Tensor:
        """Return the sums, [2, steps + 1]."""
        return self._sums[:, : self.step + 1].clone()

    def load_state(self, sums: Tensor) -> None:
        """Continue from what ``state`` returned."""
        self.step = sums.shape[1] - 1
        self.first, self.second = sums[:, -1].tolist()
        room = 1 << (self.step + 2).bit_length()
        self._sums = torch.zeros(2, room, dtype=torch.float64, device=self._sums.device)
        self._sums[:, : self.step + 1] = sums


def drifted(arranged_Mg: Tensor, *, n: int, since: tuple[Tensor, Tensor]) -> Tensor:
    """Return the logits after the steps that were skipped, [M, g] float64.

    Args:
        arranged_Mg: [M, g] float64 at the last touch, arranged for the mode, which is the same before and after.
        n: N.
        since: what A and B grew by, from `DriftHistory.since`.
    """
    if n == len(arranged_Mg):
        return arranged_Mg
    first_g, second_g = since
    score_Mg = Race.of(arranged_Mg, n=n).mode_score()
    change_Mg = Race.of(arranged_Mg + score_Mg * _NUDGE, n=n).mode_score().sub_(score_Mg)
    pairs_g = (first_g.square() - second_g).mul_(0.5 / _NUDGE)
    return score_Mg.mul_(first_g).add_(change_Mg.mul_(pairs_g)).add_(arranged_Mg)
