"""Who evaluates the masks of a step: one slot alone, or a party of several that hold the same logits.

A mask is named by (seed, step, index), and whoever holds the logits of that step can draw it. So the participants of a
step share out its indices, and tell each other losses and nothing else: from the losses of all masks every participant
makes the same update, and arrives at the same logits for the next step.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import Protocol

from torch import Tensor


class PartyOverError(Exception):
    """The trial has ended, or another leads it now; who only takes part goes home."""


class ReloadError(Exception):
    """This participant is not where the others are, and must start from the newest checkpoint."""


class Party(Protocol):
    """The participants of a trial as one of them sees them."""

    def losses(
        self, step: int, count: int, *, evaluate: Callable[[int], float], digest: Callable[[], bytes]
    ) -> list[float]:
        """Return the losses of the masks 0 to ``count`` - 1 of a step, in this order, equal for all participants.

        ``evaluate(index)`` is called for those that fall to this one. ``digest()`` says in a few bytes which masks it
        believes them to be; who disagrees with the leader raises ``ReloadError`` here. Raises ``PartyOverError`` when
        there is nobody left to take part with.
        """

    def saved(self, step: int) -> None:
        """Learn that a checkpoint after ``step`` steps is on disk, from which others can start."""


class Alone:
    """One slot that evaluates every mask itself."""

    def losses(
        self, step: int, count: int, *, evaluate: Callable[[int], float], digest: Callable[[], bytes]
    ) -> list[float]:
        return [evaluate(index) for index in range(count)]

    def saved(self, step: int) -> None:
        """Nobody waits for it."""


def digest_of(tensors: Iterable[Tensor]) -> bytes:
    """Return 8 bytes over the values of tensors, in order."""
    digest = hashlib.blake2b(digest_size=8)
    for tensor in tensors:
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.digest()
