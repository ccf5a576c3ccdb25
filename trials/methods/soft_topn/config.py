"""The hyperparameters of soft_topn; all defaults are ours, from runs on small models."""

from typing import Literal

from pydantic import Field

from nmlab.trials.methods.base import default_from
from nmlab.trials.methods.logit_config import LogitMethodConfig

_TRIED = "ours: did best on a model of 26 thousand weights"
_STARTS = f"{_TRIED}, from random logits; the saliency of a large model was lost again at temperatures of 1"


class SoftTopNConfig(LogitMethodConfig):
    """The hyperparameters. Temperatures begin soft from random logits, and near-hard from a saliency."""

    tau_init: float | None = Field(
        default=None,
        gt=0,
        description="temperature of the soft top-N, first step; null is 1 from random logits and 0.3 from a saliency",
        json_schema_extra=default_from(_STARTS),
    )
    tau_end: float = Field(
        default=0.05, gt=0, description="the same after anneal_steps", json_schema_extra=default_from(_TRIED)
    )
    lambda_init: float | None = Field(
        default=None,
        gt=0,
        description="divisor of the logits, first step; null is 1 from random logits and lambda_end from a saliency",
        json_schema_extra=default_from(_STARTS),
    )
    lambda_end: float = Field(
        default=0.2, gt=0, description="the same after anneal_steps", json_schema_extra=default_from(_TRIED)
    )
    noise: Literal["none", "gumbel"] = Field(
        default="none",
        description="what is added to the divided logits in every step",
        json_schema_extra=default_from("ours: none did as well as SUSI's Gumbel noise and costs nothing"),
    )
    straight_through: bool = Field(
        default=False,
        description="forward with the hard mask of the same logits and noise, gradient of the soft one",
        json_schema_extra=default_from("ours: the soft mask did better"),
    )

    @property
    def tau(self) -> tuple[float, float]:
        """The temperature of the first step and after annealing."""
        return self.tau_init or self.by_start(random=1.0, saliency=0.3), self.tau_end

    @property
    def lam(self) -> tuple[float, float]:
        """The divisor of the logits at the first step and after annealing."""
        return self.lambda_init or self.by_start(random=1.0, saliency=self.lambda_end), self.lambda_end
