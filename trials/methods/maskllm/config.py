"""The hyperparameters of MaskLLM, with the values of the authors' training scripts as defaults."""

from pydantic import Field

from nmlab.trials.methods.base import MethodConfig, default_from
from nmlab.trials.methods.initial_logits.settings import InitialLogits
from nmlab.trials.methods.start_pull import start_pull_field
from nmlab.trials.methods.training_objective.settings import ObjectiveName, objective_field

NO_PRIOR = "none"
"""The value of ``initial_mask`` that asks for no prior."""
_SCRIPTS, _CODE = "the authors' training scripts", "the authors' code"


class MaskLLMConfig(MethodConfig):
    """The hyperparameters; defaults are the scripts' for 256 sequences of 4096 tokens a step.

    A small model needs a larger learning rate.
    """

    steps: int = Field(
        default=2000,
        ge=1,
        description="minibatches, a forward and a backward each",
        json_schema_extra=default_from(_SCRIPTS),
    )
    learning_rate: float = Field(
        default=5e-4,
        gt=0,
        le=1e6,
        description="of AdamW, falling to a tenth along a cosine",
        json_schema_extra=default_from(f"{_SCRIPTS}: 5e-5 with a multiplier of 10 for the gates"),
    )
    weight_decay: float = Field(
        default=0.1, ge=0, description="of AdamW on the gates", json_schema_extra=default_from(_SCRIPTS)
    )
    kappa_init: float = Field(
        default=100.0,
        gt=0,
        description="multiplier of the gates, first step",
        json_schema_extra=default_from(f"{_SCRIPTS}; the argument parser's 1e3 is not used"),
    )
    kappa_end: float = Field(
        default=500.0,
        gt=0,
        description="the same at the end, reached linearly",
        json_schema_extra=default_from(f"{_SCRIPTS}; the argument parser's 1e4 is not used"),
    )
    tau_init: float = Field(
        default=4.0,
        gt=0,
        description="temperature of the softmax, first step",
        json_schema_extra=default_from(_SCRIPTS),
    )
    tau_end: float = Field(
        default=0.05,
        gt=0,
        description="the same at the end, reached linearly",
        json_schema_extra=default_from(_SCRIPTS),
    )
    initial_mask: str = Field(
        default="magnitude",
        description=f"one-shot method whose mask is the prior, or {NO_PRIOR}",
        json_schema_extra=default_from(f"ours, because it costs nothing; {_SCRIPTS}: SparseGPT's scores, no update"),
    )
    prior_strength: float = Field(
        default=3.0,
        ge=0,
        description="what one more weight in common with the prior adds to a gate, in its standard deviation",
        json_schema_extra=default_from(_SCRIPTS),
    )
    weight_regularization: float = Field(
        default=1e-5,
        ge=0,
        description="reward for the squared norm of the kept weights, falling linearly to 0",
        json_schema_extra=default_from(_SCRIPTS),
    )
    clip_norm: float = Field(
        default=1.0, gt=0, description="largest norm of the gradient", json_schema_extra=default_from(_SCRIPTS)
    )
    straight_through: bool = Field(
        default=False,
        description="forward with the hard mask of the draw, gradient of the soft one",
        json_schema_extra=default_from(f"{_CODE}: its option hard is off, soft is said to be better"),
    )
    initial_std: float = Field(
        default=0.01, gt=0, description="standard deviation of the first gates", json_schema_extra=default_from(_CODE)
    )
    max_candidates: int = Field(
        default=512,
        ge=1,
        description="refuse patterns with more masks a group than this",
        json_schema_extra=default_from("ours: the 70 masks of 4:8 pass, the 12870 of 8:16 do not"),
    )
    initial_logits: InitialLogits = Field(
        default="random",
        description="'saliency' raises a gate by the saliency of initial_mask that its candidate keeps, not by the "
        "number of weights in common with the mask, 'first_order' by that of first_order from initial_mask; ours",
        json_schema_extra=default_from(f"{_SCRIPTS}: random gates, raised by the prior mask"),
    )
    objective: ObjectiveName = objective_field(f"{_SCRIPTS}: cross-entropy")
    start_pull: float = start_pull_field()
