"""The hyperparameter of Pruner-Zero; its formula has none."""

from typing import Literal

from pydantic import Field

from nmlab.trials.method import MethodConfig


class PrunerZeroConfig(MethodConfig):
    """The default is the authors' formula in float32."""

    compat: Literal["none", "official"] = Field(
        default="none",
        description="'official' rounds gradient norms to float16, in which the authors' code stores them",
    )
