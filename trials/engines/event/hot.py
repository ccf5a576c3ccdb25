"""Groups that deviate so often that they are looked at every step, one uniform each.

Legend: H hot groups, h those of them that deviate; L layers; N kept.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from nmlab.trials.engines.event.groups import Groups
from nmlab.trials.engines.event.streams import Streams
from nmlab.trials.masks.deviation import restore


class HotGroups:
    """``groups_H``, int64 ascending, and how often each deviates, ``q_H`` float64."""

    def __init__(self, first_group: Sequence[int], *, device: torch.device) -> None:
        self._edge_L = torch.tensor(first_group, device=device)
        self.groups_H = torch.empty(0, dtype=torch.int64, device=device)
        self.q_H = torch.empty(0, dtype=torch.float64, device=device)

    def __len__(self) -> int:
        return len(self.groups_H)

    def replace(self, groups_H: Tensor, q_H: Tensor) -> None:
        """Take these groups, ascending, instead of what there was."""
        self.groups_H, self.q_H = groups_H, q_H

    def add(self, groups_h: Tensor, q_h: Tensor) -> None:
        """Take these groups as well."""
        groups_H, order_H = torch.cat([self.groups_H, groups_h]).sort()
        self.replace(groups_H, torch.cat([self.q_H, q_h])[order_H])

    def drop(self, rows: slice) -> None:
        """Forget the hot groups among a run of groups."""
        other_H = (self.groups_H < rows.start) | (self.groups_H >= rows.stop)
        self.replace(self.groups_H[other_H], self.q_H[other_H])

    def draw(self, streams: Streams, groups: Groups, *, n: int) -> tuple[Tensor, Tensor]:
        """Return the hot groups that deviate, ascending, and their masks, [h, M] bool."""
        uniform_H = streams.uniforms(self.by_layer()).to(self.q_H.device)
        groups_h = self.groups_H[uniform_H < self.q_H]
        uniform_hN = streams.uniforms(self._count(groups_h), width=n).to(self.q_H.device)
        # Hot groups were touched by the last step: they stand as they are stored.
        stored = groups.stored(groups_h)
        return groups_h, restore(stored.race(n=n).draw(uniform_hN), stored.order_gM)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.groups_H.nbytes + self.q_H.nbytes

    def by_layer(self) -> list[int]:
        """Return how many groups of every layer are hot."""
        return self._count(self.groups_H)

    def _count(self, groups_h: Tensor) -> list[int]:
        counts: list[int] = torch.searchsorted(groups_h, self._edge_L).diff().tolist()
        return counts
