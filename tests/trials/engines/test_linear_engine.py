"""The engine: exact masks that depend on seed, step, layer and index alone, and moves along the score."""

from functools import partial

import pytest
import torch

from nmlab.trials.engines import SAMPLERS, GroupLayout, LinearEngine, linear
from nmlab.trials.masks.plackett_luce import score
from nmlab.trials.masks.topn import check_mask
from nmlab.trials.models import PrunableLayer
from nmlab.trials.pattern import Pattern

LAYERS = [
    PrunableLayer("blocks.0.q", 0, 12, 32),
    PrunableLayer("blocks.0.up", 0, 48, 16),
    PrunableLayer("blocks.1.q", 1, 7, 32),
    PrunableLayer("blocks.1.up", 1, 48, 16),
]
PATTERNS = ["1:4", "2:4", "2:8", "4:8", "8:16"]


def _logits(layers, *, spread=2.0):
    """Logits that depend on the layer and not on which others there are."""
    return {
        layer.name: spread
        * torch.randn(layer.out_features, layer.in_features, generator=torch.Generator().manual_seed(i))
        for i, layer in enumerate(LAYERS)
        if layer in layers
    }


def _engine(pattern, *, layers=LAYERS, seed=0, sampler="multinomial", spread=2.0) -> LinearEngine:
    layout = GroupLayout(layers, pattern=Pattern.parse(pattern))
    logits_GM = layout.join(_logits(layers, spread=spread))
    return LinearEngine(
        layout, logits_GM=logits_GM, seed=seed, score=partial(score, n=layout.pattern.n), sampler=sampler
    )


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sample_is_an_exact_mask(pattern, sampler):
    engine = _engine(pattern, sampler=sampler)
    for step in range(3):
        for name, mask in engine.layout.split(engine.sample(step=step)).items():
            check_mask(mask, engine.layout.pattern, name=name)


def test_samples_belong_to_seed_step_and_index():
    draws = {
        (seed, step, index): _engine("2:4", seed=seed).sample(step=step, index=index)
        for seed in (0, 1)
        for step in (0, 5)
        for index in (0, 1)
    }
    keys = list(draws)
    assert not any(torch.equal(draws[a], draws[b]) for i, a in enumerate(keys) for b in keys[:i])
    engine = _engine("2:4")
    for step, index in [(5, 1), (0, 0), (5, 0), (0, 1), (0, 0)]:  # whatever was drawn in between
        assert torch.equal(engine.sample(step=step, index=index), draws[0, step, index])


def test_layers_of_one_shape_draw_different_masks():
    engine = _engine("2:4", spread=0.0)
    masks = engine.layout.split(engine.sample(step=0))
    assert not torch.equal(masks["blocks.0.up"], masks["blocks.1.up"])


def _walk(engine):
    """Four steps with two masks each; returns every mask and the final logits by layer."""
    masks = []
    for step in range(4):
        pair = [engine.sample(step=step, index=index) for index in range(2)]
        engine.descend(pair, weights=[0.3, -0.1 * step], rate=2.0)
        masks += [engine.layout.split(mask_GM) for mask_GM in pair]
    return masks, engine.layout.split(engine.logits_GM)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("kept", [slice(0, 2), slice(2, 4), slice(1, 3), slice(3, 4)])
def test_a_shard_learns_bit_for_bit_what_the_whole_learns(pattern, kept):
    """Workers hold some of the layers each; nothing that happens to a layer may depend on its neighbours."""
    whole_masks, whole_logits = _walk(_engine(pattern))
    shard_masks, shard_logits = _walk(_engine(pattern, layers=LAYERS[kept]))
    for layer in LAYERS[kept]:
        assert all(torch.equal(w[layer.name], s[layer.name]) for w, s in zip(whole_masks, shard_masks, strict=True))
        assert torch.equal(whole_logits[layer.name], shard_logits[layer.name])


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("piece", [7, 100])
def test_the_size_of_a_piece_changes_nothing(monkeypatch, pattern, piece):
    whole_masks, whole_logits = _walk(_engine(pattern))
    monkeypatch.setattr(linear, "_PIECE", piece)
    masks, logits = _walk(_engine(pattern))
    assert all(torch.equal(a[name], b[name]) for a, b in zip(whole_masks, masks, strict=True) for name in a)
    assert all(torch.equal(whole_logits[name], logits[name]) for name in logits)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_descend_moves_along_the_weighted_scores_at_the_old_logits(pattern):
    engine = _engine(pattern)
    before = engine.logits_GM.clone()
    masks = [engine.sample(step=0, index=index) for index in range(3)]
    weights = [0.5, -2.0, 0.25]
    engine.descend(masks, weights=weights, rate=3.0)
    n = engine.layout.pattern.n
    gradient = sum(weight * score(before, mask, n=n).double() for mask, weight in zip(masks, weights, strict=True))
    torch.testing.assert_close(engine.logits_GM.double(), before.double() - 3.0 * gradient, rtol=0, atol=2e-5)
    torch.testing.assert_close(engine.logits_GM.sum(1), before.sum(1), rtol=0, atol=1e-4)  # scores sum to zero


def test_a_good_mask_becomes_more_probable():
    engine = _engine("2:4", spread=0.1)
    wanted = engine.sample(step=0)
    for _ in range(50):
        engine.descend([wanted], weights=[-1.0], rate=0.5)
    assert torch.equal(engine.mode(), wanted)


def test_the_mode_is_the_n_largest_logits():
    engine = _engine("2:8")
    order = engine.logits_GM.argsort(dim=1, descending=True)[:, :2]
    assert torch.equal(engine.mode(), torch.zeros_like(engine.logits_GM, dtype=torch.bool).scatter(1, order, True))


def test_samples_follow_the_logits():
    """Kept items that lead by C leave the sample as rarely as e^-C says: (M - N) H_N e^-C of the groups in 2:4."""
    layout = GroupLayout([PrunableLayer("a", 0, 100, 400)], pattern=Pattern(2, 4))
    initial_GM = torch.tensor([True, True, False, False]).expand(layout.groups, 4)
    engine = LinearEngine(layout, logits_GM=initial_GM * 5.0, seed=0, score=partial(score, n=2))
    changed = sum(int((engine.sample(step=step) != initial_GM).any(1).sum()) for step in range(20))
    weight = torch.tensor(5.0).exp().item()
    stays = (2 * weight / (2 * weight + 2)) * (weight / (weight + 2))
    expected = 20 * layout.groups * (1 - stays)
    assert abs(changed - expected) < 5 * expected**0.5


def test_the_two_plackett_luce_samplers_are_one():
    assert torch.equal(_engine("4:8").sample(step=1), _engine("4:8", sampler="gumbel_topk").sample(step=1))
    assert not torch.equal(_engine("4:8").sample(step=1), _engine("4:8", sampler="gaussian_topk").sample(step=1))


def test_logits_are_copied_to_float32():
    layout = GroupLayout(LAYERS[:1], pattern=Pattern(2, 4))
    given = torch.zeros(layout.groups, 4, dtype=torch.float64)
    engine = LinearEngine(layout, logits_GM=given, seed=0, score=partial(score, n=2))
    engine.descend([engine.sample(step=0)], weights=[1.0], rate=1.0)
    assert engine.logits_GM.dtype == torch.float32
    assert not given.any()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_logits_that_are_not_finite_are_refused(bad):
    layout = GroupLayout(LAYERS[:1], pattern=Pattern(2, 4))
    logits_GM = torch.zeros(layout.groups, 4)
    logits_GM[3, 1] = bad
    with pytest.raises(ValueError, match="NaN or infinite"):
        LinearEngine(layout, logits_GM=logits_GM, seed=0, score=partial(score, n=2))


def test_an_unknown_sampler_gives_the_nearest_name():
    with pytest.raises(ValueError, match="unknown sampler 'gumbel_top'; did you mean 'gumbel_topk'"):
        _engine("2:4", sampler="gumbel_top")
