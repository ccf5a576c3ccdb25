"""A run of simple on one trial's view of the frozen model.

Legend: G groups, M group size.
"""

from torch import Tensor

from nmlab.trials.engines.noise import logistic
from nmlab.trials.masks.conditional_poisson import subset_sample
from nmlab.trials.masks.topn import topn
from nmlab.trials.methods.base import TrialContext
from nmlab.trials.methods.logit_run import LogitRun
from nmlab.trials.methods.simple.config import SimpleConfig


class SimpleRun(LogitRun):
    """A run of simple: draws a mask, computes its loss and the gradient of the marginals, and steps."""

    def __init__(self, context: TrialContext, config: SimpleConfig) -> None:
        rate = config.rate_for(sum(layer.numel for layer in context.model.frozen.all_layers))
        super().__init__(context, config, learning_rate=rate, lam=config.lam)

    def _noise(self, step: int) -> Tensor:
        pattern, key = self._context.pattern, (self._context.seed, step)
        return logistic(self._layout, width=pattern.m, key=key).to(self._device)

    def _soft(self, noise_GW: Tensor, step: int) -> Tensor:
        """Return the mask that is drawn: 0 and 1, with the gradient of the marginals."""
        return subset_sample(
            self._logits_GM,
            noise_GW,
            lam=self._lambda(step),
            n=self._context.pattern.n,
            layers=self._layout.groups_of_layers,
        )

    def _hard(self, noise_GW: Tensor, step: int) -> Tensor:
        """Return the most probable mask, the one that is kept: the drawn ones come nearer to it as lambda falls."""
        return topn(self._logits_GM, self._context.pattern)
