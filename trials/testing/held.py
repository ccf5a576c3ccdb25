"""Count the bytes of tensors that an object keeps alive, by following its references."""

import gc
import types
from collections.abc import Iterable, Iterator

import numpy as np
from torch import Tensor


def held_bytes(root: object, *, apart_from: Iterable[object] = ()) -> int:
    """Return the bytes of all tensors and numpy arrays that ``root`` keeps alive and ``apart_from`` does not.

    Memory that several of them share counts once. Everything that Python can reach is found, through attributes,
    containers and closures of functions; modules and classes are not entered. Memory that only C++ can reach, such as
    an autograd graph's own copies, is not found.
    """
    seen: set[int] = set()
    others = dict(_memory(list(apart_from), seen))
    return sum(size for place, size in _memory([root], seen) if place not in others)


def _memory(roots: list[object], seen: set[int]) -> Iterator[tuple[int, int]]:
    """Yield address and size of every block of memory once."""
    places: set[int] = set()
    pending, kept = list(roots), []
    while pending:
        item = pending.pop()
        if id(item) in seen or isinstance(item, types.ModuleType | type):
            continue
        seen.add(id(item))
        kept.append(item)  # so that no other object gets its id while we look
        for place, size in _blocks(item):
            if place not in places:
                places.add(place)
                yield place, size
        pending += _references(item)


def _references(item: object) -> list[object]:
    if isinstance(item, types.FunctionType):  # its globals are its module's
        return [item.__closure__, item.__defaults__, item.__kwdefaults__, item.__dict__]
    return gc.get_referents(item)


def _blocks(item: object) -> Iterator[tuple[int, int]]:
    if isinstance(item, Tensor):
        storage = item.untyped_storage()
        yield storage.data_ptr(), storage.nbytes()
    elif isinstance(item, np.ndarray):
        while isinstance(item.base, np.ndarray):
            item = item.base
        yield item.__array_interface__["data"][0], item.nbytes
