"""A cache of results that the trials of a replica share: bounded by bytes, and kept while a trial uses them."""

import sys
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TypeVar, cast

import numpy as np
from torch import Tensor

from nmlab.trials.parallel.pipeline_group import SINGLE_PROCESS, PipelineGroup

T = TypeVar("T")
CACHE_BYTES = 2 * 2**30
"""The most bytes kept for later trials. Results that running trials use count too, and alone may take more."""
_LEAST = 256  # bytes counted for an empty entry


@dataclass(eq=False)
class _Entry:
    lock: threading.Lock = field(default_factory=threading.Lock)
    is_ready: bool = False
    value: object = None
    nbytes: int = 0
    users: int = 0


class ResultCache:
    """A cache by key of at most ``budget`` bytes that drops the least recently used results first.

    Results that a thread asks for within ``in_use`` are kept until that block ends, whatever the budget. Safe to use
    from several threads.
    """

    def __init__(self, budget: int = CACHE_BYTES) -> None:
        self.budget = budget
        self._entries: dict[Hashable, _Entry] = {}  # the most recently used last
        self._guard = threading.Lock()
        self._of_thread = threading.local()

    @property
    def nbytes(self) -> int:
        """Bytes of all results in the cache."""
        with self._guard:
            return self._nbytes()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the results that this thread asks for until the block ends."""
        before: set[Hashable] | None = getattr(self._of_thread, "keys", None)
        mine: set[Hashable] = set()
        self._of_thread.keys = mine
        try:
            yield
        finally:
            self._of_thread.keys = before
            with self._guard:
                for key in mine:
                    self._entries[key].users -= 1
                self._evict()

    def get_or_compute(self, key: Hashable, compute: Callable[[], T], *, pipeline: PipelineGroup = SINGLE_PROCESS) -> T:
        """Return ``compute()``, computed by the first thread that asks for ``key``; the others wait for it.

        A failed computation is not remembered: the next thread that asks tries again.

        The ranks of a ``pipeline`` compute together, and do so where any of them lacks the result, because each drops
        results independently. Only the leader holds the lock, until all ranks have stored the value: if every rank took
        its own lock, two pipeline groups could wait for each other.
        """
        with self._used(key) as entry, entry.lock if pipeline.leads else nullcontext():
            if not all(pipeline.all_gather(entry.is_ready)):
                value = compute()
                pipeline.all_gather(None)  # raises where a rank failed, so that none stores a value
                self._keep(entry, value)
                pipeline.all_gather(None)
            return cast(T, entry.value)

    @contextmanager
    def _used(self, key: Hashable) -> Iterator[_Entry]:
        mine: set[Hashable] | None = getattr(self._of_thread, "keys", None)
        with self._guard:
            entry = self._entries.pop(key) if key in self._entries else _Entry()
            self._entries[key] = entry
            entry.users += 1
        try:
            yield entry
        finally:
            with self._guard:
                if mine is None or key in mine:
                    entry.users -= 1
                else:
                    mine.add(key)
                self._evict()

    def _keep(self, entry: _Entry, value: object) -> None:
        size = _LEAST + bytes_of(value)
        with self._guard:
            entry.value, entry.nbytes, entry.is_ready = value, size, True
            self._evict()

    def _evict(self) -> None:
        held = self._nbytes()
        for key, entry in list(self._entries.items()):
            if entry.users == 0 and (held > self.budget or not entry.is_ready):
                held -= entry.nbytes
                del self._entries[key]

    def _nbytes(self) -> int:
        return sum(entry.nbytes for entry in self._entries.values())


def bytes_of(value: object) -> int:
    """Return the bytes of the tensors, arrays and texts in a value; other objects count as ``sys.getsizeof`` says."""
    if isinstance(value, Tensor | np.ndarray):
        return int(value.nbytes)
    if isinstance(value, Mapping):
        return sum(bytes_of(key) + bytes_of(item) for key, item in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return sum(map(bytes_of, value))
    if is_dataclass(value) and not isinstance(value, type):
        return sum(bytes_of(getattr(value, item.name)) for item in fields(value))
    return sys.getsizeof(value)
