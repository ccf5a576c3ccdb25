"""The event engine's masks follow the law of its logits: where these stand still, and while they drift.

While logits drift, no two steps share a law, so the test is one of a martingale: given all that happened before a step,
a group deviates with the probability q of its logits as they stand, so the sum of (deviates - q) over groups and steps
has mean zero and a variance of at most the sum of q (1 - q), whatever moved the logits.
"""

import math
from itertools import combinations

import pytest
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import GroupLayout
from nmlab.trials.engines.engine import MaskKey
from nmlab.trials.engines.event import EventEngine
from nmlab.trials.engines.event.windows import HOT
from nmlab.trials.engines.logits import store_of
from nmlab.trials.masks import deviation
from nmlab.trials.masks.deviation import arrange, kept_first
from nmlab.trials.masks.plackett_luce import log_prob
from nmlab.trials.models import PrunableLayer

# Bins of q: rare, seldom, about to turn hot, hot.
EDGES = [0.0, 1e-3, HOT / 2, HOT, 1.0]


def engine_of(text, *, groups, leads, seed=0):
    """Start an engine of two layers whose groups' kept items lead unequally, within the range ``leads``."""
    pattern, generator = Pattern.parse(text), torch.Generator().manual_seed(seed)
    layers = [PrunableLayer("a", 0, groups // 4, pattern.m), PrunableLayer("b", 0, groups - groups // 4, pattern.m)]
    layout = GroupLayout(layers, pattern=pattern)
    kept_GM = torch.rand(groups, pattern.m, generator=generator).argsort(1) < pattern.n
    lead_G1 = torch.linspace(*leads, groups)[torch.randperm(groups, generator=generator)].unsqueeze(1)
    logits_GM = lead_G1 * kept_GM + 0.3 * torch.randn(groups, pattern.m, generator=generator)
    return EventEngine(layout, store=store_of(layout, logits_GM))


def all_masks(pattern):
    """Return every mask but that of the first N items, [K, M]: those that an arranged group can deviate to."""
    kept = list(combinations(range(pattern.m), pattern.n))[1:]
    return torch.tensor([[k in items for k in range(pattern.m)] for items in kept])


class Tally:
    """Deviations observed and expected, by bins of q and, given that a group deviates, by mask."""

    def __init__(self, pattern):
        self.pattern = pattern
        self.counts = torch.zeros(3, len(EDGES) - 1, dtype=torch.float64)
        # Beyond 2:8 there are too many masks to count one by one.
        self.masks_KM = all_masks(pattern) if pattern.mask_count <= 28 else None
        self.chosen = None if self.masks_KM is None else torch.zeros(3, len(self.masks_KM), dtype=torch.float64)
        self._held_GM, self._law = None, ()

    def add(self, engine, draw):
        mode_GM, logits_GM = engine.mode(), engine.logits()
        if self._held_GM is None or not torch.equal(logits_GM, self._held_GM):
            self._held_GM, self._law = logits_GM, self._law_of(logits_GM, mode_GM)
        q_G, bin_G, sums = self._law
        seen = torch.bincount(bin_G[draw.groups_g], minlength=len(EDGES) - 1).double()
        self.counts += torch.stack([seen, *sums])
        if self.chosen is not None and len(draw.groups_g):
            self._add_chosen(logits_GM[draw.groups_g], mode_GM[draw.groups_g], draw.masks_gM, q_G[draw.groups_g])

    def _law_of(self, logits_GM, mode_GM):
        """Return q and bin of each group, and by bin the sums of q and of q (1 - q)."""
        q_G = deviation.probability(logits_GM, mode_GM, n=self.pattern.n)
        bin_G = torch.bucketize(q_G, q_G.new_tensor(EDGES[1:-1]))
        weights = (q_G, q_G * (1 - q_G))
        return q_G, bin_G, [torch.bincount(bin_G, weights=w_G, minlength=len(EDGES) - 1) for w_G in weights]

    def _add_chosen(self, logits_gM, mode_gM, masks_gM, q_g):
        order_gM, choices = kept_first(mode_gM), len(self.masks_KM)
        arranged_gM = arrange(logits_gM.double(), order_gM).t()
        every_gM = arranged_gM.repeat_interleave(choices, dim=0)
        law_gK = log_prob(every_gM, self.masks_KM.repeat(len(q_g), 1)).exp().view(-1, choices) / q_g.unsqueeze(1)
        seen_gK = (arrange(masks_gM, order_gM).t().unsqueeze(1) == self.masks_KM).all(2)
        assert (seen_gK.sum(1) == 1).all()  # never the mode
        self.chosen += torch.stack([seen_gK.sum(0), law_gK.sum(0), (law_gK * (1 - law_gK)).sum(0)])

    def check(self, *, at_least):
        """Every number within 4.5 standard deviations: one false alarm in 1e5 numbers."""
        seen, expected, variance = self.counts
        assert (expected >= at_least).all(), f"too little power: {expected.tolist()}"
        assert_normal(seen, expected, variance)
        if self.chosen is not None:
            often_K = self.chosen[1] >= at_least
            assert often_K.sum() >= 3
            assert_normal(*self.chosen[:, often_K])


def assert_normal(seen, expected, variance):
    z = (seen - expected) / variance.sqrt()
    assert (z.abs() < 4.5).all(), f"z {z.tolist()} where {expected.tolist()} were expected"


@pytest.mark.parametrize(
    ("text", "leads"),
    [
        ("2:4", (3.0, 10.8)),
        pytest.param("1:4", (3.0, 10.8), marks=pytest.mark.thorough),
        pytest.param("2:8", (4.0, 11.8), marks=pytest.mark.thorough),
        pytest.param("4:8", (4.0, 11.8), marks=pytest.mark.slow),
        pytest.param("8:16", (5.0, 12.8), marks=pytest.mark.thorough),
    ],
)
@pytest.mark.parametrize("size", [0.0, 0.7])
def test_deviations_are_as_many_as_the_logits_say(text, leads, size):
    """At ``size`` 0.7 the step's weights are prescribed, not learned: a walk in the sum of which cold groups drift."""
    engine, tally = engine_of(text, groups=3000, leads=leads), Tally(Pattern.parse(text))
    moved = 0.0
    for step in range(150):
        draw = engine.sample(MaskKey(1, step))
        tally.add(engine, draw)
        moved += size * (math.sin(step / 7) + 0.5)
        engine.descend([draw], weights=[size * (math.sin(step / 7) + 0.5)], rate=1.0)
    assert size == 0 or moved > 40
    tally.check(at_least=25)
