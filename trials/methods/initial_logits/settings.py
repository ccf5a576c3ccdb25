"""The hyperparameters of a start from a rule: what they may be, and what does not fit together. Loads no torch."""

from typing import Literal

from nmlab.trials.methods.initial_masks.names import FROM, unknown_reason, unsupported_base_reason

InitialLogits = Literal["random", "saliency", "first_order"]
NO_MASK = "none"
"""The value of ``initial_mask`` of a method that starts from random logits."""
FIRST_ORDER = "first_order"
"""The start from a saliency that the method of this name has corrected."""


def missing_mask_reason(initial_logits: InitialLogits) -> str:
    """Return the message that a start other than a random one has no method to start from."""
    return (
        f"initial_logits = {initial_logits} needs an initial_mask, the one-shot method that has the saliency; try wanda"
    )


def saliency_name(initial_logits: InitialLogits, initial_mask: str) -> str:
    """Return the initial mask whose saliency logits start from: ``initial_mask``, or first_order from that."""
    return f"{FIRST_ORDER}{FROM}{initial_mask}" if initial_logits == FIRST_ORDER else initial_mask


def unsupported_start_reason(initial_logits: InitialLogits, initial_mask: str) -> str | None:
    """Return why a method whose random logits need no mask cannot start so, or None if it can."""
    if reason := unknown_reason(initial_mask, others=[NO_MASK]):
        return reason
    if initial_logits == "random":
        return None if initial_mask == NO_MASK else _no_effect(initial_mask)
    if initial_mask == NO_MASK:
        return missing_mask_reason(initial_logits)
    return unsupported_base_reason(initial_mask) if initial_logits == FIRST_ORDER else None


def _no_effect(initial_mask: str) -> str:
    return f"initial_mask = {initial_mask} has no effect on random logits; expected initial_logits = saliency"
