"""A run of SUSI on one trial's view of the frozen model.

Legend: G groups, M group size.
"""

from collections.abc import Mapping

from torch import Tensor

from nmlab.trials.engines.noise import gumbel
from nmlab.trials.methods.base import TrialContext
from nmlab.trials.methods.logit_run import LogitRun
from nmlab.trials.methods.susi.config import SusiConfig
from nmlab.trials.methods.susi.maths import relaxed_mask, sampled_mask


class SusiRun(LogitRun):
    """A run of SUSI: in each step it draws a soft mask, computes the loss and its gradient, and steps (Eq. 13)."""

    def __init__(self, context: TrialContext, config: SusiConfig) -> None:
        self._config = config
        super().__init__(
            context,
            config,
            learning_rate=config.learning_rate,
            lam=(config.lambda_init, config.lambda_end),
            straight_through=config.straight_through,
        )

    def observe(self) -> Mapping[str, float]:
        """Return also the temperature of the last step."""
        return {**super().observe(), "train/tau": self._tau(self._last_step)}

    def _observe_soft(self, soft_GM: Tensor) -> Mapping[str, float]:
        return {"train/above_one": self._share(soft_GM > 1.01)}

    def _noise(self, step: int) -> Tensor:
        pattern, key = self._context.pattern, (self._context.seed, step)
        return gumbel(self._layout, width=pattern.m, key=key).to(self._device)

    def _soft(self, noise_GW: Tensor, step: int) -> Tensor:
        return relaxed_mask(
            self._logits_GM,
            noise_GW,
            tau=self._tau(step),
            lam=self._lambda(step),
            n=self._context.pattern.n,
            exclude_argmax=self._config.exclude_argmax,
            layers=self._layout.groups_of_layers,
        )

    def _hard(self, noise_GW: Tensor, step: int) -> Tensor:
        return sampled_mask(self._logits_GM, noise_GW, lam=self._lambda(step), n=self._context.pattern.n)

    def _tau(self, step: int) -> float:
        return self._annealed(self._config.tau_init, self._config.tau_end, step=step)
