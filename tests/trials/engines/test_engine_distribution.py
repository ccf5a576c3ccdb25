"""Every engine samples Plackett-Luce sets: chi-square against brute force, or mask by mask as one that does."""

import math
from functools import cache, lru_cache
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import LinearEngine, MaskKey, store_of
from nmlab.trials.masks.codes import encode
from nmlab.trials.masks.plackett_luce import log_prob, reference

PATTERNS = ["1:4", "2:4", "2:8", "4:8", "8:16", "3:4", "1:2", "2:32"]
FAMILIES = {
    "flat": lambda n, m: [0.0] * m,
    "cold": lambda n, m: [10.0] * n + [0.0] * (m - n),
    "colder": lambda n, m: [16.0] * n + [0.0] * (m - n),
    "generic": lambda n, m: [2.0 * math.sin(5.0 * k + 1.0) for k in range(m)],
    "ramp": lambda n, m: [12.0 * k / m for k in range(m)],
    "hot": lambda n, m: [10.0 + 0.5 * k for k in range(n)] + [9.8 - 3.0 * k for k in range(m - n)],
}
# Masks drawn of each group: half as many where groups are wide, and slow to draw. A race does the same for every
# pattern, so it gets two of them.
NAMES, RACED = ["linear", "event", "linear-racing"], ["2:4", "8:16"]
DRAWS, WIDE_DRAWS = 24, 12


def marks_of(text, family):
    """Every family at two patterns, every pattern of the battery for one family, the rest thoroughly."""
    if text in ("2:4", "4:8"):
        return []
    return [pytest.mark.slow] if family == "generic" else [pytest.mark.thorough]


CASES = [
    pytest.param(text, family, name, marks=marks_of(text, family))
    for text in PATTERNS
    for family in FAMILIES
    for name in NAMES
    if name != "linear-racing" or text in RACED
]
# Bonferroni: a false alarm in one of a hundred runs of the whole battery of one engine, if seeds were not fixed.
LIMIT = 0.01 / (len(PATTERNS) * len(FAMILIES))
GROUPS = 10_000


@lru_cache(maxsize=1)
def permuted(logits, groups):
    """Return the same logits in another order in every group, [G, M], and the order: items of group g at order[g]."""
    order_GM = torch.rand(groups, len(logits), generator=torch.Generator().manual_seed(1)).argsort(1)
    return torch.empty(groups, len(logits)).scatter_(1, order_GM, torch.tensor(logits).expand(groups, -1)), order_GM


def family_logits(family, text):
    pattern = Pattern.parse(text)
    return tuple(FAMILIES[family](pattern.n, pattern.m))


def count_sets(engine, order_GM, code_S, *, draws):
    """How often each set of items was drawn in all groups and draws."""
    mode_GM = engine.mode()
    masks = (engine.sample(MaskKey(3, step)).over(mode_GM) for step in range(draws))
    drawn, times = torch.cat([encode(mask_GM.gather(1, order_GM)) for mask_GM in masks]).unique(return_counts=True)
    observed_S = torch.zeros(len(code_S), dtype=torch.int64)
    sorted_S, place_S = code_S.sort()
    row = torch.searchsorted(sorted_S, drawn)
    assert torch.equal(sorted_S[row], drawn)  # nothing but sets of N items
    observed_S[place_S[row]] = times
    return observed_S.numpy()


@cache
def set_probabilities(logits, n):
    """Codes and probabilities of all N-subsets: dynamic programming over subsets in logs, independent of the engines.

    In parts, as it holds 2^N numbers a set.
    """
    mask_SM = torch.zeros(math.comb(len(logits), n), len(logits), dtype=torch.bool)
    for row, kept in enumerate(combinations(range(len(logits)), n)):
        mask_SM[row, list(kept)] = True
    row_M = torch.tensor(logits, dtype=torch.float64)
    parts = [reference.log_prob(row_M.expand(len(mask), -1), mask) for mask in mask_SM.split(2000)]
    return encode(mask_SM), torch.cat(parts).exp()


def chi_square_p(observed, expected):
    """p-value after merging all cells expected fewer than five times; None if no more than one is left."""
    rare = expected < 5
    cells = np.append(observed[~rare], observed[rare].sum()), np.append(expected[~rare], expected[rare].sum())
    if cells[1][-1] < 5:  # what is left over joins the largest cell
        largest = cells[1][:-1].argmax()
        cells = tuple(np.append(np.delete(cell[:-1], largest), cell[largest] + cell[-1]) for cell in cells)
    if len(cells[0]) < 2:
        return None
    return stats.chisquare(cells[0], cells[1] * (cells[0].sum() / cells[1].sum())).pvalue


@pytest.mark.parametrize(("text", "family", "name"), CASES)
def test_sets_follow_plackett_luce(start_engine, layout_of, text, family, name):
    logits_GM, order_GM = permuted(family_logits(family, text), GROUPS)
    engine = start_engine(name, layout_of(text, groups=GROUPS), logits_GM)
    held = tuple(engine.logits().gather(1, order_GM)[0].tolist())
    code_S, probability_S = set_probabilities(held, Pattern.parse(text).n)
    assert float(probability_S.sum()) == pytest.approx(1.0, abs=1e-9)
    draws = DRAWS if len(held) <= 8 else WIDE_DRAWS
    observed, total = count_sets(engine, order_GM, code_S, draws=draws), GROUPS * draws
    assert observed.sum() == total
    p = chi_square_p(observed, probability_S.numpy() * total)
    if p is None:  # one set is all but certain: the others are rare enough to be Poisson
        mode = int(probability_S.argmax())
        low, high = stats.poisson.interval(1 - LIMIT, total * float(probability_S.sum() - probability_S[mode]))
        assert low <= total - observed[mode] <= high
    else:
        assert p > LIMIT


def kept_probability(logits, n):
    """Probability of each item to be among the first N of the race, by one integral over its arrival time."""
    weights = np.exp(np.array(logits) - max(logits))

    def arrives_in_time(log_time, item):
        rung = -np.expm1(-np.delete(weights, item) * math.exp(log_time))
        before = np.zeros(n)  # probability that so many others arrived before it
        before[0] = 1.0
        for p in rung:
            before[1:], before[0] = before[1:] * (1 - p) + before[:-1] * p, before[0] * (1 - p)
        rate = weights[item] * math.exp(log_time)
        return rate * math.exp(-rate) * before.sum()

    return [integrate.quad(arrives_in_time, -30, 30, args=(item,), limit=200)[0] for item in range(len(weights))]


@pytest.mark.parametrize("text", ["16:32", "9:16", pytest.param("12:16", marks=pytest.mark.thorough)])
@pytest.mark.parametrize("family", ["generic", pytest.param("ramp", marks=pytest.mark.thorough)])
def test_beyond_n_8_every_item_is_kept_as_often_as_it_should(start_engine, layout_of, text, family):
    """Too many sets to list: the share of draws that keep an item, and that keep the mode. All engines race here."""
    pattern = Pattern.parse(text)
    logits_GM, order_GM = permuted(family_logits(family, text), 20_000)
    engine = start_engine("linear", layout_of(text, groups=20_000), logits_GM)
    held = engine.logits().gather(1, order_GM)[0].tolist()
    mode_GM, total = engine.mode(), 4 * 20_000
    draws = [engine.sample(MaskKey(3, step)) for step in range(4)]
    kept = sum(draw.over(mode_GM).gather(1, order_GM).sum(0) for draw in draws)
    tests = [
        stats.binomtest(int(k), total, p).pvalue for k, p in zip(kept, kept_probability(held, pattern.n), strict=True)
    ]
    stays = float(log_prob(torch.tensor([held]).double(), mode_GM.gather(1, order_GM)[:1], n=pattern.n).exp())
    tests.append(stats.binomtest(total - sum(len(draw.groups_g) for draw in draws), total, stays).pvalue)
    assert min(tests) > 0.01 / (6 * len(tests))


@pytest.mark.parametrize("text", ["2:4", "8:16"])
@pytest.mark.parametrize("name", NAMES)
def test_neither_groups_nor_draws_are_correlated(start_engine, layout_of, name, text):
    """Deviations of neighbouring groups, and of one group in two draws, occur together as often as by chance."""
    n, m = Pattern.parse(text).n, Pattern.parse(text).m
    logits_GM, _ = permuted((5.0,) * n + (0.0,) * (m - n), 50_000)
    engine = start_engine(name, layout_of(text, groups=50_000), logits_GM)
    delegated = torch.zeros(9, 50_000, dtype=torch.long)
    for step in range(8):
        delegated[step, engine.sample(MaskKey(4, step)).groups_g] = 1
    delegated[8, engine.sample(MaskKey(4, 0, 1)).groups_g] = 1
    pairs = {
        "groups": (delegated[:, :-1], delegated[:, 1:]),
        "steps": (delegated[:7], delegated[1:8]),
        "masks": (delegated[0], delegated[8]),
    }
    for one, other in pairs.values():
        table = torch.bincount((2 * one + other).flatten(), minlength=4).view(2, 2)
        assert stats.chi2_contingency(table.numpy()).pvalue > 1e-3


@pytest.mark.parametrize("text", ["1:4", "2:4", "4:8", "8:16"])
@pytest.mark.parametrize("family", ["cold", "hot"])
def test_the_adaptive_engine_draws_what_one_of_its_two_engines_draws(start_engine, layout_of, text, family):
    logits_GM, _ = permuted(family_logits(family, text), 4000)
    whole, delegated = (start_engine(name, layout_of(text, groups=4000), logits_GM) for name in ("adaptive", "linear"))
    other = delegated if whole.linear_layers else start_engine("event", layout_of(text, groups=4000), logits_GM)
    assert bool(whole.linear_layers) == (family == "hot")
    for step in range(3):
        ours, theirs = (engine.sample(MaskKey(0, step)) for engine in (whole, other))
        assert torch.equal(ours.groups_g, theirs.groups_g)
        assert torch.equal(ours.masks_gM, theirs.masks_gM)


def _assert_same_masks(ours, theirs):
    for step in range(3):
        one, other = (engine.sample(MaskKey(0, step)) for engine in (ours, theirs))
        assert len(one.groups_g)
        assert torch.equal(one.groups_g, other.groups_g)
        assert torch.equal(one.masks_gM, other.masks_gM)


@pytest.mark.parametrize("text", [*PATTERNS, "16:32"])
@pytest.mark.parametrize("family", ["generic", "ramp"])
def test_the_reference_draws_what_the_linear_engine_races_for(start_engine, layout_of, text, family):
    logits_GM, _ = permuted(family_logits(family, text), 2000)
    layout = layout_of(text, groups=2000)
    _assert_same_masks(*(start_engine(name, layout, logits_GM) for name in ("reference", "linear-racing")))


@pytest.mark.parametrize("text", [*PATTERNS, "16:32"])
@pytest.mark.parametrize("family", ["generic", "hot"])
def test_a_store_that_rounds_draws_what_the_logits_that_it_holds_draw(start_engine, layout_of, text, family):
    logits_GM, _ = permuted(family_logits(family, text), 2000)
    layout = layout_of(text, groups=2000)
    rounded = start_engine("linear-bfloat16", layout, logits_GM)
    held_GM = rounded.logits()
    assert not torch.equal(held_GM, logits_GM)
    _assert_same_masks(rounded, LinearEngine(layout, store=store_of(layout, held_GM)))
