"""The hyperparameters of SparseGPT, with the values of the authors' code as defaults."""

from pydantic import Field

from nmlab.trials.methods.base import MethodConfig, default_from


class SparseGPTConfig(MethodConfig):
    """Defaults are those of the authors' code."""

    damping: float = Field(
        default=0.01,
        gt=0,
        description="share of the Hessian's mean diagonal that is added to its diagonal",
        json_schema_extra=default_from("the authors' code: percdamp"),
    )
    block_size: int = Field(
        default=128,
        ge=1,
        description="columns whose update of the later ones is done at once; speed only",
        json_schema_extra=default_from("the authors' code: blocksize"),
    )
