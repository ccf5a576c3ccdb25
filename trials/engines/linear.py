"""The linear engine: each step reads a few bytes of every group to sample, and all of it to move.

Sampling takes one uniform u a group and is a screened inversion: with q the probability that a group deviates from its
mode, the group deviates where u < q. An upper bound of q, kept from the last move, decides this for all groups with u
at or above it without reading their logits; q itself and the mask given a deviation are computed for the others. Groups
whose bound is so high that this would cost more than a race are sampled by a race of all their items. So are all groups
for N > 8 and for the other samplers.

Moving uses the score of the mode for all groups, in a closed form, and the score of the sampled mask in float64 for the
groups that deviate.

Legend: G groups of all layers, g some of them, t those that a draw changes, M group size, N kept.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from nmlab.trials.engines.checks import check_descent
from nmlab.trials.engines.engine import Draw, Engine, MaskKey
from nmlab.trials.engines.layout import GroupLayout
from nmlab.trials.engines.logits import LogitStore
from nmlab.trials.masks import deviation
from nmlab.trials.masks.codes import decode, decode_columns, encode, kept_positions
from nmlab.trials.masks.layout import columns
from nmlab.trials.masks.plackett_luce import score as exact_score
from nmlab.trials.masks.plackett_luce.modal import LARGEST_N, deviation_bound, may_have_changed, modal_score
from nmlab.trials.masks.randomness import keyed_generator
from nmlab.trials.masks.samplers import find_sampler
from nmlab.trials.masks.topn import topn

# Gradient of log p(mask) with respect to the logits: (logits [g, M], mask [g, M]) -> [g, M].
Score = Callable[[Tensor, Tensor], Tensor]

# Groups sampled at a time, and groups whose few deviations are gathered at a time. No result depends on them.
_PIECE = 2**15
_SPAN = 2**20
# The bound from which on a group races: up to N = 4, and beyond, where the mask given a deviation costs 4 microseconds.
# The draws of a key depend on it.
_RACES, _RACES_BEYOND_4 = 1 / 4, 1 / 8
# Sizes of an [M, g] array, and of a table of 2^N subsets, that leave room for a few others in the cache.
_MOVED_NUMBERS, _TABLE_NUMBERS = 2**17, 2**18


class LinearEngine(Engine):
    """An engine that holds logits, modal masks as codes, and an upper bound of each group's deviation probability.

    Args:
        layout: the layers and the pattern.
        store: the logits; the engine changes them, and works on their device.
        sampler: a name of `samplers.SAMPLERS`.
        score: another gradient than the exact one, called for all groups.

    Raises ``ValueError`` for an unknown sampler.
    """

    name = "linear"

    def __init__(
        self, layout: GroupLayout, *, store: LogitStore, sampler: str = "multinomial", score: Score | None = None
    ) -> None:
        n, m = layout.pattern.n, layout.pattern.m
        self.layout = layout
        self._screens = sampler == "multinomial" and n <= deviation.LARGEST_N
        # Without screening, drawing without replacement is done by a race too.
        self._sampler = find_sampler("gumbel_topk" if sampler == "multinomial" else sampler)
        self._races = _RACES if n <= 4 else _RACES_BEYOND_4
        self._score = score or (None if n <= LARGEST_N else partial(exact_score, n=n))
        self._moved_groups = min(_MOVED_NUMBERS // m, _TABLE_NUMBERS >> min(n, LARGEST_N))
        self._store = store
        self._mode_G = store.initial_G.clone()
        self._bound_G = torch.zeros(layout.groups, device=store.device)
        self._derive()

    def sample(self, key: MaskKey) -> Draw:
        if self.layout.pattern.n == self.layout.pattern.m:
            return self._draw(key, [])
        return self._draw(key, list(self._deviating(key) if self._screens else self._raced(key)))

    def descend(self, draws: Sequence[Draw], *, weights: Sequence[float], rate: float) -> Tensor:
        check_descent(draws, weights, rate, layout=self.layout, device=self._store.device)
        if self.layout.pattern.n == self.layout.pattern.m or not any(rate * weight for weight in weights):
            return self._none()
        for span in _cut(slice(0, self.layout.groups), _SPAN):
            if self._score is None:
                self._move(span, draws, weights=weights, rate=rate)
            else:
                for rows in _cut(span, self._moved_groups):
                    self._move_by(self._score, rows, draws, weights=weights, rate=rate)
        return self._rerank()

    def mode(self, groups_g: Tensor | None = None) -> Tensor:
        return decode(self._mode_G if groups_g is None else self._mode_G[groups_g], self.layout.pattern.m)

    def logits(self) -> Tensor:
        return self._store.read(slice(None)).clone()

    def state(self) -> dict[str, Tensor]:
        return self._store.state(copied=False)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self._store.load_state(state)
        self._derive()

    @property
    def state_bytes(self) -> int:
        return self._store.nbytes + self._mode_G.nbytes + self._bound_G.nbytes

    def _derive(self) -> None:
        """Find modes and bounds from the logits alone."""
        for rows in _cut(slice(0, self.layout.groups), _PIECE):
            self._mode_G[rows] = encode(topn(self._store.read(rows), self.layout.pattern))
            self._bound(rows)

    def _bound(self, rows: slice | Tensor) -> None:
        if self.layout.pattern.n < self.layout.pattern.m:
            kept_Mg = decode_columns(self._mode_G[rows], self.layout.pattern.m)
            logits_Mg = columns(self._store.read(rows))
            self._bound_G[rows] = deviation_bound(logits_Mg, kept_Mg, n=self.layout.pattern.n)

    # Sampling

    def _deviating(self, key: MaskKey) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield groups that deviate and their masks: those that raced, and then the others, each in ascending order.

        A layer's stream holds a uniform for each of its groups, M numbers for each that races, and then N uniforms for
        each of the others that deviates.
        """
        generators, race = self._generators(key), find_sampler("gumbel_topk")
        possible_g, uniform_g, raced_g = self._screened(generators)
        for part_g in torch.split(raced_g, _PIECE):
            noise_gM = self._numbers(part_g, generators, draw=race.noise, width=self.layout.pattern.m)
            yield self._unlike_mode(part_g, race.mask(self._store.read(part_g), noise_gM, self.layout.pattern.n))
        for part_g, part_uniform_g in zip(torch.split(possible_g, _PIECE), torch.split(uniform_g, _PIECE), strict=True):
            logits_gM, mode_gM = self._store.read(part_g), self.mode(part_g)
            deviates_g = part_uniform_g < deviation.probability(logits_gM, mode_gM, n=self.layout.pattern.n)
            found_g = part_g[deviates_g]
            uniform_gN = self._numbers(found_g, generators, draw="random", width=self.layout.pattern.n)
            yield found_g, deviation.draw(logits_gM[deviates_g], mode_gM[deviates_g], uniform_gN)

    def _screened(self, generators: Mapping[str, np.random.Generator]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the groups whose uniform is below their bound, these uniforms, and the groups that race."""
        found, uniforms, raced = [self._none()], [self._bound_G.new_empty(0, dtype=torch.float64)], [self._none()]
        buffer_g = torch.empty(min(_PIECE, self.layout.groups), dtype=torch.float64)
        for rows, layers in self.layout.pieces(_PIECE):
            for name, within in layers:
                generators[name].random(out=buffer_g[within].numpy())
            uniform_g, bound_g = buffer_g[: rows.stop - rows.start].to(self._bound_G.device), self._bound_G[rows]
            races_g = bound_g >= self._races
            below_g = ((uniform_g < bound_g) & ~races_g).nonzero().squeeze(1)
            found.append(below_g + rows.start)
            uniforms.append(uniform_g[below_g])
            raced.append(races_g.nonzero().squeeze(1) + rows.start)
        return torch.cat(found), torch.cat(uniforms), torch.cat(raced)

    def _numbers(
        self, groups_g: Tensor, generators: Mapping[str, np.random.Generator], *, draw: str, width: int
    ) -> Tensor:
        """Return random numbers for each group, from the streams of their layers; [g, width] float64."""
        drawn = [
            torch.from_numpy(getattr(generators[name], draw)(size=(which.stop - which.start, width)))
            for name, which, _ in self.layout.parts(groups_g)
        ]
        return torch.cat([torch.empty(0, width, dtype=torch.float64), *drawn]).to(groups_g.device)

    def _unlike_mode(self, groups_g: Tensor, masks_gM: Tensor) -> tuple[Tensor, Tensor]:
        """Return those of some groups whose masks are not their modes, and these masks."""
        other_g = (encode(masks_gM) != self._mode_G[groups_g]).nonzero().squeeze(1)
        return groups_g[other_g], masks_gM[other_g]

    def _raced(self, key: MaskKey) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield groups whose mask is not the mode and their masks, from noise for every item of every group."""
        n, m = self.layout.pattern.n, self.layout.pattern.m
        generators = self._generators(key)
        noise_gK = torch.empty(_PIECE, self._sampler.width(n, m), dtype=torch.float64)
        for rows, layers in self.layout.pieces(_PIECE):
            for name, within in layers:
                self._sampler.fill(noise_gK[within], generators[name])
            part_gK = noise_gK[: rows.stop - rows.start].to(self._store.device)
            groups_g = torch.arange(rows.start, rows.stop, device=self._store.device)
            yield self._unlike_mode(groups_g, self._sampler.mask(self._store.read(rows), part_gK, n))

    def _generators(self, key: MaskKey) -> dict[str, np.random.Generator]:
        return {layer.name: keyed_generator(key.seed, key.step, layer.name, key.index) for layer in self.layout.layers}

    def _draw(self, key: MaskKey, parts: list[tuple[Tensor, Tensor]]) -> Draw:
        none_gM = torch.empty(0, self.layout.pattern.m, dtype=torch.bool, device=self._store.device)
        groups_g = torch.cat([self._none(), *(groups_g for groups_g, _ in parts)])
        masks_gM = torch.cat([none_gM, *(masks_gM for _, masks_gM in parts)])
        if bool((groups_g.diff() < 0).any()):
            groups_g, order_g = groups_g.sort()
            masks_gM = masks_gM[order_g]
        return Draw(key, groups_g, masks_gM)

    def _none(self) -> Tensor:
        return torch.empty(0, dtype=torch.int64, device=self._store.device)

    # Moving

    def _move(self, span: slice, draws: Sequence[Draw], *, weights: Sequence[float], rate: float) -> None:
        """Move all groups of a span along the exact score."""
        touched_t, moved_tM = self._moved(span, draws, weights=weights, rate=rate)
        for rows in _cut(span, self._moved_groups):
            self._move_modal(rows, rate=rate * sum(weights))
        if len(touched_t):
            self._store.write(touched_t, moved_tM)
            self._bound(touched_t)

    def _move_modal(self, rows: slice, *, rate: float) -> None:
        """Move groups as if every draw were their mode."""
        code_g, pattern = self._mode_G[rows], self.layout.pattern
        kept_Mg, logits_Mg = decode_columns(code_g, pattern.m), self._store.read_columns(rows)
        positions_Ng = kept_positions(code_g, pattern) if pattern.n > 2 else None
        logits_Mg.sub_(modal_score(logits_Mg, kept_Mg, n=pattern.n, positions_Ng=positions_Ng), alpha=rate)
        held_Mg = self._store.write_columns(rows, logits_Mg)
        self._bound_G[rows] = deviation_bound(held_Mg, kept_Mg, n=pattern.n)

    def _moved(
        self, span: slice, draws: Sequence[Draw], *, weights: Sequence[float], rate: float
    ) -> tuple[Tensor, Tensor]:
        """Return the groups of the span that any draw changes, and their moved logits, [t, M], computed in float64."""
        parts = [_within(draw, span) for draw in draws]
        touched_t = parts[0][0] if len(parts) == 1 else torch.unique(torch.cat([groups_t for groups_t, _ in parts]))
        logits_tM, mode_tM = self._store.read(touched_t).double(), self.mode(touched_t)
        moved_tM = logits_tM.clone()
        for (groups_g, masks_gM), weight in zip(parts, weights, strict=True):
            mask_tM = mode_tM.clone()
            mask_tM[torch.searchsorted(touched_t, groups_g)] = masks_gM
            moved_tM.sub_(exact_score(logits_tM, mask_tM, n=self.layout.pattern.n), alpha=rate * weight)
        return touched_t, moved_tM

    def _move_by(
        self, score: Score, rows: slice, draws: Sequence[Draw], *, weights: Sequence[float], rate: float
    ) -> None:
        """Move groups along a score that is called with whole masks."""
        logits_gM, mode_gM = self._store.read(rows), decode(self._mode_G[rows], self.layout.pattern.m)
        gradient_gM = torch.zeros_like(logits_gM)
        for draw, weight in zip(draws, weights, strict=True):
            groups_g, masks_gM = _within(draw, rows)
            mask_gM = mode_gM.clone()
            mask_gM[groups_g - rows.start] = masks_gM
            gradient_gM.add_(score(logits_gM, mask_gM), alpha=weight)
        self._store.write(rows, logits_gM.sub(gradient_gM, alpha=rate))
        self._bound(rows)

    def _rerank(self) -> Tensor:
        """Update the modes where the bounds do not rule out a change; return the groups whose mode changed."""
        found = [self._none()]
        for rows in _cut(slice(0, self.layout.groups), _SPAN):
            suspect_g = may_have_changed(self._bound_G[rows], n=self.layout.pattern.n).nonzero().squeeze(1) + rows.start
            for part_g in torch.split(suspect_g, _PIECE):
                code_g = encode(topn(self._store.read(part_g), self.layout.pattern))
                differs_g = code_g != self._mode_G[part_g]
                found.append(part_g[differs_g])
                self._mode_G[found[-1]] = code_g[differs_g]
        changed_g = torch.cat(found)
        if len(changed_g):
            self._bound(changed_g)
        return changed_g


def _cut(rows: slice, groups: int) -> Iterator[slice]:
    for start in range(rows.start, rows.stop, groups):
        yield slice(start, min(start + groups, rows.stop))


def _within(draw: Draw, rows: slice) -> tuple[Tensor, Tensor]:
    """Return the part of a draw that changes these rows: groups (numbered as in the draw) and masks."""
    ends_2 = torch.tensor([rows.start, rows.stop], device=draw.groups_g.device)
    low, high = torch.searchsorted(draw.groups_g, ends_2).tolist()
    return draw.groups_g[low:high], draw.masks_gM[low:high]
