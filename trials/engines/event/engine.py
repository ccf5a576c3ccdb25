"""The event engine: what a step costs grows with the groups that deviate from their mode, not with all groups.

A *cold* group is found when a point of a Poisson process falls on it (`rates`, `streams`) and passes a test against
its true rate; all others keep their mode and drift unseen (`drift`), within bounds that hold while they do (`windows`).
A *hot* group is looked at every step (`hot`). docs/engines.md says why this is exact.

Legend: G groups, M group size, N kept; g some groups, p points, a those of them that passed; h hot groups.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from nmlab.trials.engines.checks import check_descent
from nmlab.trials.engines.engine import Draw, Engine, MaskKey
from nmlab.trials.engines.event.drift import History
from nmlab.trials.engines.event.groups import PIECE, Arranged, Groups, pieces
from nmlab.trials.engines.event.rates import rate as rate_of
from nmlab.trials.engines.event.streams import Streams
from nmlab.trials.engines.event.watch import Watch
from nmlab.trials.engines.layout import GroupLayout
from nmlab.trials.engines.logits import LogitStore, Rows
from nmlab.trials.masks.deviation import LARGEST_N, Race, restore
from nmlab.trials.masks.plackett_luce import score


class _Standing(NamedTuple):
    """Some groups, ascending, and where they stand."""

    groups_g: Tensor
    now: Arranged
    race: Race


class EventEngine(Engine):
    """An engine for patterns with N <= 8 whose groups seldom deviate.

    Raises ``ValueError`` for a larger N.
    """

    name: ClassVar[str] = "event"

    def __init__(self, layout: GroupLayout, *, store: LogitStore) -> None:
        if layout.pattern.n > LARGEST_N:
            raise ValueError(f"engine 'event' at pattern {layout.pattern}: expected N <= {LARGEST_N}")
        self.layout = layout
        self._n = layout.pattern.n
        self._groups = Groups(store, pattern=layout.pattern)
        self._history = History(device=store.device)
        # Which layers another engine holds.
        self.away = [False] * len(layout.layers)
        # The last draw and its groups as they stand: what `descend` would find again.
        self._last: tuple[Draw, _Standing] | None = None
        self._begin_watch(hot_H=None)

    def sample(self, key: MaskKey) -> Draw:
        streams = Streams(key, self._watch.blocks.names)
        cold, masks_gM = self._draw_cold(streams)
        if len(self._watch.hot):
            groups_h, masks_hM = self._watch.hot.draw(streams, self._groups, n=self._n)
            groups_g, order_g = torch.cat([cold.groups_g, groups_h]).sort()
            return Draw(key, groups_g, torch.cat([masks_gM, masks_hM])[order_g])
        draw = Draw(key, cold.groups_g, masks_gM)
        self._last = draw, cold
        return draw

    def descend(self, draws: Sequence[Draw], *, weights: Sequence[float], rate: float) -> Tensor:
        known, device = self._last[0] if self._last is not None else None, self._groups.store.device
        check_descent(draws, weights, rate, layout=self.layout, device=device, known=known)
        changed_g = self._touch(draws, [-rate * weight for weight in weights])
        expired_g = self._watch.expired(self._history)
        if expired_g is not None:
            changed_g = torch.cat([changed_g, self._look_again(expired_g)]).sort().values
        self._watch.rates.sum_up()
        self._last = None
        return changed_g

    def mode(self, groups_g: Rows | None = None) -> Tensor:
        return self._groups.mode(groups_g)

    def logits(self) -> Tensor:
        now = (self._groups.current(rows, history=self._history) for rows in pieces(slice(0, self.layout.groups)))
        return torch.cat([restore(part.logits_Mg.float(), part.order_gM) for part in now])

    def state(self) -> dict[str, Tensor]:
        own = {"history": self._history.state(), "windows": self._watch.windows.ends_3B.clone()}
        lists = {"hot": self._watch.hot.groups_H.clone(), "away": torch.tensor(self.away)}
        return {**own, **lists, **self._groups.state()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self._groups.load_state(state)
        self._history.load_state(state["history"])
        self.away = state["away"].tolist()
        self._begin_watch(hot_H=state["hot"])
        self._watch.windows.ends_3B.copy_(state["windows"])
        self._watch.windows.measure()
        self._last = None

    @property
    def state_bytes(self) -> int:
        return self._groups.nbytes + self._watch.nbytes + self._history.nbytes

    def expected_touches(self) -> list[float]:
        """Return for every layer how many groups a step is expected to look at."""
        return self._watch.expected_touches()

    def release(self, layer: int) -> None:
        """Write a layer's groups as they stand and leave them, in the store, to another engine."""
        for rows in pieces(self._watch.blocks.layer_groups(layer)):
            groups_g = torch.arange(rows.start, rows.stop, device=self._groups.store.device)
            now = self._groups.current(rows, history=self._history)
            self._groups.write(groups_g, now, step=self._history.step)
        self.away[layer] = True
        self._watch.drop(layer)

    def adopt(self, layer: int) -> None:
        """Take back a layer's groups as they are in the store."""
        self.away[layer] = False
        for rows in pieces(self._watch.blocks.layer_groups(layer)):
            self._groups.refresh(rows, step=self._history.step)
            self._watch_stored(rows, hot_g=None)
        self._watch.rates.sum_up()

    def note_modes(self, groups_g: Tensor) -> None:
        """Find the modes of groups of released layers after the store was written to."""
        self._groups.find_modes(groups_g)

    def _begin_watch(self, *, hot_H: Tensor | None) -> None:
        """Bound all groups as they are stored; ``hot_H`` tells which are hot where that depends on the past."""
        device = self._groups.store.device
        self._watch = Watch(self.layout, device=device)
        hot_G = None if hot_H is None else torch.zeros(self.layout.groups, dtype=torch.bool, device=device)
        if hot_G is not None:
            hot_G[hot_H] = True
        here = [self._watch.blocks.layer_groups(layer) for layer, away in enumerate(self.away) if not away]
        for rows in (rows for layer_rows in here for rows in pieces(layer_rows)):
            self._watch_stored(rows, hot_g=None if hot_G is None else hot_G[rows])
        self._watch.rates.sum_up()

    def _watch_stored(self, rows: slice, *, hot_g: Tensor | None) -> None:
        if self._n == self.layout.pattern.m:
            return
        groups_g = torch.arange(rows.start, rows.stop, device=self._groups.store.device)
        q_g = self._groups.stored(rows).race(n=self._n).probability()
        self._watch.extend(groups_g, q_g, history=self._history, hot_g=hot_g)

    def _draw_cold(self, streams: Streams) -> tuple[_Standing, Tensor]:
        """Return the cold groups that deviate, and their masks [g, M] bool."""
        device, rates = self._groups.store.device, self._watch.rates
        shots = streams.shots(rates.edges, n=self._n)
        if len(shots.units_p) == 0:
            none_g = torch.empty(0, dtype=torch.int64, device=device)
            none_Mg = torch.empty(self.layout.pattern.m, 0, dtype=torch.float64, device=device)
            return _Standing(none_g, self._groups.stored(none_g), Race(none_Mg, self._n)), self.mode(none_g)
        points, uniform_pU = rates.locate(shots.units_p.to(device)), shots.uniform_pU.to(device)
        groups_p = self._watch.blocks.groups(points.slots_p)
        now = self._groups.current(groups_p, history=self._history)
        race = now.race(n=self._n)
        rate_p = rate_of(race.probability())
        assert bool((rate_p <= rates.bound_S.index_select(0, points.slots_p)).all()), "a bound does not hold"
        passed_a = (points.depth_p + uniform_pU[:, 0] < rate_p).nonzero().squeeze(1)
        # Several points on one group are one deviation: the first of them that passed draws the mask.
        groups_a = groups_p.index_select(0, passed_a)
        chosen_g = passed_a[groups_a != F.pad(groups_a[:-1], (1, 0), value=-1)]
        cold = _Standing(groups_p.index_select(0, chosen_g), now[chosen_g], race[chosen_g])
        return cold, restore(cold.race.draw(uniform_pU[chosen_g, 1:]), cold.now.order_gM)

    def _touch(self, draws: Sequence[Draw], sizes: Sequence[float]) -> Tensor:
        """Take the step with the groups that deviated and the hot ones; returns those whose mode changed."""
        touched = self._touched(draws)
        if touched is None:
            self._history.append(sum(sizes))
            return draws[0].groups_g[:0]
        moved = self._moved(touched, draws, sizes)
        self._history.append(sum(sizes))
        stored, changed_g = self._groups.write(touched.groups_g, moved, step=self._history.step)
        self._watch.renew(touched.groups_g, stored.race(n=self._n).probability(), history=self._history)
        return changed_g

    def _touched(self, draws: Sequence[Draw]) -> _Standing | None:
        """Return the groups that the step does not leave to drift, None if there is none."""
        touched_g = torch.cat([*(draw.groups_g for draw in draws), self._watch.hot.groups_H])
        if len(touched_g) == 0:
            return None
        if self._last is not None and len(draws) == 1 and draws[0] is self._last[0]:
            return self._last[1]
        touched_g = torch.unique(touched_g)
        now = self._groups.current(touched_g, history=self._history)
        return _Standing(touched_g, now, now.race(n=self._n))

    def _moved(self, touched: _Standing, draws: Sequence[Draw], sizes: Sequence[float]) -> Arranged:
        """Return where the step takes the touched groups."""
        now, mode_score_Mg = touched.now, touched.race.mode_score()
        logits_Mg = now.logits_Mg + mode_score_Mg * sum(sizes)
        for draw, size in zip(draws, sizes, strict=True):
            if len(draw.groups_g) == len(touched.groups_g):
                logits_Mg.add_(self._score(now, draw.masks_gM).sub_(mode_score_Mg), alpha=size)
                continue
            rows_g = torch.searchsorted(touched.groups_g, draw.groups_g)
            change_Mg = self._score(now[rows_g], draw.masks_gM).sub_(mode_score_Mg.index_select(1, rows_g))
            logits_Mg.index_add_(1, rows_g, change_Mg, alpha=size)
        return Arranged(logits_Mg, now.order_gM)

    def _score(self, now: Arranged, masks_gM: Tensor) -> Tensor:
        """The score of masks, arranged; [M, g]."""
        return score(now.logits_Mg.t(), masks_gM.gather(1, now.order_gM), n=self._n).t()

    def _look_again(self, groups_g: Tensor) -> Tensor:
        """Write and watch cold groups whose bounds may no longer hold.

        Returns those whose mode changed: within its window no group's does, but one step may leap out of it.
        """
        changed = [groups_g[:0]]
        for part_g in torch.split(groups_g, PIECE):
            now = self._groups.current(part_g, history=self._history)
            stored, changed_g = self._groups.write(part_g, now, step=self._history.step)
            self._watch.extend(part_g, stored.race(n=self._n).probability(), history=self._history)
            changed.append(changed_g)
        return torch.cat(changed)
