"""What every engine guarantees beside its distribution: keys, pipeline stages, state, steps, and what it refuses."""

import math

import pytest
import safetensors.torch
import torch

from nmlab.trials.engines import Draw, MaskKey, ReferenceEngine
from nmlab.trials.masks.codes import encode
from nmlab.trials.masks.topn import check_mask, topn

# Scores in closed form for N of 1 and of 2, by tables of subsets up to 8, and beyond; codes of one, two and four bytes.
NARROW, WIDE = ["1:4", "2:4", "4:8"], ["8:16", "2:32", "16:32"]
PATTERNS = [*NARROW, *(pytest.param(text, marks=pytest.mark.slow) for text in WIDE)]
STAGES = [
    ("2:4", 2),
    *((text, 4) for text in NARROW),
    *(pytest.param(text, 4, marks=pytest.mark.slow) for text in WIDE),
]
EDGES = ["1:1", "4:4", "32:32"]
LAYER_NAMES = ["blocks.0.q", "blocks.0.up", "blocks.1.q", "blocks.1.up"]


@pytest.fixture
def start(make, layout_of, logits_by_layer):
    """start("2:4") makes an engine of four small layers with generic logits."""

    def begin(pattern, *, kept=slice(None), spread=2.0):
        layout = layout_of(pattern)
        layout = layout_of(pattern, layers=layout.layers[kept])
        return make(layout, logits_by_layer(layout, spread=spread))

    return begin


def check_draw(draw, engine):
    groups_g = draw.groups_g
    assert groups_g.dtype == torch.int64
    assert bool((groups_g.diff() > 0).all())
    assert draw.masks_gM.dtype == torch.bool
    check_mask(draw.masks_gM, engine.layout.pattern)
    assert not torch.equal(draw.masks_gM, engine.mode(groups_g)) or not len(groups_g)
    assert bool((draw.masks_gM != engine.mode(groups_g)).any(1).all())


def same(a, b):
    return torch.equal(a.groups_g, b.groups_g) and torch.equal(a.masks_gM, b.masks_gM)


def walk(engine, *, steps=range(3), rate=2.0):
    """Steps of two masks each; returns every whole mask, the modes and the final logits, by layer."""
    seen = []
    for step in steps:
        pair = [engine.sample(MaskKey(11, step, index)) for index in range(2)]
        seen += [draw.over(engine.mode()) for draw in pair]
        engine.descend(pair, weights=[0.3, -0.1 * step], rate=rate)
    seen += [engine.mode(), engine.logits()]
    return {name: [engine.layout.split(tensor)[name] for tensor in seen] for name in engine.layout.split(seen[0])}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_draw_is_its_difference_from_the_mode(start, pattern):
    engine = start(pattern)
    for step in range(3):
        draw = engine.sample(MaskKey(0, step))
        assert len(draw.groups_g)
        check_draw(draw, engine)
        check_mask(draw.over(engine.mode()), engine.layout.pattern)


@pytest.mark.parametrize("pattern", EDGES)
def test_with_nothing_to_drop_nothing_deviates_and_nothing_moves(start, pattern):
    engine = start(pattern)
    before = engine.logits()
    draw = engine.sample(MaskKey(0, 0))
    assert len(draw.groups_g) == 0
    assert bool(engine.mode().all())
    assert len(engine.descend([draw], weights=[3.0], rate=10.0)) == 0
    assert torch.equal(engine.logits(), before)


def test_masks_belong_to_their_keys(start):
    keys = [MaskKey(seed, step, index) for seed in (0, 1) for step in (0, 5) for index in (0, 1)]
    draws = [start("2:4").sample(key) for key in keys]
    assert not any(same(a, b) for i, a in enumerate(draws) for b in draws[:i])
    engine = start("2:4")
    for number in (5, 0, 7, 0, 3):  # whatever was drawn in between
        assert same(engine.sample(keys[number]), draws[number])
        assert same(engine.sample(MaskKey.from_bytes(keys[number].to_bytes())), draws[number])


def test_layers_of_one_shape_draw_different_masks(start):
    engine = start("2:4", spread=0.0)
    masks = engine.layout.split(engine.sample(MaskKey(0, 0)).over(engine.mode()))
    assert not torch.equal(masks["blocks.0.up"], masks["blocks.1.up"])


@pytest.mark.parametrize(("pattern", "stages"), STAGES)
def test_stages_learn_bit_for_bit_what_the_whole_learns(start, pattern, stages):
    """Workers hold some of the layers each; nothing that happens to a layer may depend on other layers."""
    whole, parts = walk(start(pattern)), {}
    for first in range(0, 4, 4 // stages):
        parts |= walk(start(pattern, kept=slice(first, first + 4 // stages)))
    assert parts.keys() == whole.keys()
    for name, tensors in whole.items():
        assert all(torch.equal(a, b) for a, b in zip(tensors, parts[name], strict=True)), name


@pytest.mark.parametrize("pattern", [*PATTERNS, "4:4"])
def test_an_engine_goes_on_from_its_state_bit_for_bit(start, pattern):
    undisturbed, before, after = start(pattern), start(pattern), start(pattern)
    walk(undisturbed, steps=range(3))
    walk(before, steps=range(3))
    saved = safetensors.torch.load(safetensors.torch.save(before.state()))
    walk(before, steps=range(3, 5))  # later steps must not change the saved state
    after.load_state(saved)
    assert torch.equal(after.logits(), undisturbed.logits())
    expected, found = (walk(engine, steps=range(3, 6)) for engine in (undisturbed, after))
    for name, tensors in expected.items():
        assert all(torch.equal(a, b) for a, b in zip(tensors, found[name], strict=True)), name


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("spread", [0.5, 4.0])
def test_a_step_is_that_of_float64(make, start, pattern, spread):
    """Each of three steps of three masks, from the logits that the engine held before it."""
    engine = start(pattern, spread=spread)
    for step in range(3):
        held = engine.logits()
        exact = ReferenceEngine(engine.layout, logits_GM=held, dtype=torch.float64)
        draws = [engine.sample(MaskKey(0, step, index)) for index in range(3)]
        for one in (engine, exact):
            one.descend(draws, weights=[0.5, -2.0, 0.25], rate=3.0)
        wanted = exact.wide_logits()
        # The score in float32 is exact to a few units of its largest component; the sum is rounded once.
        largest = torch.maximum(wanted.abs(), held.abs()) + 3.0 * 2.75
        assert bool(((engine.logits() - wanted).abs() <= 8 * make.rounding * largest).all())
        assert float((wanted - held).abs().max()) > 0.1


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_step_returns_the_groups_whose_mode_changed(start, pattern):
    engine, changes = start(pattern, spread=1.0), 0
    for step in range(6):
        before = engine.mode()
        changed_g = engine.descend([engine.sample(MaskKey(1, step))], weights=[(-1.0) ** step], rate=1.5)
        assert torch.equal(changed_g, (engine.mode() != before).any(1).nonzero().squeeze(1))
        assert torch.equal(engine.mode(), topn(engine.logits(), engine.layout.pattern))
        assert torch.equal(engine.mode(changed_g), engine.mode()[changed_g])
        changes += len(changed_g)
    assert changes > 0


def test_a_step_from_keys_is_the_step_from_their_masks(start):
    one, other = start("4:8"), start("4:8")
    keys = [MaskKey(5, 2, index) for index in range(3)]
    one.descend([one.sample(key) for key in keys], weights=[0.1, 0.4, -0.3], rate=2.0)
    other.descend_from_keys(list(zip(keys, [0.1, 0.4, -0.3], strict=True)), rate=2.0)
    assert torch.equal(one.logits(), other.logits())


def test_a_good_mask_becomes_the_most_probable(start):
    engine = start("2:4", spread=0.1)
    wanted = engine.sample(MaskKey(0, 0)).over(engine.mode())
    for _ in range(50):
        other_g = (wanted != engine.mode()).any(1).nonzero().squeeze(1)
        engine.descend([Draw(MaskKey(0, 0), other_g, wanted[other_g])], weights=[-1.0], rate=0.5)
    assert torch.equal(engine.mode(), wanted)


@pytest.mark.parametrize("weight", [1e3, -1e3])
@pytest.mark.parametrize("pattern", ["1:4", "2:4", "4:8"])
def test_enormous_steps_leave_finite_logits_and_valid_masks(start, pattern, weight):
    engine = start(pattern)
    for step in range(4):
        draw = engine.sample(MaskKey(0, step))
        check_draw(draw, engine)
        engine.descend([draw], weights=[weight], rate=1e3)
    assert bool(torch.isfinite(engine.logits()).all())
    assert torch.equal(engine.mode(), topn(engine.logits(), engine.layout.pattern))


def test_logits_are_a_copy(start):
    engine = start("2:4")
    before = engine.logits()
    engine.logits().zero_()
    assert torch.equal(engine.logits(), before)
    assert engine.logits().dtype == torch.float32
    assert engine.state_bytes >= 2 * before.numel()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_are_refused_with_their_layer(make, layout_of, logits_by_layer, bad):
    layout = layout_of("2:4")
    logits_GM = logits_by_layer(layout)
    layout.split(logits_GM)["blocks.1.q"][3, 9] = bad
    with pytest.raises(ValueError, match=rf"logits of blocks\.1\.q: {bad} at row 3, column 9"):
        make(layout, logits_GM)


@pytest.mark.parametrize("shape", [(5, 4), (4,), (1, 1)])
def test_logits_of_another_shape_are_refused(make, layout_of, shape):
    with pytest.raises(ValueError, match=r"logits: shape .* expected \(\d+, 4\) for 4 layers"):
        make(layout_of("2:4"), torch.zeros(shape))


def _draw(groups, masks=((True, False, False, True),), *, dtype=torch.int64, device=None):
    masks_gM = torch.tensor(masks).expand(len(groups), -1)
    return Draw(MaskKey(0, 0), torch.tensor(groups, dtype=dtype, device=device), masks_gM)


BAD_STEPS = {
    "no draw": ([], [], "0 draws and 0 weights"),
    "a weight too many": ([_draw([1])], [1.0, 2.0], "1 draws and 2 weights"),
    "a weight that is no number": ([_draw([1])], [math.nan], "expected finite numbers"),
    "an infinite weight": ([_draw([1]), _draw([2])], [1.0, math.inf], "expected finite numbers"),
    "not N of M": ([_draw([3], ((True, True, True, False),))], [1.0], "masks of draw 0: row 0, group 0 keeps 3 of 4"),
    "wrong M": ([_draw([3], ((True, True, False),))], [1.0], r"draw 0: groups .* masks \(1, 3\)"),
    "descending": ([_draw([1]), _draw([4, 3])], [1.0, 1.0], "groups of draw 1: expected strictly ascending"),
    "repeated": ([_draw([4, 4])], [1.0], "groups of draw 0: expected strictly ascending"),
    "negative": ([_draw([-1])], [1.0], "expected strictly ascending numbers from 0"),
    "out of range": ([_draw([10**6])], [1.0], "expected strictly ascending numbers from 0"),
    "wrong dtype": ([_draw([1], dtype=torch.int32)], [1.0], "expected torch.int64"),
    "wrong device": ([_draw([1], device="meta")], [1.0], "groups of draw 0: on meta, expected cpu"),
}


@pytest.mark.parametrize("case", BAD_STEPS)
def test_a_step_that_makes_no_sense_is_refused_and_moves_nothing(start, case):
    draws, weights, message = BAD_STEPS[case]
    engine = start("2:4")
    before = engine.logits()
    with pytest.raises(ValueError, match=message):
        engine.descend(draws, weights=weights, rate=1.0)
    assert torch.equal(engine.logits(), before)
    assert torch.equal(encode(engine.mode()), encode(topn(before, engine.layout.pattern)))
