"""The hyperparameters of simple; all defaults are ours, from runs on small models."""

from pydantic import Field

from nmlab.trials.methods.base import default_from
from nmlab.trials.methods.logit_config import LogitMethodConfig


class SimpleConfig(LogitMethodConfig):
    """The hyperparameters. There is one temperature, the divisor of the logits; a saliency begins with the last."""

    lambda_init: float | None = Field(
        default=None,
        gt=0,
        description="divisor of the logits, first step; null is 1 from random logits, 4 lambda_end from a saliency",
        json_schema_extra=default_from("ours: did best on models of 26 thousand weights, from random logits"),
    )
    lambda_end: float = Field(
        default=0.05,
        gt=0,
        description="the same after anneal_steps",
        json_schema_extra=default_from("ours: did best on models of 26 thousand weights"),
    )

    @property
    def lam(self) -> tuple[float, float]:
        """The divisor of the logits at the first step and after annealing."""
        return self.lambda_init or self.by_start(random=1.0, saliency=4 * self.lambda_end), self.lambda_end
