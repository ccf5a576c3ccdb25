"""The adaptive engine: for each layer the cheaper of two, `event` where few groups deviate, `linear` where many do.

The choice depends on the layer's own state and on the steps that were taken, never on timing or on other layers, so
every pipeline stage that holds a layer makes the same one. The costs of a layer (`layer_costs`) are compared every
`COMPARE_EVERY` steps, and after 1, 2, 4, ... steps, while the pace of the walk is not yet known.

Each layer is in one of two states (`Holder`). All begin delegated: LINEAR -> EVENT when the event engine *reclaims* a
layer, EVENT -> LINEAR when it writes the layer to the store and *delegates* it; `next_holder` decides.

Legend: G groups of all layers, g some of them, M group size.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate, groupby
from typing import ClassVar

import torch
from torch import Tensor

from nmlab.trials.engines.checks import check_descent
from nmlab.trials.engines.engine import Draw, Engine, MaskKey
from nmlab.trials.engines.event.engine import EventEngine
from nmlab.trials.engines.layer_costs import LayerCosts
from nmlab.trials.engines.layout import GroupLayout
from nmlab.trials.engines.linear import LinearEngine
from nmlab.trials.engines.logits import LogitStore

COMPARE_EVERY = 64
# A layer of fewer groups is updated as a whole in less time than it takes to find which groups to update.
SMALL_LAYER_GROUPS = 2**11
# Changing the engine of a layer costs as much as some twenty steps, so a layer returns only where that clearly pays.
RECLAIM_BELOW = 0.75


class Holder(Enum):
    """The engine that holds a layer."""

    EVENT = "event"
    LINEAR = "linear"


def next_holder(now: Holder, *, cost: float) -> Holder:
    """Return which engine is to hold a layer; ``cost`` is that of the event engine, in steps of the linear one.

    EVENT -> LINEAR (delegate) where ``cost`` > 1, LINEAR -> EVENT (reclaim) where ``cost`` < ``RECLAIM_BELOW``.
    """
    if now is Holder.EVENT:
        return Holder.LINEAR if cost > 1 else now
    return Holder.EVENT if cost < RECLAIM_BELOW else now


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
        self._costs = LayerCosts(self._event, store=store)
        self._linear: list[_Delegation] = []
        self._steps = 0
        # The last draw, and its part that belongs to the event engine.
        self._last: tuple[Draw, Draw] | None = None
        self._compare_costs()

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
        changed = [self._event.descend([self._event_part(draw) for draw in draws], weights=weights, rate=rate)]
        for delegation in self._linear:
            parts = [_within(draw, delegation.rows) for draw in draws]
            changed_g = delegation.engine.descend(parts, weights=weights, rate=rate) + delegation.rows.start
            self._event.note_modes(changed_g)
            changed.append(changed_g)
        self._last = None
        self._steps += 1
        if self._steps % COMPARE_EVERY == 0 or self._steps & (self._steps - 1) == 0:
            changed += self._compare_costs()
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
        self._start_linear()

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

    def _compare_costs(self) -> list[Tensor]:
        """Compare the costs of every layer, and move those to the other engine for which that one is cheaper.

        Returns groups whose modes changed, because the store rounds.
        """
        changed = []
        for layer in range(len(self.layout.layers)):
            now = self._holder(layer)
            after = next_holder(now, cost=self._cost(layer))
            if (now, after) == (Holder.EVENT, Holder.LINEAR):
                changed.append(self._event.delegate(layer))
            elif (now, after) == (Holder.LINEAR, Holder.EVENT):
                self._event.reclaim(layer)
        self._start_linear()
        return changed

    def _holder(self, layer: int) -> Holder:
        return Holder.LINEAR if self._event.delegated[layer] else Holder.EVENT

    def _cost(self, layer: int) -> float:
        """Return the cost of a step of the event engine for a layer, in steps of the linear engine."""
        rows = slice(*self._ends[layer : layer + 2])
        groups = rows.stop - rows.start
        if groups < SMALL_LAYER_GROUPS:
            return math.inf
        if self.layout.pattern.n == self.layout.pattern.m:
            return 0.0
        if self._holder(layer) is Holder.LINEAR:
            return self._costs.of_delegated(rows)
        return self._costs.of_watched(layer, groups=groups)

    def _start_linear(self) -> None:
        """Start a linear engine for every run of delegated layers; its state follows from the logits alone."""
        runs = groupby(range(len(self.layout.layers)), key=self._holder)
        self._linear = [self._delegation(list(run)) for holder, run in runs if holder is Holder.LINEAR]

    def _delegation(self, run: Sequence[int]) -> "_Delegation":
        rows = slice(self._ends[run[0]], self._ends[run[-1] + 1])
        layout = GroupLayout([self.layout.layers[layer] for layer in run], pattern=self.layout.pattern)
        store = self._store.part(rows)
        return _Delegation(rows, store, LinearEngine(layout, store=store))

    def _event_part(self, draw: Draw) -> Draw:
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
