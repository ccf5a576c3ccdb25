"""The learning rate of every step: a schedule, and where asked for a rule that sets its height.

The rule (ours) looks at the noise of the estimate alone. A group is resampled in a share P of the masks; each time its
logits move by about eta r / K, r the centred residual of the mask, of standard deviation sigma. Over a run of T steps,
with the schedule s_t, these random moves add up to

    eta sigma sqrt(P T_eff / K),        T_eff = sum over t of s_t^2,

for an average group. ``walk_rate`` = rho is that length in units of C, the distance that a mask must travel to change:

    eta = rho C sqrt(K / (T_eff P)) / sigma.

Legend: K masks of a step, eta learning rate, C logit magnitude.
"""

import math
from dataclasses import dataclass

from nmlab.trials.engines.schedules import cosine_to_a_tenth, linear
from nmlab.trials.methods.maskpro.config import MaskProConfig, Schedule


def scheduled(schedule: Schedule, step: int, *, steps: int) -> float:
    """Return the share of the learning rate that step ``step`` of ``steps`` takes, 1 at step 0."""
    match schedule:
        case "constant":
            return 1.0
        case "linear":
            return linear(1.0, 0.0, step / steps)
        case "cosine":
            return cosine_to_a_tenth(1.0, step, steps=steps)


def effective_steps(schedule: Schedule, *, steps: int) -> float:
    """Return T_eff: the sum of the squared shares of all steps, T, about T / 3 or about 0.4 T."""
    return math.fsum(scheduled(schedule, step, steps=steps) ** 2 for step in range(steps))


@dataclass(frozen=True)
class LearningRates:
    """The learning rates of a run.

    Attributes:
        config: the hyperparameters.
        resampled: P, the share of groups whose sampled mask is not the mode at the first logits; used by walk_rate.
        effective: T_eff; used by walk_rate.
    """

    config: MaskProConfig
    resampled: float = 0.0
    effective: float = 0.0

    @property
    def vary(self) -> bool:
        """Whether steps have different rates."""
        return self.config.learning_rate_schedule != "constant" or self.config.walk_rate is not None

    def at(self, step: int, *, masks: int, sigma: float | None) -> float:
        """Return the rate of a step of ``masks`` masks.

        ``sigma`` is the standard deviation of the residuals of the steps before, None where it is not known yet. With
        ``walk_rate`` such a step does not move the logits, and neither do steps of which all losses are equal.
        """
        config = self.config
        share = scheduled(config.learning_rate_schedule, step, steps=config.steps)
        if config.learning_rate is not None:
            return config.learning_rate * share
        assert config.walk_rate is not None, "a configuration has one of the two rates"
        if not sigma or not self.resampled:
            return 0.0
        length = config.walk_rate * config.logit_magnitude
        return share * length * math.sqrt(masks / (self.effective * self.resampled)) / sigma
