"""The overlap of two masks, entry by entry, and the expected overlap of two random masks."""

from collections.abc import Mapping

import numpy as np

from nmlab.reports.read.masks.packed import PackedMask


def overlap(first: Mapping[str, PackedMask], *, second: Mapping[str, PackedMask]) -> float | None:
    """Return the share of weights that both masks keep or both drop, over all layers.

    Returns:
        A share from 0 to 1, or None where the masks have different layers, shapes or patterns.
    """
    if first.keys() != second.keys() or any(not _same_kind(first[name], second[name]) for name in first):
        return None
    different = sum(_different(first[name], second[name]) for name in first)
    return 1 - different / sum(mask.entries for mask in first.values())


def layer_change(mask: Mapping[str, PackedMask], *, start: Mapping[str, PackedMask]) -> dict[str, float] | None:
    """Return for each layer the share of kept weights that the start did not keep.

    Both masks keep equally many weights, so an exchange of one kept weight for another counts once.

    Returns:
        A share from 0 to 1 by layer, or None where the masks do not fit each other.
    """
    if mask.keys() != start.keys() or any(not _same_kind(mask[name], start[name]) for name in mask):
        return None
    kept = {name: own.entries * own.n / own.m for name, own in mask.items()}
    return {name: _different(mask[name], start[name]) / 2 / kept[name] for name in mask}


def _different(first: PackedMask, second: PackedMask) -> int:
    return int(np.bitwise_count(first.bits ^ second.bits).sum())


def _same_kind(first: PackedMask, second: PackedMask) -> bool:
    return (first.shape, first.n, first.m) == (second.shape, second.n, second.m)
