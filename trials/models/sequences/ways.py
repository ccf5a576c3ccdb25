"""Choose how a layer multiplies sequences that have masks of their own: from counts and shapes, never from timing.

*corrected*: one product of all sequences with the applied weights, then `Correction`. *own*: one product a sequence
with its own weights, as K separate forwards make them. Both are exact and differ in rounding, so the choice must be the
same when a trial is resumed, on another replica, and however its layers are split into stages. It depends on the type
of device, on the numbers of deviating groups, which the trial's draws determine, and on sizes, with costs measured once
on a CPU (`benchmarks/per_sequence.py`, docs/benchmarks.md). A calibration by each process would choose differently in
each.
"""

from typing import Literal

import torch

Way = Literal["corrected", "own"]

# Nanoseconds on one core: of a changed entry and of a changed row for each token, of finding a changed entry, of
# reading a weight again for another product, and of patching and restoring a group.
_ENTRY, _ROW, _FIND, _READ, _PATCH = 1.1, 1.0, 60.0, 0.3, 25.0
# Entries that change in a deviating group: it almost always drops one weight and keeps another one.
_ENTRIES = 2


def choose_way(groups: int, *, sequences: int, tokens: int, shape: tuple[int, int], device: torch.device) -> Way:
    """Return the cheaper way for one layer.

    Args:
        groups: deviating groups of all sequences together.
        sequences: how many there are, of ``tokens`` each.
        shape: of the weight, [out, in].
        device: a GPU corrects as much as it may: products of single sequences leave most of it idle (an estimate, no
            GPU was measured).
    """
    outputs, inputs = shape
    entries, rows = _ENTRIES * groups / sequences, min(outputs, groups / sequences)
    if entries > inputs:  # a correction would take more memory than the inputs
        return "own"
    if device.type != "cpu":
        return "corrected"
    corrected = sequences * tokens * (_ENTRY * entries + _ROW * rows) + _FIND * _ENTRIES * groups
    own = sequences * _READ * outputs * inputs + _PATCH * groups
    return "corrected" if corrected <= own else "own"
