"""Features of the linear engine alone: its samplers, its pieces, its screen, and scores that are passed in."""

from functools import partial

import pytest
import torch
from scipy import stats

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import LinearEngine, MaskKey, initial_store, linear, store_of
from nmlab.trials.masks import deviation
from nmlab.trials.masks.plackett_luce import official_score, score
from nmlab.trials.masks.samplers import SAMPLERS
from nmlab.trials.masks.topn import check_mask

PATTERNS = ["1:4", "2:4", "2:8", "4:8", "8:16", "9:16"]
KINDS = ["float32", "bfloat16_delta"]


@pytest.fixture
def start(layout_of, logits_by_layer):
    def begin(pattern, *, spread=2.0, kind="float32", **options):
        layout = layout_of(pattern)
        store = store_of(layout, logits_by_layer(layout, spread=spread), kind=kind)
        return LinearEngine(layout, store=store, **options)

    return begin


def same(a, b):
    return torch.equal(a.groups_g, b.groups_g) and torch.equal(a.masks_gM, b.masks_gM)


def walk(engine):
    draws = []
    for step in range(4):
        pair = [engine.sample(MaskKey(0, step, index)) for index in range(2)]
        engine.descend(pair, weights=[0.3, -0.1 * step], rate=2.0)
        draws += pair
    return draws, engine.logits()


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_draws_valid_masks(start, pattern, sampler):
    engine = start(pattern, sampler=sampler)
    for step in range(3):
        for name, mask in engine.layout.split(engine.sample(MaskKey(0, step)).over(engine.mode())).items():
            check_mask(mask, engine.layout.pattern, name=name)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("pattern", ["2:4", "8:16", "9:16"])
@pytest.mark.parametrize(
    ("piece", "span", "numbers"),
    [pytest.param(23, 31, 2000, marks=pytest.mark.thorough), (100, 50, 5000), (1 << 20, 1 << 20, 1 << 22)],
)
def test_the_size_of_a_piece_changes_nothing(monkeypatch, start, sampler, pattern, piece, span, numbers):
    whole, whole_logits = walk(start(pattern, sampler=sampler))
    for name, value in {"_PIECE": piece, "_SPAN": span, "_MOVED_NUMBERS": numbers, "_TABLE_NUMBERS": numbers}.items():
        monkeypatch.setattr(linear, name, value)
    monkeypatch.setattr(deviation, "_TABLE_ELEMENTS", numbers)
    draws, logits = walk(start(pattern, sampler=sampler))
    assert all(same(a, b) for a, b in zip(whole, draws, strict=True))
    assert torch.equal(whole_logits, logits)


def test_the_samplers_are_two_distributions(layout_of):
    """For 1:2 with a gap of 1 the second is kept with probability 1 / (1 + e), with Gaussian noise Phi(-1 / sqrt 2)."""
    groups = 200_000
    layout = layout_of("1:2", groups=groups)
    logits_GM = torch.tensor([1.0, 0.0]).expand(groups, 2)
    shares = {"multinomial": 1 / (1 + 2.718281828459045), "gumbel_topk": 1 / (1 + 2.718281828459045)}
    shares["gaussian_topk"] = stats.norm.cdf(-1 / 2**0.5)
    assert shares.keys() == SAMPLERS.keys()
    for sampler, share in shares.items():
        engine = LinearEngine(layout, store=store_of(layout, logits_GM), sampler=sampler)
        second = len(engine.sample(MaskKey(0, 0)).groups_g)
        assert stats.binomtest(second, groups, share).pvalue > 1e-3


def test_beyond_n_8_multinomial_is_the_race(start):
    key = MaskKey(0, 1)
    assert same(start("9:16").sample(key), start("9:16", sampler="gumbel_topk").sample(key))
    assert not same(start("8:16").sample(key), start("8:16", sampler="gumbel_topk").sample(key))


@pytest.mark.parametrize("pattern", ["1:4", "2:4", "4:8", "8:16"])
def test_what_is_sampled_does_not_depend_on_the_bound(start, pattern):
    """Any bound that holds, and does not make a group race, gives the same masks: the screen saves work."""
    engine, unscreened = start(pattern, spread=16.0), start(pattern, spread=16.0)
    races_G = unscreened._bound_G >= unscreened._races
    assert 0 < int(races_G.sum()) < len(races_G)
    unscreened._bound_G.masked_fill_(~races_G, 0.999 * unscreened._races)
    for step in range(5):
        assert same(engine.sample(MaskKey(0, step)), unscreened.sample(MaskKey(0, step)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pattern", ["1:4", "2:4", "3:4", "4:8", "8:16"])
def test_the_bound_holds_along_a_walk(start, pattern, kind):
    engine = start(pattern, kind=kind)
    for step in range(20):
        engine.descend([engine.sample(MaskKey(0, step))], weights=[(-1.0) ** step * 0.7], rate=3.0)
        exact_G = deviation.probability(engine.logits(), engine.mode(), n=engine.layout.pattern.n)
        assert bool((engine._bound_G >= exact_G).all())


def test_an_official_score_moves_all_groups(start):
    """A score that is passed in gets whole masks: its values for modal groups count too."""
    engine = start("2:4", score=official_score, spread=6.0)
    before = engine.logits()
    draws = [engine.sample(MaskKey(0, 0, index)) for index in range(2)]
    gradient_GM = sum(
        weight * official_score(before, draw.over(engine.mode()))
        for weight, draw in zip([0.5, -2.0], draws, strict=True)
    )
    engine.descend(draws, weights=[0.5, -2.0], rate=3.0)
    torch.testing.assert_close(engine.logits(), before - 3.0 * gradient_GM, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pattern", ["2:4", "4:8"])
def test_the_exact_score_from_outside_is_the_engines_own(start, pattern):
    own, outside = start(pattern), start(pattern, score=partial(score, n=Pattern.parse(pattern).n))
    for step in range(5):
        for engine in (own, outside):
            engine.descend([engine.sample(MaskKey(0, step))], weights=[0.3], rate=2.0)
    torch.testing.assert_close(own.logits(), outside.logits(), rtol=0, atol=2e-5)


def test_steps_of_weight_zero_touch_nothing(start):
    engine = start("2:4")
    before = engine.logits()
    assert len(engine.descend([engine.sample(MaskKey(0, 0))], weights=[0.0], rate=50.0)) == 0
    assert torch.equal(engine.logits(), before)


def test_an_unknown_sampler_gives_the_nearest_name(start):
    with pytest.raises(ValueError, match="unknown sampler 'gumbel_top'; did you mean 'gumbel_topk'"):
        start("2:4", sampler="gumbel_top")


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_a_weight(layout_of, kind):
    """For 2:4: logits 4 or 2, the codes of the mode and of the initial mask 1/4 each, and the bound 1."""
    layout = layout_of("2:4", groups=1000)
    initial_GM = torch.tensor([True, False, False, True]).expand(1000, 4)
    engine = LinearEngine(layout, store=initial_store(layout, initial_GM, magnitude=10.0, kind=kind))
    assert engine.state_bytes == 4000 * ({"float32": 4, "bfloat16_delta": 2}[kind] + 1.5)
