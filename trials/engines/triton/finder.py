"""The groups that a pass over all groups could not decide, sorted by what remains to be done for them.

Legend: g some groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from nmlab.trials.engines.engine import MaskKey
from nmlab.trials.engines.triton import launch
from nmlab.trials.engines.triton.tables import LayerTables
from nmlab.trials.engines.triton.words import GroupWords

# Finds there is room for at first, as a share of the groups and at least: more than cold logits ever need.
_ROOM, _LEAST_ROOM = 1 / 64, 2**12


@dataclass(frozen=True, slots=True, eq=False)
class Finds:
    """Groups whose order may have changed, and each mask's candidates: int64 [g], strictly ascending."""

    overtaken_g: Tensor
    candidates: list[Tensor]


class Finder:
    """Runs passes over all groups, with a list of finds that grows when needed and is reused."""

    def __init__(self, words: GroupWords, tables: LayerTables) -> None:
        self._words, self._tables = words, tables
        room = max(_LEAST_ROOM, int(_ROOM * len(words.words_G)))
        self._found = torch.empty(room, dtype=torch.int64, device=words.words_G.device)

    @property
    def nbytes(self) -> int:
        """Bytes of the list."""
        return self._found.nbytes

    def find(self, *, keys: Sequence[MaskKey], order: bool, scale: float | None = None) -> Finds:
        """Move the logits by -``scale`` times the modal score, unless it is None, and list the undecided groups."""
        count = int(launch.scan(self._words, self._tables, scale=scale, order=order, keys=keys, found=self._found))
        if count > len(self._found):
            self._found = self._found.new_empty(count + count // 4)
            again = launch.scan(self._words, self._tables, scale=None, order=order, keys=keys, found=self._found)
            assert int(again) == count
        entries = self._found[:count].sort().values
        slots = torch.arange(len(keys) + 2, dtype=torch.int64, device=entries.device) * launch.SLOT
        edges = torch.searchsorted(entries, slots).tolist()
        parts = [entries[low:high] % launch.SLOT for low, high in pairwise(edges)]
        return Finds(parts[0], parts[1:])
