"""The hyperparameter ``objective``: which loss a learned method lowers. Loads no torch."""

from typing import Any

from pydantic import Field

from nmlab.trials.contract.training_losses import ObjectiveName as ObjectiveName
from nmlab.trials.methods.hyperparameters import default_from


def objective_field(source: str) -> Any:
    """Return the field ``objective`` of a method whose published form, as ``source`` says, learns from the text."""
    return Field(
        default="next_token",
        description="loss that is lowered: 'next_token' the cross-entropy of the text, 'distill' the divergence "
        "KL(dense || masked) from the dense model's own predictions on it; ours",
        json_schema_extra=default_from(source),
    )
