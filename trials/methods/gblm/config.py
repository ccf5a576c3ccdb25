"""The hyperparameters of GBLM-Pruner, with the values of the authors' code as defaults."""

from typing import Literal

from pydantic import Field

from nmlab.trials.method import MethodConfig


class GBLMConfig(MethodConfig):
    """Defaults are those of the authors' code, in float32."""

    gradient_scale: float = Field(
        default=100.0,
        ge=0,
        le=1e6,
        description="weight of the gradient norm against the input norm (authors' code: 100, on 128 sequences of 2048 "
        "tokens; the input norm grows as sqrt(sequence_length), the gradient norm as sqrt(samples))",
    )
    compat: Literal["none", "official"] = Field(
        default="none",
        description="'official' rounds gradient norms to float16, in which the authors' code stores them",
    )
