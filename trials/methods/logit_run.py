"""The base class of runs that learn one logit a weight by gradient, the mask being the N largest of every M.

Legend: G groups, M group size.
"""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from nmlab.trials.engines.adamw import AdamW
from nmlab.trials.engines.schedules import cosine_to_a_tenth, geometric
from nmlab.trials.masks.topn import topn
from nmlab.trials.methods.base import TrialContext
from nmlab.trials.methods.by_gradient import SoftMaskConfig, SoftMaskRun
from nmlab.trials.methods.initial_logits.compute import initial_logits
from nmlab.trials.methods.initial_logits.settings import InitialLogits

_BETAS = (0.9, 0.95)  # SUSI, Table 6


class LogitConfig(SoftMaskConfig, Protocol):
    """The hyperparameters that these runs have in common."""

    @property
    def weight_decay(self) -> float: ...
    @property
    def anneal_steps(self) -> int | None: ...
    @property
    def initial_logits(self) -> InitialLogits: ...
    @property
    def initial_mask(self) -> str: ...
    @property
    def initial_spread(self) -> float: ...
    @property
    def initial_std(self) -> float: ...


class LogitRun(SoftMaskRun):
    """A run that multiplies the weights by a soft mask made of logits / lambda; lambda falls, as does the rate."""

    def __init__(
        self,
        context: TrialContext,
        config: LogitConfig,
        *,
        learning_rate: float,
        lam: tuple[float, float],
        straight_through: bool = False,
    ) -> None:
        self._start, self._rate, self._lambda_ends = config, learning_rate, lam
        self._anneal_steps = config.anneal_steps or max(1, config.steps * 3 // 4)
        self._logits_GM = _first_logits(context, config)
        adamw = AdamW({"logits": self._logits_GM}, betas=_BETAS, weight_decay=config.weight_decay)
        super().__init__(context, config, adamw=adamw, straight_through=straight_through)

    def initial_masks(self) -> dict[str, Tensor]:
        """Return the top-N of the first logits."""
        return self._layout.split(topn(_first_logits(self._context, self._start), self._context.pattern))

    def observe(self) -> Mapping[str, float]:
        """Return also the divisor of the logits at the last step."""
        return {**super().observe(), "train/lambda": self._lambda(self._last_step)}

    def _hard_mask(self) -> Tensor:
        return topn(self._logits_GM, self._context.pattern)

    def _learning_rate(self, step: int) -> float:
        return cosine_to_a_tenth(self._rate, step, steps=self.steps)

    def _lambda(self, step: int) -> float:
        return self._annealed(*self._lambda_ends, step=step)

    def _annealed(self, start: float, end: float, *, step: int) -> float:
        """Return a quantity that falls geometrically from ``start`` to ``end`` over the annealing steps."""
        return geometric(start, end, step / self._anneal_steps)


def _first_logits(context: TrialContext, config: LogitConfig) -> Tensor:
    return initial_logits(
        context,
        start=config.initial_logits,
        mask=config.initial_mask,
        spread=config.initial_spread,
        initial_std=config.initial_std,
    )
