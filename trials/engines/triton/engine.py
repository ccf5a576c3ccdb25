"""The linear engine on CUDA: one pass over the logits a step moves them and draws the next masks.

The pass settles nearly all groups; the few that deviate from their mode, or whose mode may have changed, are listed and
handled apart. Beyond N = 2 moving runs on torch operations, because the score has no closed form there: the sum over
subsets needs 2^N numbers a group, which from N = 4 on leave a thread no registers. Drawing runs in the kernels for
every N:M.

Legend: G groups of all layers, g some of them, M group size, K masks drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from nmlab.trials.engines.checks import check_descent
from nmlab.trials.engines.engine import Draw, Engine, MaskKey
from nmlab.trials.engines.layout import GroupLayout
from nmlab.trials.engines.logits import LogitStore
from nmlab.trials.engines.triton.availability import unavailable_reason
from nmlab.trials.engines.triton.plain import move_modal, moved
from nmlab.trials.engines.triton.tables import LayerTables
from nmlab.trials.engines.triton.words import LARGEST_CLOSED_N, GroupWords
from nmlab.trials.masks.codes import decode, encode

if TYPE_CHECKING:
    from nmlab.trials.engines.triton.finder import Finds

# Masks drawn while the logits move: a find has four bits for each in a 32-bit number. Further ones are drawn on demand.
_MOST_AHEAD = 6


class TritonEngine(Engine):
    """Logits of all groups on a CUDA device, moved and sampled by Triton kernels, for any N:M.

    A mask depends on its key, the layer's name and the logits alone, never on ``span``, on ``ahead`` or on which other
    layers there are.

    Args:
        layout: the layers and the pattern.
        store: the logits, on a CUDA device; the engine changes them.
        ahead: draw the masks of the next step (same seed, same indices) in the pass that moves the logits; `sample`
            then finds them made.
        span: groups that a program serves, in units of 512; a power of two.

    Raises:
        ValueError: where the device or the package ``triton`` is missing, and for a layer of 2^31 weights or more.
    """

    name: ClassVar[str] = "triton"

    def __init__(self, layout: GroupLayout, *, store: LogitStore, ahead: bool = True, span: int = 1) -> None:
        missing = unavailable_reason(store.device)
        if missing:
            raise ValueError(missing)
        # Only now, because these import triton.
        from nmlab.trials.engines.triton import launch
        from nmlab.trials.engines.triton.finder import Finder

        self.layout = layout
        self._launch = launch
        self._words = GroupWords(store, pattern=layout.pattern)
        self._tables = LayerTables(layout, device=store.device, span=span)
        self._finder = Finder(self._words, self._tables)
        self._draws_ahead = ahead
        self._ahead: dict[MaskKey, Draw] = {}

    def sample(self, key: MaskKey) -> Draw:
        if key in self._ahead:
            return self._ahead[key]
        if self._certain:
            return self._draw(key, self._none())
        return self._draw(key, self._finder.find(keys=[key], order=False).candidates[0])

    def descend(self, draws: Sequence[Draw], *, weights: Sequence[float], rate: float) -> Tensor:
        check_descent(draws, weights, rate, layout=self.layout, device=self._words.store.device)
        self._ahead = {}
        scales = [rate * weight for weight in weights]
        if self._certain or not any(scales):
            return self._none()
        keys = self._next_keys(draws)
        touched_g = torch.unique(torch.cat([draw.groups_g for draw in draws]))
        codes_Kg, modes_g = self._codes(draws, touched_g), self._words.modes(touched_g)
        in_kernels = self.layout.pattern.n <= LARGEST_CLOSED_N
        move = self._move_in_kernels if in_kernels else self._move_in_torch
        finds = move(touched_g, codes_Kg, scales=scales, keys=keys)
        changed_g = self._renew_modes(finds.overtaken_g, touched_g, modes_g)
        for key, candidates_g in zip(keys, finds.candidates, strict=True):
            self._ahead[key] = self._draw(key, torch.cat([candidates_g, touched_g]).sort().values)
        return changed_g

    def mode(self, groups_g: Tensor | None = None) -> Tensor:
        return decode(self._words.modes(slice(None) if groups_g is None else groups_g), self.layout.pattern.m)

    def logits(self) -> Tensor:
        return self._words.store.read(slice(None)).clone()

    def state(self) -> dict[str, Tensor]:
        return self._words.store.state(copied=False)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self._words.store.load_state(state)
        self._words.refresh()
        self._ahead = {}

    @property
    def state_bytes(self) -> int:
        """Bytes of logits, words, the list of finds, and the masks drawn ahead."""
        ahead = sum(draw.groups_g.nbytes + draw.masks_gM.nbytes for draw in self._ahead.values())
        return self._words.nbytes + self._finder.nbytes + self._tables.nbytes + ahead

    @property
    def _certain(self) -> bool:
        """Whether every mask is the only one there is, N = M: nothing deviates and every score is zero."""
        return self.layout.pattern.n == self.layout.pattern.m

    def _none(self) -> Tensor:
        return torch.empty(0, dtype=torch.int64, device=self._words.store.device)

    def _draw(self, key: MaskKey, candidates_g: Tensor) -> Draw:
        code_g = self._launch.draw(self._words, self._tables, candidates_g, key=key)
        deviates_g = code_g != self._words.modes(candidates_g)
        return Draw(key, candidates_g[deviates_g], decode(code_g[deviates_g], self.layout.pattern.m))

    def _next_keys(self, draws: Sequence[Draw]) -> list[MaskKey]:
        """Return the keys of the masks to draw ahead."""
        if not self._draws_ahead:
            return []
        keys = [replace(draw.key, step=draw.key.step + 1) for draw in draws if draw.key.step + 1 < 2**32]
        return list(dict.fromkeys(keys))[:_MOST_AHEAD]

    def _codes(self, draws: Sequence[Draw], groups_g: Tensor) -> Tensor:
        """Return the codes [K, g] of every draw's masks of ``groups_g``, which holds the groups of all of them."""
        codes_Kg = self._words.modes(groups_g).repeat(len(draws), 1)
        for code_g, draw in zip(codes_Kg, draws, strict=True):
            code_g[torch.searchsorted(groups_g, draw.groups_g)] = encode(draw.masks_gM)
        return codes_Kg

    def _move_in_kernels(
        self, touched_g: Tensor, codes_Kg: Tensor, *, scales: Sequence[float], keys: Sequence[MaskKey]
    ) -> "Finds":
        self._words.mark(touched_g)
        finds = self._finder.find(keys=keys, order=True, scale=sum(scales))
        self._launch.touch(self._words, touched_g, codes_Kg, scales=scales)
        return finds

    def _move_in_torch(
        self, touched_g: Tensor, codes_Kg: Tensor, *, scales: Sequence[float], keys: Sequence[MaskKey]
    ) -> "Finds":
        moved_gM = moved(self._words, touched_g, codes_Kg, scales=scales)
        move_modal(self._words, scale=sum(scales))
        self._words.store.write(touched_g, moved_gM)
        self._words.mark(touched_g)
        return self._finder.find(keys=keys, order=True)

    def _renew_modes(self, overtaken_g: Tensor, touched_g: Tensor, modes_g: Tensor) -> Tensor:
        """Find the modes of groups in doubt and of marked ones, which had ``modes_g``; return those that changed."""
        before_g = torch.cat([self._words.modes(overtaken_g), modes_g])
        groups_g = torch.cat([overtaken_g, touched_g])
        changed_g = groups_g[self._words.find_modes(groups_g) != before_g]
        return changed_g.sort().values
