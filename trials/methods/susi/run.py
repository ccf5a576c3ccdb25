"""A run of SUSI on one trial's view of the frozen model.

Legend: G groups, M group size.
"""

from collections.abc import Mapping

from torch import Tensor

from nmlab.trials.engines import GroupLayout
from nmlab.trials.engines.adamw import AdamW
from nmlab.trials.engines.noise import gumbel, normal
from nmlab.trials.engines.schedules import cosine_to_a_tenth, geometric
from nmlab.trials.masks.topn import topn
from nmlab.trials.methods.base import TrialContext
from nmlab.trials.methods.by_gradient import SoftMaskRun
from nmlab.trials.methods.susi.config import SusiConfig
from nmlab.trials.methods.susi.maths import relaxed_mask, sampled_mask

_BETAS = (0.9, 0.95)  # Table 6


class SusiRun(SoftMaskRun):
    """A run of SUSI: in each step it draws a soft mask, computes the loss and its gradient, and steps."""

    def __init__(self, context: TrialContext, config: SusiConfig) -> None:
        self._config = config
        self._logits_GM = _initial_logits(context, config)
        adamw = AdamW({"logits": self._logits_GM}, betas=_BETAS, weight_decay=config.weight_decay)
        super().__init__(context, steps=config.steps, adamw=adamw, straight_through=config.straight_through)

    def initial_masks(self) -> dict[str, Tensor]:
        """Return the top-N of the first logits: small normal numbers, so a mask drawn uniformly at random."""
        return self._layout.split(topn(_initial_logits(self._context, self._config), self._context.pattern))

    def observe(self) -> Mapping[str, float]:
        """Return also the temperatures of the last step."""
        tau, lam = self._temperatures(self._last_step)
        return {**super().observe(), "train/tau": tau, "train/lambda": lam}

    def _observe_soft(self, soft_GM: Tensor) -> Mapping[str, float]:
        return {"train/above_one": self._share(soft_GM > 1.01)}

    def _noise(self, step: int) -> Tensor:
        pattern, key = self._context.pattern, (self._context.seed, step)
        return gumbel(self._layout, width=pattern.m, key=key).to(self._device)

    def _soft(self, noise_GW: Tensor, step: int) -> Tensor:
        tau, lam = self._temperatures(step)
        n, layers = self._context.pattern.n, self._layout.groups_of_layers
        return relaxed_mask(self._logits_GM, noise_GW, tau=tau, lam=lam, n=n, layers=layers)

    def _hard(self, noise_GW: Tensor, step: int) -> Tensor:
        _, lam = self._temperatures(step)
        return sampled_mask(self._logits_GM, noise_GW, lam=lam, n=self._context.pattern.n)

    def _hard_mask(self) -> Tensor:
        return topn(self._logits_GM, self._context.pattern)

    def _learning_rate(self, step: int) -> float:
        return cosine_to_a_tenth(self._config.learning_rate, step, steps=self.steps)

    def _temperatures(self, step: int) -> tuple[float, float]:
        """Return tau and lambda of Eq. 13."""
        config = self._config
        share = step / (config.anneal_steps or max(1, config.steps * 3 // 4))
        tau = geometric(config.tau_init, config.tau_end, share)
        return tau, geometric(config.lambda_init, config.lambda_end, share)


def _initial_logits(context: TrialContext, config: SusiConfig) -> Tensor:
    layout = GroupLayout(context.model.frozen.layers, pattern=context.pattern)
    standard_GM = normal(layout, width=context.pattern.m, key=(context.seed, "initial logits"))
    return standard_GM.mul_(config.initial_std).to(context.model.frozen.device)
