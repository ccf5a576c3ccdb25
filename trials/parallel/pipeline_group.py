"""Pipeline groups: the workers that hold one model between them, each a run of its decoder blocks (a pipeline stage).

All ranks of a group run the same trial step by step. Activations are sent between neighbours. A value that only one
rank knows (a loss, the decision of rank 0 to stop) is broadcast. Sums over layers are computed so that they do not
depend on which rank holds which layer. A group of one process does none of this, at no cost.

Every slot of a replica has its own group, so that one trial can run on one worker while another runs on the next.
"""

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

from torch import Tensor

T = TypeVar("T")


class PipelineGroup:
    """The pipeline group of a process that holds a whole model; base class of groups of several ranks."""

    rank = 0
    size = 1

    @property
    def leads(self) -> bool:
        """Whether this rank decides for the group, writes its files and reports its events."""
        return self.rank == 0

    def broadcast(self, value: T, *, by: int = 0) -> T:
        """Return the ``value`` of rank ``by``; the arguments of the other ranks are ignored."""
        assert by == 0
        return value

    def broadcast_from_last(self, compute: Callable[[], T]) -> T:
        """Return ``compute()``, computed by the last rank alone."""
        return compute()

    def all_gather(self, value: T) -> list[T]:
        """Return the values of all ranks, by rank."""
        return [value]

    def gather(self, value: T) -> list[T]:
        """Return on rank 0 the values of all ranks, by rank, and an empty list on the others."""
        return [value]

    def scatter(self, values: list[T]) -> T:
        """Return the value for this rank from the list that rank 0 gives, one value for each rank."""
        (value,) = values
        return value

    def all_reduce_sum(self, parts: Iterable[float]) -> float:
        """Return the sum over the parts of all ranks, rounded once, so that it does not depend on the split."""
        return math.fsum(parts)

    def all_reduce_count(self, number: int) -> int:
        """Return the sum of the integers of all ranks."""
        return number

    def send(self, tensor: Tensor, *, to: int) -> None:
        """Send a tensor to a neighbouring rank, which must know its shape and type."""
        raise AssertionError("a group of one process has no neighbours")

    def receive(self, like: Tensor, *, by: int) -> Tensor:
        """Receive from a neighbour a tensor of the shape, type and device of ``like``, whose values are not read."""
        raise AssertionError("a group of one process has no neighbours")

    def recover(self, error: Exception) -> Exception:
        """Agree with the other ranks on one error after a failure on any of them, and return it."""
        return error


SINGLE_PROCESS = PipelineGroup()
