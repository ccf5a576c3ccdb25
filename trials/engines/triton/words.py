"""The data of the kernels: a store of logits, and the word of every group.

The word of a group holds its modal mask in the lowest M bits, position k in bit k. Where the store holds differences
from the initial logits, the initial mask follows in the next M bits, so that one load serves both. A modal part of zero
marks a group that is handled apart.

Legend: G groups, g some of them, M group size.
"""

import torch
from torch import Tensor

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines.logits import Bfloat16DeltaStore, LogitStore, Rows
from nmlab.trials.masks.codes import code_dtype, encode
from nmlab.trials.masks.topn import topn

# Groups handled at a time where a pass needs temporaries.
PIECE = 2**22
# The kernels hold closed forms of the score up to this N.
LARGEST_CLOSED_N = 2


class GroupWords:
    """The modal masks of a store's groups, in the form that the kernels read."""

    def __init__(self, store: LogitStore, *, pattern: Pattern) -> None:
        self.store, self.pattern = store, pattern
        self.difference = isinstance(store, Bfloat16DeltaStore)
        dtype = word_dtype(pattern.m, difference=self.difference)
        self.words_G = torch.zeros(store.groups, dtype=dtype, device=store.device)
        self._all_bits = 2**pattern.m - 1
        if self.difference:
            for rows in self.pieces():
                self.words_G[rows] = (self._wide(store.initial_G[rows]) << pattern.m).to(dtype)
        self.refresh()

    @property
    def held_GM(self) -> Tensor:
        """The values in the store, [G, M]: logits in float32, or differences in bfloat16."""
        return self.store.held_GM

    def pieces(self) -> list[slice]:
        """Cut all groups into slices of at most ``PIECE``."""
        groups = self.store.groups
        return [slice(start, min(start + PIECE, groups)) for start in range(0, groups, PIECE)]

    def modes(self, rows: Rows) -> Tensor:
        """Return the codes of the modal masks of some groups."""
        word_g = self.words_G[rows]
        return (word_g.long() & self._all_bits).to(code_dtype(self.pattern.m)) if self.difference else word_g

    def mark(self, groups_g: Tensor) -> None:
        """Mark groups as handled apart: the pass over all groups leaves them as they are."""
        self._set_modes(groups_g, torch.zeros(len(groups_g), dtype=code_dtype(self.pattern.m), device=groups_g.device))

    def find_modes(self, rows: Rows) -> Tensor:
        """Update the modal masks of some groups from their logits, and return their codes."""
        code_g = encode(topn(self.store.read(rows), self.pattern))
        self._set_modes(rows, code_g)
        return code_g

    def refresh(self) -> None:
        """Update all modal masks from the logits."""
        for rows in self.pieces():
            self.find_modes(rows)

    @property
    def nbytes(self) -> int:
        """Bytes of the store and of the words."""
        return self.store.nbytes + self.words_G.nbytes

    def _set_modes(self, rows: Rows, code_g: Tensor) -> None:
        if self.difference:
            initial_g = self.words_G[rows].long() & (self._all_bits << self.pattern.m)
            code_g = (initial_g | self._wide(code_g)).to(self.words_G.dtype)
        self.words_G[rows] = code_g

    def _wide(self, code_g: Tensor) -> Tensor:
        """Return codes as int64 without the sign that their top bit may stand for."""
        return torch.bitwise_and(code_g.long(), self._all_bits)


def word_dtype(m: int, *, difference: bool) -> torch.dtype:
    """Return the smallest integer type that holds a group's word: M bits, or 2 M where the initial mask is in it."""
    if not difference:
        return code_dtype(m)
    return torch.int64 if m > 16 else code_dtype(2 * m)
