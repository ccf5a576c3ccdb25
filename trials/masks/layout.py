"""The transposed layout [M, G] of groups [G, M], in which work on one position is a vectorised pass.

Torch's kernels for short last axes (reductions, `where`, the transposing copy) run at a fraction of the
memory bandwidth; copying column by column beats ``tensor.t().contiguous()`` two to three times at M = 4.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from functools import reduce

import torch
from torch import Tensor

# Elements a chunk: the temporaries of one chunk stay in the second-level cache of a CPU core. Not a power of
# two, which would put the M rows of the transposed layout into the same cache sets.
_CHUNK_ELEMENTS = 60_000
# On a device: large enough to keep it busy, small enough that a dozen float32 temporaries of a chunk take a few hundred
# megabytes, whatever the model's size. The draws of a seed depend on it there, so it is not a setting.
_CHUNK_BYTES_ON_DEVICE = 2**25
_NUMBER_BYTES = 4  # of the float32 in which temporaries are computed, whatever the type of the first tensor

counts_repeats: ContextVar[Callable[[int], AbstractContextManager[None]] | None]
counts_repeats = ContextVar("counts_repeats", default=None)
"""Set in a dry run, where chunks of equal size cost the same: then two of each size are walked through, in a context
that knows how many they stand for. A model of 100 million weights has thousands."""


def columns(tensor_GM: Tensor) -> Tensor:
    """[G, M] to a contiguous [M, G]."""
    return torch.stack(tensor_GM.unbind(1))


def write_columns(tensor_MG: Tensor, *, out_GM: Tensor) -> None:
    """Copy [M, G] into an existing [G, M], casting to its dtype."""
    for column_G, out_G in zip(tensor_MG.unbind(0), out_GM.unbind(1), strict=True):
        out_G.copy_(column_G)


def total(tensor_MG: Tensor) -> Tensor:
    """Sum over the group, row after row; [G].

    From M = 5 on, `Tensor.sum` adds in an order that depends on the position of a group in the tensor, and then a
    pipeline stage with some of the layers would not move them exactly as one with all of them.
    """
    return reduce(torch.add, tensor_MG.unbind(0))


def chunks(*tensors_GM: Tensor, layers: Sequence[int] = ()) -> Iterator[tuple[Tensor, ...]]:
    """Walk through tensors of equally many groups: what fits the cache on a CPU, so many bytes of them elsewhere.

    Yields views, one for each tensor; the first tensor sets the size. Which groups share a chunk decides in
    which order the samplers draw their noise, so the draws of a seed depend on the size.

    Given the number of groups of each of the ``layers``, no chunk on a CPU has groups of two: torch computes the last
    few numbers of a chunk differently from the others, and which they are must not depend on the pipeline stage.

    What is counted in a dry run writes its results into tensors made before, since not every chunk is yielded there.
    """
    groups, m = tensors_GM[0].shape
    if tensors_GM[0].device.type != "cpu":
        layers = ()
    on_device = _CHUNK_BYTES_ON_DEVICE // _NUMBER_BYTES
    size = max(1, (_CHUNK_ELEMENTS if tensors_GM[0].device.type == "cpu" else on_device) // m)
    repeated = counts_repeats.get()
    if repeated is not None:
        yield from _two_of_each_size(tensors_GM, layers or (groups,), size=size, repeated=repeated)
        return
    for parts in zip(*(torch.split(tensor_GM, list(layers or (groups,))) for tensor_GM in tensors_GM), strict=True):
        yield from zip(*(torch.split(part, size) for part in parts), strict=True)


def _two_of_each_size(
    tensors_GM: Sequence[Tensor],
    layers: Sequence[int],
    *,
    size: int,
    repeated: Callable[[int], AbstractContextManager[None]],
) -> Iterator[tuple[Tensor, ...]]:
    """Yield the first groups of each tensor, as many as a chunk has, at most twice for each size of a chunk."""
    counts: Counter[int] = Counter()
    for groups in layers:
        counts[size] += groups // size
        counts[groups % size] += 1
    for length, times in counts.items():
        for stands_for in (times - 1, 1):  # the second, since what is left of a chunk is alive in the next
            if length and times and stands_for:
                first = tuple(tensor_GM[:length] for tensor_GM in tensors_GM)
                with repeated(stands_for):
                    yield first
