"""How the masks of a step are evaluated: by one slot alone, or by a mask-parallel group of slots with equal logits.

A mask is named by (seed, step, index), and any process that holds the logits of that step can draw it. So the peers of
a group divide the indices of a step among them and exchange losses only: from the losses of all masks every peer makes
the same update and has the same logits for the next step.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import Protocol

from torch import Tensor

from nmlab.trials.parallel.pipeline_group import PipelineGroup

_DIGEST = "digest"
"""What the leader of a pipeline group broadcasts when all stages are to compute their part of the digest."""


class MaskEvaluators(Protocol):
    """Evaluates the masks of each step of a trial, alone or with others."""

    def losses(
        self, step: int, count: int, *, evaluate: Callable[[int], float], digest: Callable[[], bytes]
    ) -> list[float]:
        """Return the losses of the masks 0 to ``count`` - 1 of a step, in this order, equal for all peers.

        Args:
            step: the step, from 0.
            count: the number of masks of the step.
            evaluate: returns the loss of a mask by its index; called for the masks that are assigned to this peer.
            digest: returns a few bytes that identify the masks that this peer has drawn.

        Raises ``ReloadError`` in a peer whose digest differs from the leader's, and ``GroupClosedError`` when the group
        has been closed.
        """

    def saved(self, step: int) -> None:
        """Report that a checkpoint after ``step`` steps is on disk, from which other peers can start."""


class SingleEvaluator:
    """Evaluates every mask in this slot."""

    def losses(
        self, step: int, count: int, *, evaluate: Callable[[int], float], digest: Callable[[], bytes]
    ) -> list[float]:
        return [evaluate(index) for index in range(count)]

    def saved(self, step: int) -> None:
        """Do nothing: no other peer needs the checkpoint."""


class PipelineEvaluators:
    """Evaluates masks in a slot that is a pipeline group: its stages evaluate together the masks assigned to the slot.

    Only the leader (rank 0) has ``evaluators``, which exchange losses with other slots. It broadcasts to the other
    stages which mask to evaluate next. An error of ``evaluators`` (``GroupClosedError``, ``ReloadError``) reaches the
    other stages when the pipeline group recovers, as any error does.
    """

    def __init__(self, pipeline: PipelineGroup, evaluators: MaskEvaluators | None = None) -> None:
        assert pipeline.leads == (evaluators is not None)
        self._pipeline, self._evaluators = pipeline, evaluators

    def losses(
        self, step: int, count: int, *, evaluate: Callable[[int], float], digest: Callable[[], bytes]
    ) -> list[float]:
        if self._evaluators is None:
            return self._follow(evaluate, digest)

        def evaluate_on_all_stages(index: int) -> float:
            return evaluate(self._pipeline.broadcast(index))

        def digest_of_all_stages() -> bytes:
            self._pipeline.broadcast(_DIGEST)
            return self._joined(digest())

        losses = self._evaluators.losses(step, count, evaluate=evaluate_on_all_stages, digest=digest_of_all_stages)
        return self._pipeline.broadcast(losses)

    def saved(self, step: int) -> None:
        if self._evaluators is not None:
            self._evaluators.saved(step)

    def _follow(self, evaluate: Callable[[int], float], digest: Callable[[], bytes]) -> list[float]:
        while True:
            received: int | str | list[float] | None = self._pipeline.broadcast(None)
            match received:
                case int(index):
                    evaluate(index)
                case list(losses):
                    return losses
                case _:
                    assert received == _DIGEST
                    self._joined(digest())

    def _joined(self, own: bytes) -> bytes:
        return hashlib.blake2b(b"".join(self._pipeline.all_gather(own)), digest_size=8).digest()


def digest_of(tensors: Iterable[Tensor]) -> bytes:
    """Return 8 bytes over the values of tensors, in order."""
    digest = hashlib.blake2b(digest_size=8)
    for tensor in tensors:
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.digest()
