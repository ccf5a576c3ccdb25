"""The hyperparameters of ProxSparse, with the values of the authors' scripts as defaults."""

from pydantic import Field

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.methods.base import MethodConfig, default_from
from nmlab.trials.methods.training_objective.settings import ObjectiveName, objective_field

_SCRIPTS = "the authors' scripts"


class ProxSparseConfig(MethodConfig):
    """The hyperparameters; defaults are the scripts' for LLaMA-2-7B. prox_lambda, in 1/weight, depends on the model."""

    steps: int = Field(
        default=400,
        ge=1,
        description="minibatches, a forward and a backward each",
        json_schema_extra=default_from(f"{_SCRIPTS}: 400 samples, one a step"),
    )
    learning_rate: float = Field(
        default=1e-4,
        gt=0,
        le=1e6,
        description="of AdamW, after a tenth of warm-up falling linearly to 0",
        json_schema_extra=default_from(f"{_SCRIPTS}: 1e-4 or 5e-5"),
    )
    weight_decay: float = Field(
        default=0.0,
        ge=0,
        description="of AdamW on all parameters",
        json_schema_extra=default_from("Hugging Face's default, which the scripts keep"),
    )
    prox_lambda: float = Field(
        default=0.25,
        ge=0,
        description="strength of the proximal step after every update, as it is, not times the learning rate; to reach "
        "2:4 in T steps T * prox_lambda * 3 * rms(weights) wants to be above 1",
        json_schema_extra=default_from(f"{_SCRIPTS} for LLaMA-2-7B (0.2 to 25 for others); tune it for your model"),
    )
    anchor_lambda: float = Field(
        default=0.0,
        ge=0,
        description="weight of a penalty on leaving the original weights",
        json_schema_extra=default_from(f"{_SCRIPTS}: off, but 0.25 to 1 in those that have it"),
    )
    anchor_epsilon: float = Field(
        default=0.1,
        gt=0,
        description="added to the original weight's size in that penalty",
        json_schema_extra=default_from(f"{_SCRIPTS}: 0.1 to 0.5"),
    )
    clip_norm: float = Field(
        default=1.0,
        gt=0,
        description="largest norm of the gradient",
        json_schema_extra=default_from("Hugging Face's default, which the scripts keep"),
    )
    objective: ObjectiveName = objective_field(f"{_SCRIPTS}: cross-entropy")


def unsupported_pattern_reason(pattern: Pattern) -> str | None:
    """Return why there is no proximal step for ``pattern``, or None for 2:4."""
    if pattern == Pattern(2, 4):
        return None
    return f"its regulariser and proximal step are those of 2:4 and are not known for {pattern}"
