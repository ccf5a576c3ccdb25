"""The hyperparameters of a start from saliency: what they may be, and what does not fit together. Loads no torch."""

from typing import Literal

from nmlab.trials.methods.initial_masks.names import unknown_reason

InitialLogits = Literal["random", "saliency"]
NO_MASK = "none"
"""The value of ``initial_mask`` of a method that starts from random logits."""
NO_SALIENCY = "initial_logits = saliency needs an initial_mask, the one-shot method that has the saliency; try wanda"


def unsupported_start_reason(initial_logits: InitialLogits, initial_mask: str) -> str | None:
    """Return why a method whose random logits need no mask cannot start so, or None if it can."""
    if reason := unknown_reason(initial_mask, others=[NO_MASK]):
        return reason
    if initial_logits == "saliency" and initial_mask == NO_MASK:
        return NO_SALIENCY
    if initial_logits == "random" and initial_mask != NO_MASK:
        return f"initial_mask = {initial_mask} has no effect on random logits; expected initial_logits = saliency"
    return None
