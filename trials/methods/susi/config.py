"""The hyperparameters of SUSI, with the paper's values as defaults; what is ours is off."""

from pydantic import Field

from nmlab.trials.methods.base import MethodConfig, default_from
from nmlab.trials.methods.initial_logits.settings import NO_MASK, InitialLogits
from nmlab.trials.methods.start_pull import start_pull_field
from nmlab.trials.methods.training_objective.settings import ObjectiveName, objective_field


class SusiConfig(MethodConfig):
    """The hyperparameters; defaults are the paper's for 256 sequences of 4096 tokens a step.

    A small model needs a larger learning rate.
    """

    steps: int = Field(
        default=2000,
        ge=1,
        description="minibatches, a forward and a backward each",
        json_schema_extra=default_from("SUSI, Table 6"),
    )
    learning_rate: float = Field(
        default=1e-3,
        gt=0,
        le=1e6,
        description="of AdamW, falling to a tenth along a cosine",
        json_schema_extra=default_from("SUSI, Table 6: 1e-3 to 1e-4; the cosine is ours, the paper gives no shape"),
    )
    weight_decay: float = Field(
        default=0.05, ge=0, description="of AdamW on the logits", json_schema_extra=default_from("SUSI, Table 6")
    )
    tau_init: float = Field(
        default=1.0,
        gt=0,
        description="temperature of the perturbed logits, first step",
        json_schema_extra=default_from("SUSI, Table 6"),
    )
    tau_end: float = Field(
        default=0.05, gt=0, description="the same after anneal_steps", json_schema_extra=default_from("SUSI, Table 6")
    )
    lambda_init: float = Field(
        default=1.0,
        gt=0,
        description="divisor of the logits before the noise, first step",
        json_schema_extra=default_from("SUSI, Table 6"),
    )
    lambda_end: float = Field(
        default=0.002, gt=0, description="the same after anneal_steps", json_schema_extra=default_from("SUSI, Table 6")
    )
    anneal_steps: int | None = Field(
        default=None,
        ge=1,
        description="T_a of Eq. 13; null is three quarters of steps",
        json_schema_extra=default_from("SUSI, Table 6: 1500 of 2000 steps; ours for other numbers of steps"),
    )
    straight_through: bool = Field(
        default=False,
        description="forward with the hard mask of the draw, gradient of the soft one",
        json_schema_extra=default_from("SUSI, Table 7: the soft mask does better"),
    )
    initial_std: float = Field(
        default=0.01,
        ge=0,
        description="standard deviation of the random part of the first logits, all of them without an initial_mask",
        json_schema_extra=default_from("SUSI, text: sigma = 0.01 (Table 6 prints N(0, 0.01))"),
    )
    exclude_argmax: bool = Field(
        default=False,
        description="exclude the largest key of every pick from the later ones, so that nothing is picked twice; ours",
        json_schema_extra=default_from("SUSI, Algorithm 1, which has no such step"),
    )
    initial_logits: InitialLogits = Field(
        default="random",
        description="'saliency' starts from the scores, or else the mask, of the one-shot method initial_mask, "
        "'first_order' from those of first_order from it; ours",
        json_schema_extra=default_from("SUSI, text: normal logits, no prior"),
    )
    initial_mask: str = Field(
        default=NO_MASK,
        description=f"one-shot method whose saliency the logits start from; {NO_MASK} with random logits",
        json_schema_extra=default_from("SUSI, text: there is no prior mask"),
    )
    initial_spread: float = Field(
        default=1.0,
        gt=0,
        le=1e6,
        description="standard deviation of the saliency in every layer; meant for near-hard temperatures",
        json_schema_extra=default_from("ours, for starts from a saliency only"),
    )
    objective: ObjectiveName = objective_field("SUSI, text: cross-entropy")
    start_pull: float = start_pull_field()
