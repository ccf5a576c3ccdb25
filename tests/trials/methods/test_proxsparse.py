"""ProxSparse: the minimum of the proximal step and where it misses it; a run trains a copy and keeps only its mask."""

import copy
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.masks.topn import topn
from nmlab.trials.methods import registry
from nmlab.trials.methods.proxsparse import prox
from nmlab.trials.methods.proxsparse.maths import anchor_penalty
from nmlab.trials.models import MaskedModel

PROXSPARSE = registry.get("proxsparse")
PATTERN = Pattern(2, 4)
SHRINKING = {"steps": 10, "learning_rate": 0.01, "prox_lambda": 0.5}


@pytest.fixture
def start(make_context):
    def begin(*, seed=0, **hyperparameters):
        return PROXSPARSE.start(make_context(seed=seed), PROXSPARSE.configure({**SHRINKING, **hyperparameters}))

    return begin


def _objective(values, weight, prox_lambda):
    """1/2 |v - w|^2 + lambda sum over all triples of |product|, [...]."""
    triples = sum(values[..., list(triple)].prod(-1).abs() for triple in itertools.combinations(range(4), 3))
    return 0.5 * (values - weight).square().sum(-1) + prox_lambda * triples


def _best_of_many_starts(weight_G4, prox_lambda):
    """The lowest objective that coordinate descent finds from random places, and from every choice of zeros."""
    draw = torch.Generator().manual_seed(0)
    share = torch.rand(16, 1, 4, generator=draw, dtype=torch.float64) * 1.2
    kept = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)), dtype=torch.float64)[:, None]
    points = torch.cat([share, kept, share * kept]) * weight_G4.abs()
    for _ in range(300):
        for i in range(4):
            a, b, c = (points[..., j] for j in range(4) if j != i)
            points[..., i] = (weight_G4[..., i].abs() - prox_lambda * (a * b + b * c + c * a)).clamp(min=0)
    return _objective(points, weight_G4.abs(), prox_lambda).amin(0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(-2.5, 1.5), st.floats(-2, 1.5))
def test_it_scales_and_is_never_worse_than_leaving_or_cutting(seed, scale, strength):
    """At weights of any size and every strength between leaving and shrinking all groups."""
    draw = torch.Generator().manual_seed(seed)
    weight_G4 = torch.randn(40, 4, generator=draw, dtype=torch.float64)
    prox_lambda, size = 10**strength, 10**scale
    shrunk_G4 = prox(weight_G4, prox_lambda, PATTERN)
    torch.testing.assert_close(prox(weight_G4 * size, prox_lambda / size, PATTERN) / size, shrunk_G4, rtol=0, atol=1e-6)
    found_G = _objective(shrunk_G4, weight_G4, prox_lambda)
    for other_G4 in (weight_G4, weight_G4 * topn(weight_G4.abs(), PATTERN)):
        assert bool((found_G <= _objective(other_G4, weight_G4, prox_lambda) + 1e-12).all())


@pytest.mark.parametrize("prox_lambda", [0.02, 0.2, 0.7, 1.0, 3.0])
def test_other_starts_hardly_ever_find_a_lower_objective(prox_lambda):
    weight_G4 = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found_G = _objective(prox(weight_G4, prox_lambda, PATTERN), weight_G4, prox_lambda)
    best_G = _best_of_many_starts(weight_G4, prox_lambda)
    assert float((found_G > best_G + 1e-8).double().mean()) <= 1e-3
    assert float((best_G - found_G).max()) < 1e-8  # nor are the starts worse than the three candidates


def test_the_authors_rule_can_miss_the_minimum_where_three_weights_are_nearly_equal():
    """Their descent from zero lets two of the three settle first; the lower point with all three is never tried."""
    weight = torch.tensor([[1.4833, -0.1928, 1.4599, -1.4754]], dtype=torch.float64)
    shrunk = prox(weight, 0.7, PATTERN)
    assert torch.equal(shrunk, weight * topn(weight.abs(), PATTERN))
    missed = float(_objective(shrunk, weight, 0.7) - _best_of_many_starts(weight, 0.7))
    assert missed == pytest.approx(0.063, abs=0.001)


def test_signs_order_and_sparse_groups_are_kept():
    weight = torch.tensor([[0.0, -2.0, 0.0, 1.5, 0.3, -0.1, 0.2, -0.4]])
    shrunk = prox(weight, 0.5, PATTERN)
    assert torch.equal(shrunk[:, :4], weight[:, :4])  # two of four already: R is zero there
    assert bool((shrunk * weight >= 0).all())
    assert bool((shrunk.abs() <= weight.abs()).all())
    assert torch.equal(prox(weight, 0.0, PATTERN), weight)
    order = torch.tensor([3, 1, 0, 2])
    group = weight[:, 4:]
    torch.testing.assert_close(prox(group[:, order], 0.5, PATTERN), prox(group, 0.5, PATTERN)[:, order])


def test_a_strong_step_leaves_the_two_largest_as_they_are():
    weight = torch.randn(16, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(prox(weight, 1e4, PATTERN), weight * topn(weight.abs(), PATTERN))


def test_a_group_does_not_depend_on_its_neighbours():
    weight_G4 = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    whole = prox(weight_G4, 0.3, PATTERN)
    assert torch.equal(torch.cat([prox(group[None], 0.3, PATTERN) for group in weight_G4]), whole)


def test_other_patterns_are_refused():
    with pytest.raises(ValueError, match="those of 2:4"):
        prox(torch.ones(2, 8), 0.1, Pattern(4, 8))
    assert "those of 2:4" in PROXSPARSE.unsupported_reason(Pattern(1, 4), PROXSPARSE.configure({}))


def test_the_anchor_is_its_formula_and_lets_go_of_zero():
    original = torch.tensor([0.5, -0.2, 0.0, -0.0])
    weight = torch.tensor([0.4, 0.1, 0.3, -0.1])
    by_hand = sum(
        (w / (w0 + math.copysign(0.1, w0) if w0 else 0.1) * (w - w0)) ** 2
        for w, w0 in zip(weight.tolist(), original.tolist(), strict=True)
    )
    assert float(anchor_penalty(weight, original, epsilon=0.1)) == pytest.approx(by_hand, rel=1e-5)
    assert float(anchor_penalty(torch.zeros(4), original, epsilon=0.1)) == 0
    assert float(anchor_penalty(original, original, epsilon=0.1)) == 0


@pytest.mark.parametrize("anchor", [0.0, 0.5])
def test_steps_are_the_published_ones(start, make_context, anchor):
    """Losses and weights of five steps, recomputed with a separate module and optimiser."""
    run, context = start(anchor_lambda=anchor), make_context()
    module = copy.deepcopy(context.model.frozen.module).requires_grad_()
    optimizer = torch.optim.AdamW(module.parameters(), weight_decay=0.0)
    names = [f"{layer.name}.weight" for layer in context.model.frozen.layers]
    for step in range(5):
        tokens = context.batches[step % len(context.batches)]
        loss = module(input_ids=tokens, labels=tokens).loss
        originals = [(module.get_parameter(name), context.model.frozen.module.get_parameter(name)) for name in names]
        penalty = anchor * sum(anchor_penalty(own, original, epsilon=0.1) for own, original in originals)
        optimizer.zero_grad()
        (loss + penalty).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = 0.01 * (step if step < 1 else (10 - step) / 9)  # one step of warm-up
        optimizer.step()
        with torch.no_grad():
            for own, _ in originals:
                own.copy_(prox(own, 0.5, PATTERN))
        assert run.step(step)["train/loss"] == pytest.approx(float(loss.detach()), rel=1e-4)
    state = run.state()
    for name, parameter in module.named_parameters():
        apart = (state[f"parameter/{name}"] - parameter.detach()).abs()
        assert float((apart > 1e-4).float().mean()) < 0.01  # Adam makes a step of a rounding error near zero gradient


def test_the_mask_is_the_top_two_of_the_copy_and_applies_to_the_original_weights(start, make_context):
    run, context = start(), make_context()
    begun = run.initial_masks()
    for step in range(10):
        run.step(step)
    masks, state = run.masks(), run.state()
    changed = 0
    for name, mask in masks.items():
        assert torch.equal(mask, topn(state[f"parameter/{name}.weight"].abs(), PATTERN))
        assert torch.equal(
            begun[name], topn(context.model.frozen.module.get_parameter(f"{name}.weight").abs(), PATTERN)
        )
        changed += int((mask != begun[name]).sum())
    assert changed > 0
    model = MaskedModel(context.replica.frozen)
    model.apply_masks(masks)
    for name, mask in masks.items():
        original = context.replica.frozen.module.get_parameter(f"{name}.weight")
        assert torch.equal(model.module.get_parameter(f"{name}.weight"), original * mask)


def test_the_share_of_groups_that_are_not_sparse_yet_is_recorded(start):
    run = start()
    assert run.observe()["train/dense_groups"] == 1.0
    for step in range(10):
        run.step(step)
    weights = [run.state()[f"parameter/{name}.weight"] for name in run.masks()]
    dense = torch.cat([(weight.view(-1, 4) != 0).sum(1) > 2 for weight in weights])
    assert run.observe()["train/dense_groups"] == pytest.approx(float(dense.double().mean()))
    assert 0 < float(dense.double().mean()) < 1
