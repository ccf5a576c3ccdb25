"""The hyperparameters of SparseGPT, with the values of the authors' code as defaults."""

from pydantic import Field

from nmlab.trials.contract.pattern import Pattern
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


def unsupported_block_size_reason(block_size: int, pattern: Pattern) -> str | None:
    """Return why a block size does not fit a pattern, or None if it does."""
    if block_size % pattern.m == 0:
        return None
    near = max(1, round(block_size / pattern.m)) * pattern.m
    return f"block_size = {block_size} would cut a group of pattern {pattern} in two; take a multiple such as {near}"
