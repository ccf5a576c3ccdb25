"""The adaptive engine: for each layer the cheaper of two, `event` where few groups deviate, `linear` where many do.

The choice depends on the layer's own state and on the steps that were taken, never on timing or on other layers, so
every pipeline stage that holds a layer makes the same one. The costs of a layer are compared every `PERIOD` steps, and
after 1, 2, 4, ... steps, while the pace of the walk is not yet known; the engine of a layer changes only when the other
one is clearly cheaper.

Legend: G groups of all layers, g some of them, M group size.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import ClassVar

import torch
from torch import Tensor

from nmlab.trials.engines.checks import check_descent
from nmlab.trials.engines.engine import Draw, Engine, MaskKey
from nmlab.trials.engines.event.blocks import SUPERBLOCK
from nmlab.trials.engines.event.engine import EventEngine
from nmlab.trials.engines.event.rates import UNIT
from nmlab.trials.engines.layout import GroupLayout
from nmlab.trials.engines.linear import LinearEngine
from nmlab.trials.engines.logits import LogitStore
from nmlab.trials.masks import deviation

PERIOD = 64
# Costs of the event engine, in units of the linear engine's cost of a group a step: of a group that deviates (beyond
# what it costs the linear engine too), of a group whose window has ended, and of a hot group a step. Medians of 1:4 to
# 8:16 on one core, which lie between 5 and 8, 3 and 7, and 1.0 and 1.3.
DEVIATION, LOOK, HOT_STEP = 6.0, 4.5, 1.25
# A layer is delegated when the event engine costs more than the linear engine, and reclaimed when it costs clearly
# less: changing the engine costs as much as some twenty steps.
RETURN = 0.75
# A layer of fewer groups is updated as a whole in less time than it takes to find which groups to update.
SMALL = 2**11
# Groups of a layer, evenly spaced, from which its cost is estimated.
_PROBES = 2**14


class AdaptiveEngine(Engine):
    """An event engine that delegates layers with many deviating groups to linear engines on the same logits.

    Raises ``ValueError`` for patterns with N > 8, which the event engine does not support.
    """

    name: ClassVar[str] = "adaptive"

    def __init__(self, layout: GroupLayout, *, store: LogitStore) -> None:
        self.layout = layout
        self._store = store
        self._event = EventEngine(layout, store=store, empty=True)
        self._ends = list(accumulate((layout.pattern.groups(layer.numel) for layer in layout.layers), initial=0))
        self._linear: list[_Delegation] = []
        self._steps = 0
        # The last draw, and its part that belongs to the event engine.
        self._last: tuple[Draw, Draw] | None = None
        self._choose()

    def sample(self, key: MaskKey) -> Draw:
        drawn = self._event.sample(key)
        if not self._linear:
            return drawn
        parts = [(0, drawn), *((delegation.rows.start, delegation.engine.sample(key)) for delegation in self._linear)]
        groups_g, order_g = torch.cat([part.groups_g + first for first, part in parts]).sort()
        draw = Draw(key, groups_g, torch.cat([part.masks_gM for _, part in parts])[order_g])
        self._last = draw, drawn
        return draw

    def descend(self, draws: Sequence[Draw], *, weights: Sequence[float], rate: float) -> Tensor:
        if self._linear:  # else the event engine gets the draws as they are and checks them
            known = self._last[0] if self._last is not None else None
            check_descent(draws, weights, rate, layout=self.layout, device=self._store.device, known=known)
        changed = [self._event.descend([self._cold(draw) for draw in draws], weights=weights, rate=rate)]
        for delegation in self._linear:
            parts = [_within(draw, delegation.rows) for draw in draws]
            changed_g = delegation.engine.descend(parts, weights=weights, rate=rate) + delegation.rows.start
            self._event.note_modes(changed_g)
            changed.append(changed_g)
        self._last = None
        self._steps += 1
        if self._steps % PERIOD == 0 or self._steps & (self._steps - 1) == 0:
            changed += self._choose()
        return changed[0] if len(changed) == 1 else torch.unique(torch.cat(changed))

    def mode(self, groups_g: Tensor | None = None) -> Tensor:
        return self._event.mode(groups_g)

    def logits(self) -> Tensor:
        logits_GM = self._event.logits()
        for delegation in self._linear:
            logits_GM[delegation.rows] = delegation.engine.logits()
        return logits_GM

    def state(self) -> dict[str, Tensor]:
        return {**self._event.state(), "steps": torch.tensor(self._steps)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self._event.load_state(state)
        self._steps = int(state["steps"])
        self._last = None
        self._delegate()

    @property
    def state_bytes(self) -> int:
        # The linear engines' logits are those of the event engine, so they are counted once.
        return self._event.state_bytes + sum(
            delegation.engine.state_bytes - delegation.store.nbytes for delegation in self._linear
        )

    @property
    def linear_layers(self) -> list[str]:
        """Names of the layers that linear engines hold."""
        return [layer.name for delegation in self._linear for layer in delegation.engine.layout.layers]

    def _choose(self) -> list[Tensor]:
        """Compare the costs of every layer, and delegate or reclaim those for which the other engine is cheaper.

        Returns groups whose modes changed, because the store rounds.
        """
        changed = []
        for layer, delegated in enumerate(list(self._event.delegated)):
            price = self._price(layer)
            if delegated and price < RETURN:
                self._event.reclaim(layer)
            elif not delegated and price > 1:
                changed.append(self._event.release(layer))
        self._delegate()
        return changed

    def _price(self, layer: int) -> float:
        """Return the cost of a step of the event engine for a layer, in steps of the linear engine."""
        rows = slice(*self._ends[layer : layer + 2])
        if rows.stop - rows.start < SMALL:
            return math.inf
        if self.layout.pattern.n == self.layout.pattern.m:
            return 0.0
        return self._price_of_stored(rows) if self._event.delegated[layer] else self._price_of_watched(layer)

    def _price_of_stored(self, rows: slice) -> float:
        probe_g = torch.arange(rows.start, rows.stop, self._stride(rows), device=self._store.device)
        logits_gM, mode_gM = self._store.read(probe_g), self._event.mode(probe_g)
        return float(self._prices(deviation.probability(logits_gM, mode_gM, n=self.layout.pattern.n)).mean())

    def _price_of_watched(self, layer: int) -> float:
        watch, groups = self._event.watch, self._ends[layer + 1] - self._ends[layer]
        blocks = watch.blocks.layer_blocks(layer)
        first = blocks.start * SUPERBLOCK
        bound_g = watch.rates.bound_S[first : first + groups : self._stride(slice(0, groups))]
        # Hot groups have no bound and count as free here.
        hot = self._event.hot.by_layer()[layer]
        return float(self._prices(bound_g.double() * UNIT).mean()) + HOT_STEP * hot / groups

    def _prices(self, q_g: Tensor) -> Tensor:
        """Return the cost of a step of the event engine for groups that deviate with probability ``q_g``; [g]."""
        windows, history = self._event.watch.windows, self._event.history
        cold_g = q_g * DEVIATION + windows.looks(q_g, history) * LOOK
        return cold_g.masked_fill_(q_g > windows.hottest(history), HOT_STEP)

    def _stride(self, rows: slice) -> int:
        groups: int = rows.stop - rows.start
        return max(1, groups // _PROBES)

    def _delegate(self) -> None:
        """Start a linear engine for every run of delegated layers; its state follows from the logits alone."""
        self._linear = []
        for delegated, run in groupby(range(len(self.layout.layers)), key=self._event.delegated.__getitem__):
            if delegated:
                self._linear.append(self._delegation(list(run)))

    def _delegation(self, run: Sequence[int]) -> "_Delegation":
        rows = slice(self._ends[run[0]], self._ends[run[-1] + 1])
        layout = GroupLayout([self.layout.layers[layer] for layer in run], pattern=self.layout.pattern)
        store = self._store.part(rows)
        return _Delegation(rows, store, LinearEngine(layout, store=store))

    def _cold(self, draw: Draw) -> Draw:
        """Return the part of a draw that belongs to the event engine."""
        if not self._linear:
            return draw
        if self._last is not None and draw is self._last[0]:
            return self._last[1]
        delegated_g = torch.zeros_like(draw.groups_g, dtype=torch.bool)
        for delegation in self._linear:
            delegated_g |= (draw.groups_g >= delegation.rows.start) & (draw.groups_g < delegation.rows.stop)
        return Draw(draw.key, draw.groups_g[~delegated_g], draw.masks_gM[~delegated_g])


@dataclass(frozen=True, slots=True)
class _Delegation:
    """The groups of consecutive layers that a linear engine holds, and the part of the logits that it works on."""

    rows: slice
    store: LogitStore
    engine: LinearEngine


def _within(draw: Draw, rows: slice) -> Draw:
    """Return the part of a draw within some rows, numbered from the first of them."""
    low, high = torch.searchsorted(draw.groups_g, draw.groups_g.new_tensor([rows.start, rows.stop])).tolist()
    return Draw(draw.key, draw.groups_g[low:high] - rows.start, draw.masks_gM[low:high])
