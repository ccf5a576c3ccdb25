"""Hyperparameters that nmlab's own methods of one logit a weight share, and what their null values stand for."""

import math

from pydantic import Field

from nmlab.trials.methods.base import MethodConfig, default_from
from nmlab.trials.methods.initial_logits.settings import NO_MASK, InitialLogits
from nmlab.trials.methods.start_pull import start_pull_field
from nmlab.trials.methods.training_objective.settings import ObjectiveName, objective_field

_SMALL, _LARGE = (26_624, 0.15), (106_168_320, 0.01)
"""Prunable weights and learning rate of two models on which rates were tried, the second SmolLM2-135M."""


class LogitMethodConfig(MethodConfig):
    """The common hyperparameters; what a temperature of null stands for depends on the start."""

    steps: int = Field(
        default=2000,
        ge=1,
        description="minibatches, a forward and a backward each",
        json_schema_extra=default_from("ours: as SUSI, Table 6, so that the two compare"),
    )
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        le=1e6,
        description="of AdamW, falling to a tenth along a cosine; null is a forecast from the number of weights",
        json_schema_extra=default_from(
            f"ours: {_SMALL[1]:g} for {_SMALL[0]:,} weights or fewer, {_LARGE[1]:g} for {_LARGE[0]:,}, a power "
            "between them and beyond; each from one model, so search it"
        ),
    )
    weight_decay: float = Field(
        default=0.05, ge=0, description="of AdamW on the logits", json_schema_extra=default_from("as SUSI, Table 6")
    )
    anneal_steps: int | None = Field(
        default=None,
        ge=1,
        description="steps over which temperatures fall geometrically; null is three quarters of steps",
        json_schema_extra=default_from("ours: as SUSI, Table 6, 1500 of 2000 steps"),
    )
    initial_logits: InitialLogits = Field(
        default="random",
        description="'saliency' starts from the scores, or else the mask, of the one-shot method initial_mask, "
        "'first_order' from those of first_order from it",
        json_schema_extra=default_from("ours: no prior, as SUSI; a large model wants saliency"),
    )
    initial_mask: str = Field(
        default=NO_MASK,
        description=f"one-shot method whose saliency the logits start from; {NO_MASK} with random logits",
        json_schema_extra=default_from("ours: no prior, as SUSI"),
    )
    initial_spread: float = Field(
        default=1.0,
        gt=0,
        le=1e6,
        description="standard deviation of the saliency in every layer",
        json_schema_extra=default_from("ours, for starts from a saliency only"),
    )
    initial_std: float = Field(
        default=0.01,
        ge=0,
        description="standard deviation of the random part of the first logits, all of them with random logits",
        json_schema_extra=default_from("as SUSI: sigma = 0.01"),
    )
    objective: ObjectiveName = objective_field("ours: as SUSI, cross-entropy")
    start_pull: float = start_pull_field()

    def rate_for(self, weights: int) -> float:
        """Return the learning rate: as given, or else the forecast for a number of prunable weights."""
        return forecast_rate(weights) if self.learning_rate is None else self.learning_rate

    def by_start(self, *, random: float, saliency: float) -> float:
        """Return one of two values: a good start wants other temperatures than a random one."""
        return random if self.initial_logits == "random" else saliency


def forecast_rate(weights: int) -> float:
    """Return the learning rate between and beyond the two models that were tried, a power of the number of weights."""
    share = math.log(max(1.0, weights / _SMALL[0])) / math.log(_LARGE[0] / _SMALL[0])
    return float(_SMALL[1] * (_LARGE[1] / _SMALL[1]) ** share)
