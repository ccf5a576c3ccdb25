"""The hyperparameter of Pruner-Zero; its formula has none."""

from typing import Literal

from pydantic import Field

from nmlab.trials.methods.base import MethodConfig, default_from


class PrunerZeroConfig(MethodConfig):
    """The default is the authors' formula in float32."""

    compat: Literal["none", "official"] = Field(
        default="none",
        description="'official' rounds gradient norms to float16, in which the authors' code stores them",
        json_schema_extra=default_from("ours: float32 neither underflows nor overflows"),
    )
