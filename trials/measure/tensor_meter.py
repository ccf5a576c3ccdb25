"""Count the bytes of tensors that are alive at once, from the operation that makes a tensor until it is freed.

Counted is what torch is asked for, on any device and in this thread alone, so the number is the same on every machine
and does not depend on the rest of the process. An allocator's rounding and the scratch of kernels come on top.
"""

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nmlab.trials.compat import TorchDispatchMode, storage_id


class TensorMeter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A context manager in which tensors are counted; tensors that existed before do not count.

    Results of operations are unchanged. ``peak`` is the most bytes alive at once, ``written`` the bytes of all tensors
    made, ``calls`` the number of operations.
    """

    def __init__(self, before: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = self.written = self.calls = 0
        self._now, self._times = 0, 1
        self._sizes: dict[int, int] = {}
        self._watched: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        for tensor in before:
            self._see(tensor, made=False)

    @property
    def transient_peak(self) -> int:
        """The most bytes alive at once, less those that are still alive."""
        return self.peak - self._now

    @contextmanager
    def repeated(self, times: int) -> Iterator[None]:
        """Within it each operation counts so many times in ``calls`` and ``written``, as if it came again and again."""
        before, self._times = self._times, times
        try:
            yield
        finally:
            self._times = before

    def __torch_dispatch__(
        self, op: Any, types: object, args: tuple[object, ...] = (), kwargs: dict[str, object] | None = None
    ) -> object:
        self._see(args, made=False)
        if kwargs:
            self._see(tuple(kwargs.values()), made=False)
        result: object = op(*args, **(kwargs or {}))
        self.calls += self._times
        self._see(result, made=True)
        return result

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._watched.clear()

    def _see(self, value: object, *, made: bool) -> None:
        """Register every new storage among the arguments or results of an operation: tensors and lists of them."""
        if isinstance(value, Tensor):
            storage = value.untyped_storage()
            if storage_id(storage) not in self._sizes:
                self._note(storage, storage.nbytes() if made else 0)
        elif isinstance(value, tuple | list):
            for item in value:
                self._see(item, made=made)

    def _note(self, storage: torch.UntypedStorage, size: int) -> None:
        place = storage_id(storage)
        self._sizes[place] = size
        self._watched[place] = weakref.ref(storage, partial(self._gone, place))
        self._now += size
        self.written += size * self._times
        self.peak = max(self.peak, self._now)

    def _gone(self, place: int, _: object) -> None:
        del self._watched[place]
        self._now -= self._sizes.pop(place)
