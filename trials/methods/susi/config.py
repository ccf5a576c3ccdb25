"""The hyperparameters of SUSI, with the paper's values as defaults."""

from pydantic import Field

from nmlab.trials.method import MethodConfig


class SusiConfig(MethodConfig):
    """Defaults are the paper's for 256 sequences of 4096 tokens a step; a small model wants a larger learning rate."""

    steps: int = Field(default=2000, ge=1, description="minibatches, a forward and a backward each (Table 6)")
    learning_rate: float = Field(
        default=1e-3,
        gt=0,
        le=1e6,
        description="of AdamW, falling to a tenth (Table 6); cosine, the paper gives no shape",
    )
    weight_decay: float = Field(default=0.05, ge=0, description="of AdamW on the logits (Table 6)")
    tau_init: float = Field(default=1.0, gt=0, description="temperature of the perturbed logits, first step (Table 6)")
    tau_end: float = Field(default=0.05, gt=0, description="the same after anneal_steps (Table 6)")
    lambda_init: float = Field(
        default=1.0, gt=0, description="divisor of the logits before the noise, first step (Table 6)"
    )
    lambda_end: float = Field(default=0.002, gt=0, description="the same after anneal_steps (Table 6)")
    anneal_steps: int | None = Field(
        default=None, ge=1, description="T_a of Eq. 13; null is three quarters of steps, the paper's 1500 of 2000"
    )
    straight_through: bool = Field(
        default=False, description="forward with the hard mask of the draw, gradient of the soft one (Table 7)"
    )
    initial_std: float = Field(
        default=0.01, ge=0, description="standard deviation of the first logits (the text's sigma; no prior mask)"
    )
