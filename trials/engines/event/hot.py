"""Hot groups: groups that deviate so often, or drift so fast, that each step draws one uniform for each of them.

They are held in float64, arranged for their modes, and take every step at once; they are written to the store when they
stop being hot.

Legend: H hot groups, h some of them; g groups that join; L layers; M group size, N kept.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from nmlab.trials.engines.event.groups import Arranged, Groups, pieces
from nmlab.trials.engines.event.streams import Streams
from nmlab.trials.masks.deviation import Race, restore

# Some hot groups by their places in the list, int64 ascending, and a mask for each, bool [h, M].
Deviations = tuple[Tensor, Tensor]


class HotGroups:
    """The hot groups, ``groups_H`` int64 ascending, their deviation probabilities ``q_H``, and their logits."""

    def __init__(self, groups: Groups, first_group: Sequence[int], *, n: int, m: int) -> None:
        self._groups, self._n = groups, n
        device = groups.store.device
        self._edge_L = torch.tensor(first_group, device=device)
        self.groups_H = torch.empty(0, dtype=torch.int64, device=device)
        self.logits_MH = torch.empty(m, 0, dtype=torch.float64, device=device)
        self._score_MH, self.q_H = torch.empty_like(self.logits_MH), self.logits_MH.new_empty(0)
        self._joining: list[tuple[Tensor, Tensor]] = []

    def __len__(self) -> int:
        return len(self.groups_H)

    @property
    def joins(self) -> bool:
        """Whether groups wait to be added by `settle`."""
        return bool(self._joining)

    def draw(self, streams: Streams) -> Deviations:
        """Return the hot groups that deviate, and their masks."""
        uniform_H = streams.uniforms(self.by_layer()).to(self.q_H.device)
        rows_h = (uniform_H < self.q_H).nonzero().squeeze(1)
        uniform_hN = streams.uniforms(self._count(self.groups_H[rows_h]), width=self._n).to(self.q_H.device)
        now = self._current(rows_h)
        return rows_h, restore(now.race(n=self._n).draw(uniform_hN), now.order_gM)

    def find(self, groups_g: Tensor) -> tuple[Tensor, Tensor]:
        """Return which of some groups, ascending, are hot (bool), and the places of those in the list."""
        if len(self) == 0:
            return torch.zeros_like(groups_g, dtype=torch.bool), groups_g[:0]
        place_g = torch.searchsorted(self.groups_H, groups_g).clamp_(max=len(self) - 1)
        is_hot_g = self.groups_H[place_g] == groups_g
        return is_hot_g, place_g[is_hot_g]

    def move(self, draws: Sequence[Deviations], sizes: Sequence[float]) -> None:
        """Take a step; `settle` has to follow."""
        changes = []
        for rows_h, masks_hM in draws:
            score_Mh = self._current(rows_h).score(masks_hM, n=self._n)
            changes.append(score_Mh.sub_(self._score_MH.index_select(1, rows_h)))
        self.logits_MH.add_(self._score_MH, alpha=sum(sizes))
        for (rows_h, _), change_Mh, size in zip(draws, changes, sizes, strict=True):
            self.logits_MH.index_add_(1, rows_h, change_Mh, alpha=size)

    def join(self, groups_g: Tensor, logits_Mg: Tensor) -> None:
        """Add groups, none of them hot yet, arranged for their modes; `settle` has to follow."""
        self._joining.append((groups_g, logits_Mg))

    def settle(self) -> Tensor:
        """Update modes, scores and probabilities of hot groups; return those whose mode changed, int64 ascending."""
        self._merge()
        if len(self) == 0:
            return self.groups_H
        kept_NH, dropped_DH = self.logits_MH[: self._n], self.logits_MH[self._n :]
        rows_h = (kept_NH.amin(0) <= dropped_DH.amax(0)).nonzero().squeeze(1)
        changed_g: Tensor = self._rearrange(rows_h) if len(rows_h) else rows_h
        self._score_MH, self.q_H = torch.empty_like(self.logits_MH), self.logits_MH.new_empty(len(self))
        for rows in pieces(slice(0, len(self)), self.q_H.device):
            race = Race.of(self.logits_MH[:, rows], n=self._n)
            self._score_MH[:, rows], self.q_H[rows] = race.mode_score_and_probability()
        return changed_g

    def take(self, which_H: Tensor) -> tuple[Tensor, Arranged]:
        """Remove groups (bool [H]); return them, ascending, and their current logits."""
        rows_h, rest_h = which_H.nonzero().squeeze(1), (~which_H).nonzero().squeeze(1)
        taken = self.groups_H[rows_h], self._current(rows_h)
        self.groups_H, self.q_H = self.groups_H[rest_h], self.q_H[rest_h]
        self.logits_MH, self._score_MH = (
            tensor_MH.index_select(1, rest_h) for tensor_MH in (self.logits_MH, self._score_MH)
        )
        return taken

    def among(self, rows: slice) -> Tensor:
        """Return which hot groups are among a run of groups, bool [H]."""
        among_H: Tensor = (self.groups_H >= rows.start) & (self.groups_H < rows.stop)
        return among_H

    def logits(self) -> Tensor:
        """Return the current logits of the hot groups, float32 [H, M]."""
        return restore(self.logits_MH.float(), self._groups.order(self.groups_H))

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(tensor.nbytes for tensor in (self.groups_H, self.q_H, self.logits_MH, self._score_MH))

    def by_layer(self) -> list[int]:
        """Return how many groups of every layer are hot."""
        return self._count(self.groups_H)

    def _merge(self) -> None:
        """Put the groups that join in their places."""
        if not self._joining:
            return
        groups_g, order_g = torch.cat([groups_g for groups_g, _ in self._joining]).sort()
        logits_Mg = torch.cat([logits_Mg for _, logits_Mg in self._joining], dim=1).index_select(1, order_g)
        self._joining = []
        place_g = torch.searchsorted(self.groups_H, groups_g) + torch.arange(len(groups_g), device=groups_g.device)
        is_old_H = torch.ones(len(self) + len(groups_g), dtype=torch.bool, device=groups_g.device)
        is_old_H[place_g] = False
        place_H = is_old_H.nonzero().squeeze(1)
        groups_H, logits_MH = groups_g.new_empty(len(is_old_H)), logits_Mg.new_empty(len(logits_Mg), len(is_old_H))
        groups_H[place_H], groups_H[place_g] = self.groups_H, groups_g
        logits_MH.index_copy_(1, place_H, self.logits_MH).index_copy_(1, place_g, logits_Mg)
        self.groups_H, self.logits_MH = groups_H, logits_MH

    def _current(self, rows_h: Tensor) -> Arranged:
        return Arranged(self.logits_MH.index_select(1, rows_h), self._groups.order(self.groups_H[rows_h]))

    def _rearrange(self, rows_h: Tensor) -> Tensor:
        """Arrange groups whose mode may have changed for their current mode; return those whose mode changed."""
        groups_h = self.groups_H[rows_h]
        now, is_new_h = self._groups.set_modes(groups_h, self._current(rows_h))
        self.logits_MH[:, rows_h] = now.logits_Mg
        return groups_h.index_select(0, is_new_h.nonzero().squeeze(1))

    def _count(self, groups_h: Tensor) -> list[int]:
        counts: list[int] = torch.searchsorted(groups_h, self._edge_L).diff().tolist()
        return counts
