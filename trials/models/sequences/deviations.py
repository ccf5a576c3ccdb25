"""The masks of a minibatch's sequences for one layer, as what differs from the mask that is applied to it.

Legend: K sequences, g deviating groups of one of them, n those of all, one sequence after the other, M group size.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class LayerDeviations:
    """The groups of a layer in which the sequences of a minibatch have another mask than the applied one.

    Attributes:
        groups: for each of K sequences its groups, int64 [g] ascending. Groups of M inputs are numbered row by row; the
            layer's own ones begin at ``first``.
        masks: for each sequence the masks of its groups, bool [g, M].
        first: number of the layer's first group.
    """

    groups: list[Tensor]
    masks: list[Tensor]
    first: int = 0

    @property
    def sequences(self) -> int:
        return len(self.groups)

    @property
    def count(self) -> int:
        """How many groups deviate, of all sequences together."""
        return sum(map(len, self.groups))

    def by_sequence(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield groups, numbered from 0, and masks of each sequence."""
        for groups_g, masks_gM in zip(self.groups, self.masks, strict=True):
            yield groups_g - self.first, masks_gM

    def joined(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the sequence [n] that each group belongs to, all groups [n], numbered from 0, and masks [n, M]."""
        groups_n = torch.cat(self.groups).sub_(self.first)
        device = groups_n.device
        counts_K = torch.tensor([len(groups_g) for groups_g in self.groups], device=device)
        sequence_n = torch.repeat_interleave(torch.arange(self.sequences, device=device), counts_K)
        return sequence_n, groups_n, torch.cat(self.masks)
