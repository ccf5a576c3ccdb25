"""The event engine: what a step costs grows with the groups that deviate from their mode, not with all groups.

A *cold* group deviates when a point of a Poisson process falls on it (`rates`, `streams`) and passes a test against its
true rate. All other cold groups keep their mode: they are not read, and their logits drift by a known formula (`drift`)
while the upper bounds of their rates hold (`windows`). A *hot* group is drawn in every step (`hot`).

Why the draws are exact: the points on a group are a Poisson process at the bound of its rate, and each passes with
probability rate / bound, so the points that pass are a Poisson process at the true rate -log(1 - q). At least one
passes with probability q, the probability that the group deviates, independently of all other groups. The mask is then
drawn given the deviation. docs/engines.md has the proof with all bounds.

An example: pattern 1:2, one layer "q" of three groups, C = 4, seed 29, learning rate 0.2; rates in units of 2^-35.
Groups 0 and 2 keep their first weight, group 1 its second. Each deviates with q = 1 / (1 + e^4) = 0.017986, which is a
rate of 0.018150. The bound, which allows for 0.02 nats of drift, is 0.018676 or 641,686,161 units. The three groups own
1,925,058,483 units, on which a step draws 0.0560 points on average.

* Step 0 draws no point: all groups keep their mode, and none is read. Its weight is 0.5, so S = -0.2 * 0.5 = -0.1 and
  A = -0.1, B = 0.01. None is written; group 0, if it were read now, would have the logits (3.998201, 0.001799).
* Step 1 draws one point, at unit 1,114,110,161: 472,424,000 units into those of group 1. With A and B its current
  logits are (0.001799, 3.998201), so q = 0.018050 and its rate is 625,853,807 units. The point passes, because
  472,424,000 is less, and group 1 keeps its first weight in this mask. The weight of the mask is -1, so S = 0.2 and
  A = 0.1, B = 0.05. Group 1 moves by S times the score of its mask, (1 - q, q - 1), and is written as
  (0.198189, 3.801811) with the stamp 2. Groups 0 and 2 are still stored as at the start; read now, group 0 has the
  logits (4.001812, -0.001811).

Legend: G groups, M group size, N kept; g some groups, p points, a those of them that passed; h hot groups that deviate,
by their places in the list of hot ones, H.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from nmlab.trials.engines.checks import check_descent
from nmlab.trials.engines.engine import Draw, Engine, MaskKey
from nmlab.trials.engines.event.drift import DriftHistory
from nmlab.trials.engines.event.groups import Arranged, Groups, piece, pieces
from nmlab.trials.engines.event.hot import HotGroups
from nmlab.trials.engines.event.rates import rate as rate_of
from nmlab.trials.engines.event.streams import Streams
from nmlab.trials.engines.event.watch import Watch
from nmlab.trials.engines.layout import GroupLayout
from nmlab.trials.engines.logits import LogitStore, Rows
from nmlab.trials.masks.deviation import LARGEST_N, Race, restore

# Every so many steps hot groups become cold whose deviation probability is below this share of the threshold.
_COOLING_STEPS, _COOLED = 16, 0.5


class _CurrentGroups(NamedTuple):
    """Some cold groups, ascending, with their current logits and the race of their items."""

    groups_g: Tensor
    now: Arranged
    race: Race


class _Parts(NamedTuple):
    """A draw, split into its cold and its hot groups."""

    cold_g: Tensor
    cold_gM: Tensor
    hot_h: Tensor
    hot_hM: Tensor


class _Remembered(NamedTuple):
    """The last draw, with intermediate results that `descend` needs."""

    draw: Draw
    parts: _Parts
    cold: _CurrentGroups


class EventEngine(Engine):
    """An engine for patterns with N <= 8 whose groups seldom deviate.

    Args:
        layout: the layers and the pattern.
        store: the logits; the engine changes them, and works on their device.
        empty: start with all layers delegated to another engine.

    Raises ``ValueError`` for a larger N.
    """

    name: ClassVar[str] = "event"

    def __init__(self, layout: GroupLayout, *, store: LogitStore, empty: bool = False) -> None:
        if layout.pattern.n > LARGEST_N:
            raise ValueError(f"engine 'event' at pattern {layout.pattern}: expected N <= {LARGEST_N}")
        self.layout = layout
        self._n = layout.pattern.n
        self._groups = Groups(store, pattern=layout.pattern)
        self.history = DriftHistory(device=store.device)
        # Which layers another engine holds.
        self.delegated = [empty] * len(layout.layers)
        self._last: _Remembered | None = None
        self._begin_watch()

    def sample(self, key: MaskKey) -> Draw:
        streams = Streams(key, self.watch.blocks.names)
        cold, cold_gM = self._draw_cold(streams)
        if len(self.hot):
            hot_h, hot_hM = self.hot.draw(streams)
            groups_g, order_g = torch.cat([cold.groups_g, self.hot.groups_H[hot_h]]).sort()
            draw = Draw(key, groups_g, torch.cat([cold_gM, hot_hM])[order_g])
        else:
            hot_h, hot_hM = cold.groups_g[:0], cold_gM[:0]
            draw = Draw(key, cold.groups_g, cold_gM)
        self._last = _Remembered(draw, _Parts(cold.groups_g, cold_gM, hot_h, hot_hM), cold)
        return draw

    def descend(self, draws: Sequence[Draw], *, weights: Sequence[float], rate: float) -> Tensor:
        known, device = self._last.draw if self._last is not None else None, self._groups.store.device
        check_descent(draws, weights, rate, layout=self.layout, device=device, known=known)
        sizes = [-rate * weight for weight in weights]
        parts = [self._parts(draw) for draw in draws]
        if len(self.hot):
            self.hot.move([(part.hot_h, part.hot_hM) for part in parts], sizes)
        changed = [self._move_cold(draws, parts, sizes)]
        expired_g = self.watch.expired(self.history, self._groups.stamp_G)
        if expired_g is not None:
            changed += [self._bound_again(part_g) for part_g in torch.split(expired_g, piece(device))]
        if self.hot.joins or len(self.hot):
            changed.append(self.hot.settle())
            if self.history.step % _COOLING_STEPS == 0:
                self._cool_hot_groups()
        self.watch.rates.sum_up()
        self._last = None
        return torch.cat(changed).sort().values if len(changed) > 1 else changed[0]

    def mode(self, groups_g: Rows | None = None) -> Tensor:
        return self._groups.mode(groups_g)

    def logits(self) -> Tensor:
        every = pieces(slice(0, self.layout.groups), self._groups.store.device)
        now = (self._groups.current(rows, history=self.history) for rows in every)
        logits_GM = torch.cat([restore(part.logits_Mg.float(), part.order_gM) for part in now])
        logits_GM[self.hot.groups_H] = self.hot.logits()
        return logits_GM

    def state(self) -> dict[str, Tensor]:
        own = {"history": self.history.state(), "away": torch.tensor(self.delegated)}
        # Stored logits of hot groups are out of date, so their modes do not follow from them.
        hot_H = self.hot.groups_H
        hot = {"hot": hot_H, "hot_modes": self._groups.mode(hot_H), "hot_logits": self.hot.logits_MH}
        return {**own, **hot, **self._groups.state()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        if missing := sorted({"history", "away", "hot", "hot_modes", "hot_logits"} - state.keys()):
            raise ValueError(f"state of engine 'event': no {', '.join(missing)}; another version may have written it")
        self._groups.load_state(state)
        self.history.load_state(state["history"])
        self.delegated = state["away"].tolist()
        device = self._groups.store.device
        self._groups.put_modes(state["hot"].to(device), state["hot_modes"].to(device))
        self._begin_watch(hot_H=state["hot"].to(device), hot_MH=state["hot_logits"].to(device))
        self._last = None

    @property
    def state_bytes(self) -> int:
        return self._groups.nbytes + self.watch.nbytes + self.hot.nbytes + self.history.nbytes

    def delegate(self, layer: int) -> Tensor:
        """Write a layer's groups to the store and leave them to another engine, until ``reclaim``.

        Returns those whose mode changed because the store rounds, int64 ascending.
        """
        rows = self.watch.blocks.layer_groups(layer)
        hot_h, hot = self.hot.take(self.hot.among(rows))
        is_cold_g = torch.ones(rows.stop - rows.start, dtype=torch.bool, device=hot_h.device)
        is_cold_g[hot_h - rows.start] = False
        for cold_g in torch.split(is_cold_g.nonzero().squeeze(1) + rows.start, piece(hot_h.device)):
            self._groups.write(cold_g, self._groups.current(cold_g, history=self.history), step=self.history.step)
        _, changed_g = self._groups.write(hot_h, hot, step=self.history.step)
        self.delegated[layer] = True
        self.watch.drop(layer)
        return changed_g

    def reclaim(self, layer: int) -> None:
        """Take over a layer's groups from another engine, as they are in the store."""
        self.delegated[layer] = False
        for rows in pieces(self.watch.blocks.layer_groups(layer), self._groups.store.device):
            self._groups.refresh(rows, step=self.history.step)
            self._watch_stored(rows)
        self.hot.settle()
        self.watch.rates.sum_up()

    def note_modes(self, groups_g: Tensor) -> None:
        """Update the modes of groups of delegated layers after the store was written to."""
        self._groups.find_modes(groups_g)

    def _begin_watch(self, *, hot_H: Tensor | None = None, hot_MH: Tensor | None = None) -> None:
        """Bound all groups as they are stored; ``hot_H`` are the hot groups where a checkpoint gives them."""
        device = self._groups.store.device
        self.watch = Watch(self.layout, device=device)
        self.hot = HotGroups(self._groups, self.watch.blocks.first_group, n=self._n, m=self.layout.pattern.m)
        is_hot_G = None
        if hot_H is not None and hot_MH is not None:
            self.hot.join(hot_H, hot_MH)
            is_hot_G = torch.zeros(self.layout.groups, dtype=torch.bool, device=device)
            is_hot_G[hot_H] = True
        here = [
            self.watch.blocks.layer_groups(layer) for layer, delegated in enumerate(self.delegated) if not delegated
        ]
        for rows in (rows for layer_rows in here for rows in pieces(layer_rows, device)):
            self._watch_stored(rows, is_hot_g=None if is_hot_G is None else is_hot_G[rows])
        self.hot.settle()
        self.watch.rates.sum_up()

    def _watch_stored(self, rows: slice, *, is_hot_g: Tensor | None = None) -> None:
        """Bound groups as they are stored, except those that are hot: by ``is_hot_g``, or else by their probability."""
        if self._n == self.layout.pattern.m:
            return
        groups_g = torch.arange(rows.start, rows.stop, device=self._groups.store.device)
        stored, sums = self._groups.stored(rows), self.history.at(self._groups.stamp_G[rows])
        if is_hot_g is None:
            self._watch(groups_g, stored, sums=sums)
        else:
            self.watch.bound(groups_g, stored.race(n=self._n).probability().masked_fill_(is_hot_g, 0.0), sums=sums)

    def _watch(self, groups_g: Tensor, stored: Arranged, *, sums: tuple[Tensor | float, Tensor | float]) -> None:
        """Bound groups with the logits ``stored`` as of the sums A and B; those that deviate too often become hot."""
        q_g = stored.race(n=self._n).probability()
        hot_h = (q_g > self.watch.windows.hottest(self.history)).nonzero().squeeze(1)
        if len(hot_h):
            self.hot.join(groups_g.index_select(0, hot_h), stored.logits_Mg.index_select(1, hot_h))
            q_g.index_fill_(0, hot_h, 0.0)
        self.watch.bound(groups_g, q_g, sums=sums)

    def _draw_cold(self, streams: Streams) -> tuple[_CurrentGroups, Tensor]:
        """Return the cold groups that deviate, and their masks [g, M] bool."""
        device, rates = self._groups.store.device, self.watch.rates
        drawn = streams.poisson_points(rates.edges, n=self._n)
        if len(drawn.units_p) == 0:
            none_g = torch.empty(0, dtype=torch.int64, device=device)
            return self._current(none_g), self.mode(none_g)
        points, uniform_pU = rates.locate(drawn.units_p.to(device)), drawn.uniform_pU.to(device)
        groups_p = self.watch.blocks.groups(points.slots_p)
        now = self._groups.current(groups_p, history=self.history)
        race = now.race(n=self._n)
        rate_p = rate_of(race.probability())
        assert bool((rate_p <= rates.bound_S.index_select(0, points.slots_p)).all()), "a bound does not hold"
        passed_a = (points.depth_p + uniform_pU[:, 0] < rate_p).nonzero().squeeze(1)
        # Several points on one group are one deviation: the first of them that passes the test draws the mask.
        groups_a = groups_p.index_select(0, passed_a)
        chosen_g = passed_a[groups_a != F.pad(groups_a[:-1], (1, 0), value=-1)]
        cold = _CurrentGroups(groups_p.index_select(0, chosen_g), now[chosen_g], race[chosen_g])
        return cold, restore(cold.race.draw(uniform_pU[chosen_g, 1:]), cold.now.order_gM)

    def _parts(self, draw: Draw) -> _Parts:
        if self._last is not None and draw is self._last.draw:
            return self._last.parts
        is_hot_g, hot_h = self.hot.find(draw.groups_g)
        return _Parts(draw.groups_g[~is_hot_g], draw.masks_gM[~is_hot_g], hot_h, draw.masks_gM[is_hot_g])

    def _move_cold(self, draws: Sequence[Draw], parts: Sequence[_Parts], sizes: Sequence[float]) -> Tensor:
        """Move the cold groups that deviated and record the step; return those whose mode changed."""
        if self._last is not None and len(draws) == 1 and draws[0] is self._last.draw:
            touched = self._last.cold
        else:
            touched = self._current(torch.unique(torch.cat([part.cold_g for part in parts])))
        if len(touched.groups_g) == 0:
            self.history.append(sum(sizes))
            return touched.groups_g
        moved = self._moved(touched, parts, sizes)
        self.history.append(sum(sizes))
        return self._write_and_bound(touched.groups_g, moved)

    def _current(self, groups_g: Tensor) -> _CurrentGroups:
        now = self._groups.current(groups_g, history=self.history)
        # With N = M there are no dropped items to race against, but then nothing deviates either.
        return _CurrentGroups(groups_g, now, now.race(n=self._n) if len(groups_g) else Race(now.logits_Mg, self._n))

    def _moved(self, touched: _CurrentGroups, parts: Sequence[_Parts], sizes: Sequence[float]) -> Arranged:
        """Return the logits of the touched groups after the step."""
        now, mode_score_Mg = touched.now, touched.race.mode_score()
        logits_Mg = now.logits_Mg + mode_score_Mg * sum(sizes)
        for part, size in zip(parts, sizes, strict=True):
            if len(part.cold_g) == len(touched.groups_g):
                logits_Mg.add_(now.score(part.cold_gM, n=self._n).sub_(mode_score_Mg), alpha=size)
                continue
            rows_g = torch.searchsorted(touched.groups_g, part.cold_g)
            change_Mg = now[rows_g].score(part.cold_gM, n=self._n).sub_(mode_score_Mg.index_select(1, rows_g))
            logits_Mg.index_add_(1, rows_g, change_Mg, alpha=size)
        return Arranged(logits_Mg, now.order_gM)

    def _bound_again(self, groups_g: Tensor) -> Tensor:
        """Write cold groups whose bounds may no longer hold, and bound them again.

        Returns those whose mode changed: within its window no mode changes, but one step may leave the window.
        """
        return self._write_and_bound(groups_g, self._groups.current(groups_g, history=self.history))

    def _write_and_bound(self, groups_g: Tensor, logits: Arranged) -> Tensor:
        """Write groups with their current logits and bound them; return those whose mode changed."""
        stored, changed_g = self._groups.write(groups_g, logits, step=self.history.step)
        self._watch(groups_g, stored, sums=(self.history.first, self.history.second))
        return changed_g

    def _cool_hot_groups(self) -> None:
        """Turn hot groups that have cooled down into cold ones."""
        groups_h, now = self.hot.take(self.hot.q_H < _COOLED * self.watch.windows.hottest(self.history))
        if len(groups_h) == 0:
            return
        # At such rates no rounding changes a mode, nor makes a group hot again.
        stored, _ = self._groups.write(groups_h, now, step=self.history.step)
        q_h = stored.race(n=self._n).probability()
        self.watch.bound(groups_h, q_h, sums=(self.history.first, self.history.second))
