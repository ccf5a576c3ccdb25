"""Who evaluates the masks of a step: one slot alone, or a party of several that hold the same logits.

A mask is named by (seed, step, index), and whoever holds the logits of that step can draw it. So the participants of a
step share out its indices, and tell each other losses and nothing else: from the losses of all masks every participant
makes the same update, and arrives at the same logits for the next step.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import Protocol

from torch import Tensor

from nmlab.trials.parallel.pipeline_group import PipelineGroup

_DIGEST = "digest"
"""What the leader of a crew tells the others when all shall say which masks they hold."""


class MaskEvaluators(Protocol):
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


class SingleEvaluator:
    """One slot that evaluates every mask itself."""

    def losses(
        self, step: int, count: int, *, evaluate: Callable[[int], float], digest: Callable[[], bytes]
    ) -> list[float]:
        return [evaluate(index) for index in range(count)]

    def saved(self, step: int) -> None:
        """Nobody waits for it."""


class PipelineEvaluators:
    """A party as a crew takes part in it: the leader speaks for all members, who evaluate together what falls to them.

    The leader gives the ``party``. What ends it there (``PartyOverError``, ``ReloadError``) wakes the others like any
    error, and they learn of it when the crew reconvenes.
    """

    def __init__(self, pipeline: PipelineGroup, evaluators: MaskEvaluators | None = None) -> None:
        assert pipeline.leads == (evaluators is not None)
        self._pipeline, self._evaluators = pipeline, evaluators

    def losses(
        self, step: int, count: int, *, evaluate: Callable[[int], float], digest: Callable[[], bytes]
    ) -> list[float]:
        if self._evaluators is None:
            return self._follow(evaluate, digest)

        def together(index: int) -> float:
            return evaluate(self._pipeline.broadcast(index))

        def of_all() -> bytes:
            self._pipeline.broadcast(_DIGEST)
            return self._joined(digest())

        return self._pipeline.broadcast(self._evaluators.losses(step, count, evaluate=together, digest=of_all))

    def saved(self, step: int) -> None:
        if self._evaluators is not None:
            self._evaluators.saved(step)

    def _follow(self, evaluate: Callable[[int], float], digest: Callable[[], bytes]) -> list[float]:
        while True:
            word: int | str | list[float] | None = self._pipeline.broadcast(None)
            match word:
                case int(index):
                    evaluate(index)
                case list(losses):
                    return losses
                case _:
                    assert word == _DIGEST
                    self._joined(digest())

    def _joined(self, own: bytes) -> bytes:
        return hashlib.blake2b(b"".join(self._pipeline.all_gather(own)), digest_size=8).digest()


def digest_of(tensors: Iterable[Tensor]) -> bytes:
    """Return 8 bytes over the values of tensors, in order."""
    digest = hashlib.blake2b(digest_size=8)
    for tensor in tensors:
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.digest()
