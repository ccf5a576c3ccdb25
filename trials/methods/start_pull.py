"""The hyperparameter ``start_pull``: a penalty on leaving the mask that learning started from. Loads no torch.

The penalty is start_pull times the mean over the groups of |m - m_0|^2, m the soft mask of a group and m_0 the initial
mask, 0 and 1. The squared distance is chosen over a divergence because m_0 is hard and m becomes so: a KL between them
grows without bound, and it is not defined for entries above 1, which SUSI's relaxed draw has. It lies between 0 and
2 min(N, M - N) for an N:M mask, so one weight means the same for all methods. For hard draws (`simple`) its gradient
is, on average, that of the squared distance of the marginals.
"""

from typing import Any

from pydantic import Field

from nmlab.trials.methods.hyperparameters import default_from

_NONE = "none"


def start_pull_field() -> Any:
    """Return the field ``start_pull`` of a method that learns a soft mask."""
    return Field(
        default=0.0,
        ge=0,
        le=1e6,
        description="weight of a penalty on leaving the initial mask: the mean over groups of the squared distance of "
        "the soft mask from it; needs an initial_mask; ours",
        json_schema_extra=default_from("no paper has it"),
    )


def unsupported_pull_reason(start_pull: float, initial_mask: str) -> str | None:
    """Return why there is nothing to pull towards, or None if there is or nothing pulls."""
    if not start_pull or initial_mask != _NONE:
        return None
    return (
        f"start_pull = {start_pull:g} has no initial mask to pull towards; expected an initial_mask such as wanda, "
        f"not {_NONE}, or start_pull = 0"
    )
