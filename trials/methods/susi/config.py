"""The hyperparameters of SUSI, with the paper's values as defaults."""

from pydantic import Field

from nmlab.trials.methods.base import MethodConfig, default_from


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
        description="standard deviation of the first logits; there is no prior mask",
        json_schema_extra=default_from("SUSI, text: sigma = 0.01 (Table 6 prints N(0, 0.01))"),
    )
