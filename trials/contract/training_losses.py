"""What the loss of training is, by the hyperparameter `objective` of learned methods.

The metrics ``train/loss`` and ``train/residual`` have one name for both: the loss that a run lowers. The hyperparameter
is a parameter of the run, and where the loss is not that of the text the tag ``nmlab.train_loss`` says what it is.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Literal

TRAINING_OBJECTIVE: Final = "objective"
"""The hyperparameter; runs of earlier versions have none, and their objective was ``NEXT_TOKEN``."""
ObjectiveName = Literal["next_token", "distill"]
NEXT_TOKEN: Final = "next_token"
DISTILL: Final = "distill"
DIVERGENCE: Final = "KL(dense || masked), the divergence from the dense model's own predictions (objective: distill)"
"""What the loss of a run that distills is, in words."""


def train_loss_of(hyperparameters: Mapping[str, object]) -> str | None:
    """Return what the loss of a run is, None where it is the next-token cross-entropy of the text."""
    return DIVERGENCE if hyperparameters.get(TRAINING_OBJECTIVE) == DISTILL else None


def loss_noun(settings: Iterable[Mapping[str, object]]) -> str:
    """Return what the losses of runs with these settings are called: "loss", "divergence" or "loss or divergence"."""
    nouns = {"loss" if train_loss_of(each) is None else "divergence" for each in settings}
    return " or ".join(sorted(nouns, reverse=True)) or "loss"


def loss_sentence(noun: str) -> str:
    """Return a sentence that explains the noun of ``loss_noun``, beginning with a space; "" for the plain loss."""
    if noun == "loss":
        return ""
    if noun == "divergence":
        return f" Divergence is {DIVERGENCE}."
    return f" Loss is that of the text, divergence is {DIVERGENCE}; the two do not compare."
