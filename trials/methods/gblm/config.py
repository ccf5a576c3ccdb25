"""The hyperparameters of GBLM-Pruner, with the values of the authors' code as defaults."""

from typing import Literal

from pydantic import Field

from nmlab.trials.methods.base import MethodConfig, default_from


class GBLMConfig(MethodConfig):
    """Defaults are those of the authors' code, in float32."""

    gradient_scale: float = Field(
        default=100.0,
        ge=0,
        le=1e6,
        description="weight of the gradient norm against the input norm; the input norm grows as "
        "sqrt(sequence_length), the gradient norm as sqrt(samples)",
        json_schema_extra=default_from("the authors' code, on 128 sequences of 2048 tokens"),
    )
    compat: Literal["none", "official"] = Field(
        default="none",
        description="'official' rounds gradient norms to float16, in which the authors' code stores them",
        json_schema_extra=default_from("ours: float32 neither underflows nor overflows"),
    )
