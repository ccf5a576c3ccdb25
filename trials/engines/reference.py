"""The reference engine, against which the others are tested: all groups race in every step, and all logits move.

Legend: G groups of all layers, M group size.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from nmlab.trials.engines.checks import check_descent, check_logits
from nmlab.trials.engines.engine import Draw, Engine, MaskKey
from nmlab.trials.engines.layout import GroupLayout
from nmlab.trials.masks.plackett_luce import score
from nmlab.trials.masks.randomness import keyed_generator
from nmlab.trials.masks.samplers import SAMPLERS
from nmlab.trials.masks.topn import topn


class ReferenceEngine(Engine):
    """An engine with all logits in one float32 or float64 tensor; raises ``ValueError`` where they are not finite."""

    name = "reference"

    def __init__(self, layout: GroupLayout, *, logits_GM: Tensor, dtype: torch.dtype = torch.float32) -> None:
        check_logits(logits_GM, layout=layout)
        self.layout = layout
        self._logits_GM = logits_GM.to(dtype, copy=True)

    def sample(self, key: MaskKey) -> Draw:
        race, pattern = SAMPLERS["gumbel_topk"], self.layout.pattern
        noise_GM = torch.empty(self._logits_GM.shape, dtype=torch.float64)
        for layer, rows_GM in zip(self.layout.layers, self.layout.split(noise_GM).values(), strict=True):
            race.fill(rows_GM, keyed_generator(key.seed, key.step, layer.name, key.index))
        mask_GM = race.mask(self._logits_GM.double(), noise_GM.to(self._logits_GM.device), pattern.n)
        other_g = (mask_GM != self.mode()).any(1).nonzero().squeeze(1)
        return Draw(key, other_g, mask_GM[other_g])

    def descend(self, draws: Sequence[Draw], *, weights: Sequence[float], rate: float) -> Tensor:
        check_descent(draws, weights, rate, layout=self.layout, device=self._logits_GM.device)
        before_GM, wide_GM = self.mode(), self._logits_GM.double()
        gradient_GM = torch.zeros_like(wide_GM)
        for draw, weight in zip(draws, weights, strict=True):
            gradient_GM += weight * score(wide_GM, draw.over(before_GM), n=self.layout.pattern.n)
        self._logits_GM.copy_(wide_GM - rate * gradient_GM)
        return (self.mode() != before_GM).any(1).nonzero().squeeze(1)

    def mode(self, groups_g: Tensor | None = None) -> Tensor:
        return topn(self._logits_GM if groups_g is None else self._logits_GM[groups_g], self.layout.pattern)

    def logits(self) -> Tensor:
        return self._logits_GM.to(torch.float32, copy=True)

    def wide_logits(self) -> Tensor:
        """Return the logits in float64: a copy."""
        return self._logits_GM.to(torch.float64, copy=True)

    def state(self) -> dict[str, Tensor]:
        return {"logits": self._logits_GM}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        check_logits(state["logits"], layout=self.layout)
        self._logits_GM.copy_(state["logits"])

    @property
    def state_bytes(self) -> int:
        return self._logits_GM.nbytes
