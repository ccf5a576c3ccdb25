"""The hyperparameters of MaskLLM, with the values of the authors' training scripts as defaults."""

from pydantic import Field

from nmlab.trials.method import MethodConfig


class MaskLLMConfig(MethodConfig):
    """Defaults are the scripts' for 256 sequences of 4096 tokens a step; a small model wants a larger learning rate."""

    steps: int = Field(default=2000, ge=1, description="minibatches, a forward and a backward each (scripts)")
    learning_rate: float = Field(
        default=5e-4,
        gt=0,
        le=1e6,
        description="of AdamW, falling to a tenth along a cosine (scripts: 5e-5 with a multiplier of 10 for the gates)",
    )
    weight_decay: float = Field(default=0.1, ge=0, description="of AdamW on the gates (scripts)")
    kappa_init: float = Field(default=100.0, gt=0, description="multiplier of the gates, first step (scripts)")
    kappa_end: float = Field(default=500.0, gt=0, description="the same at the end, reached linearly (scripts)")
    tau_init: float = Field(default=4.0, gt=0, description="temperature of the softmax, first step (scripts)")
    tau_end: float = Field(default=0.05, gt=0, description="the same at the end, reached linearly (scripts)")
    initial_mask: str = Field(
        default="magnitude",
        description="one-shot method whose mask is the prior, or none (scripts: SparseGPT's scores without its update)",
    )
    prior_strength: float = Field(
        default=3.0,
        ge=0,
        description="what one more weight in common with the prior adds to a gate, in its std (scripts)",
    )
    weight_regularization: float = Field(
        default=1e-5,
        ge=0,
        description="reward for the squared norm of the kept weights, falling linearly to 0 (scripts)",
    )
    clip_norm: float = Field(default=1.0, gt=0, description="largest norm of the gradient (scripts)")
    straight_through: bool = Field(
        default=False, description="forward with the hard mask of the draw (the code's 'hard'; its authors prefer soft)"
    )
    initial_std: float = Field(default=0.01, gt=0, description="standard deviation of the first gates (code)")
    max_candidates: int = Field(
        default=512, ge=1, description="refuse patterns with more masks a group than this (ours: 70 for 4:8 pass)"
    )
