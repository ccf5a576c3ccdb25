"""MaskLLM: its candidates and soft masks, what it refuses, its prior, and a run against its steps written out."""

import copy
import itertools
import math

import pytest
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import GroupLayout
from nmlab.trials.engines.noise import gumbel
from nmlab.trials.methods import registry
from nmlab.trials.methods.maskllm import candidates, soft_mask
from nmlab.trials.methods.maskllm.maths import hard_mask, sampled_mask

MASKLLM = registry.get("maskllm")


@pytest.fixture
def start(make_context):
    def begin(pattern="2:4", *, seed=0, **hyperparameters):
        return MASKLLM.start(make_context(pattern, seed=seed), MASKLLM.configure({"steps": 8, **hyperparameters}))

    return begin


@pytest.mark.parametrize("pattern", ["1:4", "2:4", "3:4", "2:8", "4:8", "4:4"])
def test_candidates_are_all_masks_in_order(pattern):
    pattern = Pattern.parse(pattern)
    rows = [tuple(row.nonzero().flatten().tolist()) for row in candidates(pattern)]
    assert rows == list(itertools.combinations(range(pattern.m), pattern.n))
    assert len(rows) == pattern.mask_count


@pytest.mark.parametrize("pattern", ["2:4", "2:8", "4:8"])
def test_a_soft_mask_is_a_mean_of_candidates_and_hardens(pattern):
    pattern, draw = Pattern.parse(pattern), torch.Generator().manual_seed(0)
    gate_GK = torch.randn(50, pattern.mask_count, generator=draw, dtype=torch.float64) * 0.01
    noise_GK = torch.randn(50, pattern.mask_count, generator=draw, dtype=torch.float64)
    shares_GK = torch.softmax((gate_GK * 300 + noise_GK) / 1.5, 1)
    by_hand = sum(shares_GK[:, [k]] * candidates(pattern)[k] for k in range(pattern.mask_count))
    torch.testing.assert_close(
        soft_mask(gate_GK, noise_GK, kappa=300.0, tau=1.5, pattern=pattern), by_hand, rtol=0, atol=1e-12
    )
    cold_GM = soft_mask(gate_GK, noise_GK, kappa=300.0, tau=1e-4, pattern=pattern)
    torch.testing.assert_close(
        cold_GM, sampled_mask(gate_GK, noise_GK, kappa=300.0, pattern=pattern).double(), rtol=0, atol=1e-6
    )
    assert torch.equal(hard_mask(gate_GK, pattern=pattern), candidates(pattern)[gate_GK.argmax(1)])


def test_patterns_with_too_many_masks_are_refused_with_their_price():
    config = MASKLLM.configure({})
    assert MASKLLM.unsupported_reason(Pattern(4, 8), config) is None
    reason = MASKLLM.unsupported_reason(Pattern(8, 16), config)
    assert "8:16 has 12870 masks a group, more than max_candidates = 512" in reason
    assert "804.375 gates a weight, 12,870,000,000 bytes" in reason
    assert "more than max_candidates = 69" in MASKLLM.unsupported_reason(
        Pattern(4, 8), MASKLLM.configure({"max_candidates": 69})
    )
    assert MASKLLM.unsupported_reason(Pattern(8, 16), MASKLLM.configure({"max_candidates": 12870})) is None


def test_an_unknown_prior_is_refused_with_the_nearest_name():
    reason = MASKLLM.unsupported_reason(Pattern(2, 4), MASKLLM.configure({"initial_mask": "magnitud"}))
    assert "unknown initial_mask 'magnitud'; did you mean 'magnitude'" in reason
    assert "none" in reason


@pytest.mark.parametrize("pattern", ["2:4", "4:8"])
def test_the_prior_is_where_learning_starts(start, make_context, pattern):
    prior = registry.get("wanda").start(make_context(pattern), registry.get("wanda").configure({})).masks()

    def agreement(masks):
        same = sum(int((masks[name] == mask).sum()) for name, mask in prior.items())
        return same / sum(mask.numel() for mask in prior.values())

    chance = Pattern.parse(pattern).chance_overlap
    none = agreement(start(pattern, initial_mask="none").initial_masks())
    usual = agreement(start(pattern, initial_mask="wanda").initial_masks())
    strong = agreement(start(pattern, initial_mask="wanda", prior_strength=50.0).initial_masks())
    assert abs(none - chance) < 0.05
    assert usual > chance + 0.2
    assert strong == 1.0


@pytest.mark.parametrize("straight_through", [False, True])
def test_steps_are_the_published_ones(start, make_context, straight_through):
    """Losses, penalties and gates of five steps, recomputed with a separate module and optimiser."""
    run = start(learning_rate=0.01, weight_regularization=0.01, straight_through=straight_through)
    context, pattern = make_context(), Pattern(2, 4)
    layout = GroupLayout(context.model.frozen.layers, pattern=pattern)
    gate_GK = run.state()["parameter/gates"].clone().requires_grad_()
    optimizer = torch.optim.AdamW([gate_GK], betas=(0.9, 0.95), weight_decay=0.1, eps=1e-5)
    for step in range(5):
        kappa, tau = 100 + 400 * step / 8, 4 - 3.95 * step / 8
        noise_GK = gumbel(layout, width=6, key=(0, step))
        shares_GK = ((gate_GK * kappa + noise_GK) / tau).softmax(1)
        if straight_through:
            one_hot_GK = torch.nn.functional.one_hot(shares_GK.argmax(1), 6)
            shares_GK = shares_GK + (one_hot_GK - shares_GK).detach()
        masks = layout.split(shares_GK @ candidates(pattern).float())
        module = copy.deepcopy(context.model.frozen.module)
        weights = {f"{name}.weight": module.get_parameter(f"{name}.weight") * mask for name, mask in masks.items()}
        tokens = context.batches[step % len(context.batches)]
        loss = torch.func.functional_call(module, weights, kwargs={"input_ids": tokens, "labels": tokens}).loss
        penalty = -0.01 * (1 - step / 8) * sum(weight.square().sum() for weight in weights.values())
        optimizer.zero_grad()
        (loss + penalty).backward()
        norm = float(torch.nn.utils.clip_grad_norm_([gate_GK], 1.0))
        optimizer.param_groups[0]["lr"] = 0.01 * (0.1 + 0.45 * (1 + math.cos(math.pi * step / 8)))
        optimizer.step()
        recorded = run.step(step)
        assert recorded["train/loss"] == pytest.approx(float(loss.detach()), rel=1e-4)
        assert recorded["train/penalty"] == pytest.approx(float(penalty.detach()), rel=1e-4)
        assert recorded["train/gradient_norm"] == pytest.approx(norm, rel=1e-3)
        assert (run.observe()["train/kappa"], run.observe()["train/tau"]) == pytest.approx((kappa, tau))
        torch.testing.assert_close(run.state()["parameter/gates"], gate_GK.detach(), rtol=0, atol=1e-4)


def test_without_the_regulariser_there_is_no_penalty(start):
    assert "train/penalty" in start().step(0)
    assert "train/penalty" not in start(weight_regularization=0.0).step(0)
