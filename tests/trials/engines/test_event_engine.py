"""Event and adaptive engine over runs in which groups turn hot and cold, windows end, and layers are delegated."""

import dataclasses
import math
from itertools import pairwise

import pytest
import safetensors.torch
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import GroupLayout, adaptive
from nmlab.trials.engines.adaptive import AdaptiveEngine
from nmlab.trials.engines.engine import Draw, MaskKey
from nmlab.trials.engines.event import EventEngine
from nmlab.trials.engines.event.blocks import SUPERBLOCK
from nmlab.trials.engines.logits import initial_store, store_of
from nmlab.trials.masks.topn import topn
from nmlab.trials.models import PrunableLayer

LAYERS = [PrunableLayer("cold", 0, 30, 80), PrunableLayer("mixed", 0, 25, 240), PrunableLayer("hot", 1, 5, 80)]
# By how much the kept items of a layer lead, at least and at most.
LEADS = {"cold": (9.0, 12.0), "mixed": (3.9, 6.0), "hot": (0.0, 3.0)}


@pytest.fixture(autouse=True)
def small_layers_count(monkeypatch):
    """Let the adaptive engine choose for the small layers of these tests too."""
    monkeypatch.setattr(adaptive, "SMALL_LAYER_GROUPS", 0)


def start(kind, text="2:4", *, kept=slice(None)):
    """Start an engine over some of the layers, whose logits depend on the layer alone."""
    layout = GroupLayout(LAYERS[kept], pattern=Pattern.parse(text))
    logits = {}
    for layer in layout.layers:
        generator = torch.Generator().manual_seed(len(layer.name))
        shape = (layout.pattern.groups(layer.numel), layout.pattern.m)
        low, high = LEADS[layer.name]
        lead_G1 = low + (high - low) * torch.rand(shape[0], 1, generator=generator)
        noise_GM = torch.randn(shape, generator=generator)
        logits[layer.name] = lead_G1 * topn(noise_GM, layout.pattern) + 0.1 * noise_GM
    return kind(layout, store=store_of(layout, layout.join(logits)))


def walk(engine, *, steps):
    """Take steps of one or two masks, first against the mode and then with it; return all masks, modes and logits."""
    seen = []
    for step in steps:
        draws = [engine.sample(MaskKey(3, step, index)) for index in range(1 + step % 2)]
        seen += [draw.over(engine.mode()) for draw in draws]
        weights = [(0.2 if step < 100 else -0.3) / len(draws)] * len(draws)
        engine.descend(draws, weights=weights, rate=1.0)
        if step % 30 == 0:
            seen += [engine.mode(), engine.logits()]
    seen += [engine.mode(), engine.logits()]
    return {name: [engine.layout.split(tensor)[name] for tensor in seen] for name in engine.layout.split(seen[0])}


def test_the_worked_example_of_the_engines_documentation():
    """The numbers in the docstring of ``nmlab.trials.engines.event.engine``."""
    layout = GroupLayout([PrunableLayer("q", 0, 3, 2)], pattern=Pattern(1, 2))
    kept_GM = torch.tensor([[True, False], [False, True], [True, False]])
    engine = EventEngine(layout, store=initial_store(layout, kept_GM, magnitude=4.0))
    assert engine.watch.rates.bound_S[:3].tolist() == [641_686_161] * 3
    assert engine.watch.expected_points() == pytest.approx([0.0560], abs=5e-5)
    first = engine.sample(MaskKey(29, 0))
    assert first.groups_g.tolist() == []
    engine.descend([first], weights=[0.5], rate=0.2)
    assert (engine.history.first, engine.history.second) == pytest.approx((-0.1, 0.01))
    assert engine.logits()[0].tolist() == pytest.approx([3.998201, 0.001799], abs=1e-6)
    second = engine.sample(MaskKey(29, 1))
    assert (second.groups_g.tolist(), second.masks_gM.tolist()) == ([1], [[True, False]])
    engine.descend([second], weights=[-1.0], rate=0.2)
    assert (engine.history.first, engine.history.second) == pytest.approx((0.1, 0.05))
    expected = torch.tensor([[4.001812, -0.001811], [0.198189, 3.801811], [4.001812, -0.001811]])
    assert torch.allclose(engine.logits(), expected, rtol=0, atol=1e-6)


def assert_same(some, whole):
    for name, tensors in some.items():
        assert all(torch.equal(a, b) for a, b in zip(tensors, whole[name], strict=True)), name


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "text"), [(EventEngine, "2:4"), (EventEngine, "4:8"), (AdaptiveEngine, "2:4")])
def test_long_runs_do_not_depend_on_pipeline_stages(kind, text):
    whole = walk(start(kind, text), steps=range(150))
    assert_same(walk(start(kind, text, kept=slice(0, 1)), steps=range(150)), whole)
    assert_same(walk(start(kind, text, kept=slice(1, 3)), steps=range(150)), whole)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [EventEngine, AdaptiveEngine])
def test_long_runs_go_on_from_their_state_bit_for_bit(kind):
    """From each of three states up to the next, the last of them after the masks have turned."""
    undisturbed = start(kind)
    walk(undisturbed, steps=range(1))
    for saved_at, end in pairwise((1, 90, 130, 160)):
        after = start(kind)
        after.load_state(safetensors.torch.load(safetensors.torch.save(undisturbed.state())))
        steps = range(saved_at, end)
        assert_same(walk(after, steps=steps), walk(undisturbed, steps=steps))


def test_groups_turn_hot_and_cold_again_and_are_bounded_all_the_while():
    engine, hot = start(EventEngine, kept=slice(1, 2)), []
    watch, hot_groups = engine.watch, engine.hot
    for step in range(300):
        draw = engine.sample(MaskKey(0, step))
        engine.descend([draw], weights=[1.0 if step < 120 else -10.0 if step < 220 else 0.01], rate=1.0)
        hot.append(len(hot_groups))
        assert torch.equal(hot_groups.groups_H, hot_groups.groups_H.unique())
        slots_H = watch.blocks.slots(hot_groups.groups_H)
        assert not watch.rates.bound_S[slots_H].any()
        assert int((watch.rates.bound_S > 0).sum()) == engine.layout.groups - hot[-1]
        assert watch.windows.expired(engine.history) is None
    assert max(hot) > hot[0] + 50
    assert hot[-1] < max(hot) / 2
    assert torch.equal(engine.mode(), topn(engine.logits(), engine.layout.pattern))


def test_windows_of_equal_groups_do_not_end_in_one_step(monkeypatch):
    """10,240 equal groups in 40 superblocks, all moved the same way until every window has ended at least once."""
    layout = GroupLayout([PrunableLayer("alike", 0, 40 * SUPERBLOCK, 4)], pattern=Pattern(2, 4))
    start_GM = torch.tensor([7.0, 0.0, 7.0, 0.0]).expand(layout.groups, 4)
    engine, looked = EventEngine(layout, store=store_of(layout, start_GM)), []
    bound_again = engine._bound_again
    monkeypatch.setattr(engine, "_bound_again", lambda groups_g: looked.append(len(groups_g)) or bound_again(groups_g))
    none = Draw(MaskKey(0, 0), torch.empty(0, dtype=torch.int64), torch.empty(0, 4, dtype=torch.bool))
    for _ in range(90):
        engine.descend([none], weights=[-0.05], rate=1.0)
    assert sum(looked) >= layout.groups
    assert max(looked) <= 0.1 * layout.groups
    assert len(engine.hot) == 0


def test_a_state_without_what_it_needs_is_refused():
    engine = start(EventEngine)
    state = engine.state()
    del state["hot_logits"]
    with pytest.raises(ValueError, match="no hot_logits; another version may have written it"):
        engine.load_state(state)


@pytest.mark.parametrize("kind", [EventEngine, AdaptiveEngine])
def test_a_draw_that_was_sent_acts_like_the_engines_own(kind):
    """The intermediate results that the engine keeps of its last draw save work and change nothing."""
    own, sent = start(kind), start(kind)
    for step in range(40):
        for engine in (own, sent):
            draw = engine.sample(MaskKey(0, step))
            copy = dataclasses.replace(draw, groups_g=draw.groups_g.clone())
            engine.descend([draw if engine is own else copy], weights=[0.7], rate=1.0)
        assert torch.equal(own.logits(), sent.logits())


def test_a_pattern_of_too_many_kept_items_is_refused():
    with pytest.raises(ValueError, match="expected N <= 8"):
        start(EventEngine, "9:20")


def test_layers_go_to_the_engine_that_suits_them(monkeypatch):
    """Steps of 2 end the windows of all but the coldest groups at once; after them, all windows last."""
    monkeypatch.setattr(adaptive, "COMPARE_EVERY", 8)
    assert start(AdaptiveEngine).linear_layers == ["hot"]
    heated = start(AdaptiveEngine, kept=slice(0, 2))
    assert heated.linear_layers == []
    _drive(heated, steps=range(40), weight=2.0)
    assert heated.linear_layers == ["mixed"]
    _drive(heated, steps=range(40, 160), weight=0.01)
    assert heated.linear_layers == []
    assert torch.equal(heated.mode(), topn(heated.logits(), heated.layout.pattern))


def test_small_layers_are_touched_as_a_whole(monkeypatch):
    monkeypatch.setattr(adaptive, "SMALL_LAYER_GROUPS", 601)
    assert start(AdaptiveEngine).linear_layers == ["cold", "hot"]


def _drive(engine, *, steps, weight):
    for step in steps:
        engine.descend([engine.sample(MaskKey(0, step))], weights=[weight], rate=1.0)


def test_the_state_of_an_engine_that_delegated_a_layer_counts_its_logits_once():
    engine = start(AdaptiveEngine)
    logits = engine.layout.groups * 4 * 4
    assert logits < engine.state_bytes < 3.6 * logits


def test_a_layer_changes_its_engine_at_two_different_costs():
    """Between them it stays where it is, so that it does not change back and forth."""
    costs = (0.74, 0.75, 1.0, 1.01, math.inf, math.nan)
    event, linear = adaptive.Holder.EVENT, adaptive.Holder.LINEAR
    assert [adaptive.next_holder(event, cost=cost) for cost in costs] == [event] * 3 + [linear] * 2 + [event]
    assert [adaptive.next_holder(linear, cost=cost) for cost in costs] == [event] + [linear] * 5
