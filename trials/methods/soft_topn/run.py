"""A run of soft_topn on one trial's view of the frozen model.

Legend: G groups, M group size, W random numbers a group.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from nmlab.trials.engines.noise import gumbel
from nmlab.trials.masks.entropic import entropic_topn
from nmlab.trials.masks.topn import keep_largest, topn
from nmlab.trials.methods.base import TrialContext
from nmlab.trials.methods.logit_run import LogitRun
from nmlab.trials.methods.soft_topn.config import SoftTopNConfig


class SoftTopNRun(LogitRun):
    """A run of soft_topn: in each step the soft top-N of the logits, the loss and its gradient, and a step of AdamW."""

    def __init__(self, context: TrialContext, config: SoftTopNConfig) -> None:
        self._config = config
        rate = config.rate_for(sum(layer.numel for layer in context.model.frozen.all_layers))
        super().__init__(context, config, learning_rate=rate, lam=config.lam, straight_through=config.straight_through)

    def observe(self) -> Mapping[str, float]:
        """Return also the temperature of the last step."""
        return {**super().observe(), "train/tau": self._tau(self._last_step)}

    def _noise(self, step: int) -> Tensor:
        """Return Gumbel noise [G, M], or [G, 0] without noise."""
        if self._config.noise == "none":
            return torch.empty(self._layout.groups, 0, device=self._device)
        pattern, key = self._context.pattern, (self._context.seed, step)
        return gumbel(self._layout, width=pattern.m, key=key).to(self._device)

    def _soft(self, noise_GW: Tensor, step: int) -> Tensor:
        return entropic_topn(
            self._logits_GM,
            tau=self._tau(step),
            lam=self._lambda(step),
            n=self._context.pattern.n,
            noise_GM=noise_GW if noise_GW.numel() else None,
            layers=self._layout.groups_of_layers,
        )

    def _hard(self, noise_GW: Tensor, step: int) -> Tensor:
        if not noise_GW.numel():
            return topn(self._logits_GM, self._context.pattern)
        return keep_largest(self._logits_GM.detach() / self._lambda(step) + noise_GW, self._context.pattern.n)

    def _tau(self, step: int) -> float:
        return self._annealed(*self._config.tau, step=step)
