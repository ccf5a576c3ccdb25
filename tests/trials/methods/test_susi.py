"""SUSI: the relaxed draw beyond recorded cases, a run against Algorithm 1 written out, and that it learns."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.sections import CalibrationSpec
from nmlab.trials.engines import GroupLayout
from nmlab.trials.engines.noise import gumbel
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import TrialContext
from nmlab.trials.methods.susi import relaxed_mask
from nmlab.trials.methods.susi.maths import pick, sampled_mask
from nmlab.trials.models import FrozenModel, MaskedModel, ModelSource

SUSI = registry.get("susi")
TEMPERATURES = [(1.0, 1.0), (0.3, 0.1), (0.05, 0.002)]
PATTERNS = [(1, 4), (2, 4), (2, 8), (4, 8), (8, 16), (4, 4)]


def _draw(groups, m, *, std=1.0, seed=0, dtype=torch.float64):
    draw = torch.Generator().manual_seed(seed)
    logits_GM = torch.randn(groups, m, generator=draw, dtype=torch.float64) * std
    gumbel_GM = -torch.empty(groups, m, dtype=torch.float64).exponential_(generator=draw).log()
    return logits_GM.to(dtype), gumbel_GM.to(dtype)


def _literal(logits_GM, gumbel_GM, tau, lam, n):
    """Algorithm 1 line by line; log(1 - mu_i) = log sum_{j != i} e^z_j - log sum_j e^z_j with every sum written out."""
    keys_GM, mask_GM = logits_GM / lam + gumbel_GM, 0
    others_MM = torch.eye(logits_GM.shape[1], dtype=torch.bool)
    for _ in range(n):
        z_GM = keys_GM / tau
        mask_GM = mask_GM + z_GM.softmax(1)
        without_GM = z_GM[:, None, :].masked_fill(others_MM, -torch.inf).logsumexp(2)
        keys_GM = keys_GM + without_GM - z_GM.logsumexp(1, keepdim=True)
    return mask_GM


def _with_gradient(function, logits_GM, gumbel_GM, tau, lam, n):
    logits_GM = logits_GM.clone().requires_grad_()
    soft_GM = function(logits_GM, gumbel_GM, tau=tau, lam=lam, n=n)
    (soft_GM * torch.linspace(-1, 1, soft_GM.numel(), dtype=soft_GM.dtype).view_as(soft_GM)).sum().backward()
    return soft_GM.detach(), logits_GM.grad


@pytest.mark.parametrize("std", [0.01, 0.3, 1.0, 30.0])
@pytest.mark.parametrize(("tau", "lam"), TEMPERATURES)
@pytest.mark.parametrize(("n", "m"), [(1, 4), (2, 4), (2, 8), (4, 8)])
def test_float32_keeps_value_and_gradient_of_algorithm_1(n, m, tau, lam, std):
    """At the end of the schedule a naive log(1 - mu) in float32 gives NaN in nine groups of ten.

    A gradient is measured against 1 / (tau lam), what the two divisions make of a gradient of 1.
    """
    logits_GM, gumbel_GM = (tensor.float() for tensor in _draw(300, m, std=std))
    soft_GM, gradient_GM = _with_gradient(relaxed_mask, logits_GM, gumbel_GM, tau, lam, n)
    exact_GM, exact_gradient_GM = _with_gradient(_literal, logits_GM.double(), gumbel_GM.double(), tau, lam, n)
    torch.testing.assert_close(soft_GM.double(), exact_GM, rtol=0, atol=3e-5)
    torch.testing.assert_close(gradient_GM.double(), exact_gradient_GM, rtol=0, atol=2e-5 / (tau * lam))


@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8)])
def test_the_gradient_is_the_derivative(n, m):
    logits_GM, gumbel_GM = _draw(3, m)
    assert torch.autograd.gradcheck(
        lambda x: relaxed_mask(x, gumbel_GM, tau=0.4, lam=0.5, n=n), logits_GM.requires_grad_()
    )


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(PATTERNS), st.floats(-2, 3), st.sampled_from(TEMPERATURES), st.integers(0, 10**6))
def test_rows_sum_to_n_and_stay_finite_at_any_scale(pattern, exponent, temperatures, seed):
    n, m = pattern
    logits_GM, gumbel_GM = _draw(20, m, std=10.0**exponent, seed=seed, dtype=torch.float32)
    soft_GM, gradient_GM = _with_gradient(relaxed_mask, logits_GM, gumbel_GM, *temperatures, n)
    torch.testing.assert_close(soft_GM.sum(1), torch.full((20,), float(n)), rtol=0, atol=1e-4)
    assert float(soft_GM.min()) >= 0
    assert bool(gradient_GM.isfinite().all())


def test_log_one_minus_softmax_where_the_leader_is_certain_and_where_two_lead():
    found_GM = pick(torch.tensor([[500.0, 0.0, 0.0, -3.0], [7.0, 7.0, -200.0, -200.0]]).T).log_left_Mg.T
    certain = math.log(2 + math.exp(-3)) - 500
    assert found_GM[0].tolist() == pytest.approx([certain, 0, 0, 0], rel=1e-6)
    assert found_GM[1].tolist() == pytest.approx([-math.log(2), -math.log(2), 0, 0], abs=1e-6)


@pytest.mark.parametrize(("n", "m", "most"), [(2, 4, 0.001), (2, 8, 0.001), (4, 8, 0.2)])
def test_at_the_end_two_of_m_are_two_hot_and_more_are_not(n, m, most):
    """The relaxation picks a leader twice where N >= 3: a property of the method, not of its arithmetic."""
    logits_GM, gumbel_GM = _draw(4000, m, dtype=torch.float32)
    soft_GM = relaxed_mask(logits_GM, gumbel_GM, tau=0.05, lam=0.002, n=n)
    off = ((soft_GM - sampled_mask(logits_GM, gumbel_GM, lam=0.002, n=n).float()).abs() > 0.5).any(1)
    assert float(off.float().mean()) <= most
    assert (float(off.float().mean()) > 0.02) is (n > 2)


def _literal_excluding(logits_GM, gumbel_GM, tau, lam, n):
    """Algorithm 1 in which the largest key of a round is taken out of the later ones, each round over what is left."""
    keys_GM, mask_GM = logits_GM / lam + gumbel_GM, 0
    there_GM = torch.ones_like(keys_GM, dtype=torch.bool)
    for _ in range(n):
        z_GM = (keys_GM / tau).masked_fill(~there_GM, -torch.inf)
        share_GM = z_GM.softmax(1)
        mask_GM = mask_GM + share_GM
        there_GM = there_GM.scatter(1, z_GM.argmax(1, keepdim=True), False)
        keys_GM = keys_GM + torch.log1p(-share_GM.masked_fill(~there_GM, 0))
    return mask_GM


def _excluding(logits_GM, gumbel_GM, tau, lam, n):
    return relaxed_mask(logits_GM, gumbel_GM, tau=tau, lam=lam, n=n, exclude_argmax=True)


@pytest.mark.parametrize(("tau", "lam"), TEMPERATURES)
@pytest.mark.parametrize(("n", "m"), [*PATTERNS, (16, 32)])
def test_excluding_the_argmax_is_what_it_says(n, m, tau, lam):
    logits_GM, gumbel_GM = _draw(40, m)
    soft_GM, gradient_GM = _with_gradient(_excluding, logits_GM, gumbel_GM, tau, lam, n)
    exact_GM, exact_gradient_GM = _with_gradient(_literal_excluding, logits_GM, gumbel_GM, tau, lam, n)
    torch.testing.assert_close(soft_GM, exact_GM, rtol=0, atol=1e-9)
    torch.testing.assert_close(gradient_GM, exact_gradient_GM, rtol=0, atol=1e-9 / (tau * lam))


@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8), (4, 4)])
def test_its_gradient_is_the_derivative_also_where_keys_are_equal(n, m):
    logits_GM, gumbel_GM = _draw(3, m)
    assert torch.autograd.gradcheck(lambda x: _excluding(x, gumbel_GM, 0.4, 0.5, n), logits_GM.requires_grad_())
    soft_GM, gradient_GM = _with_gradient(_excluding, torch.zeros(2, m), torch.zeros(2, m), 0.3, 0.1, n)
    torch.testing.assert_close(soft_GM.sum(1), torch.full((2,), float(n)))
    assert bool(gradient_GM.isfinite().all())


@pytest.mark.parametrize(("n", "m"), [(4, 8), (8, 16), (16, 32)])
def test_excluding_the_argmax_makes_more_than_two_of_m_hard(n, m):
    """At the temperatures in which the schedule ends, where without it a leader is picked twice."""
    logits_GM, gumbel_GM = (tensor.float() for tensor in _draw(2000, m))
    hard_GM = sampled_mask(logits_GM, gumbel_GM, lam=0.002, n=n).float()
    for draw, most in ((_excluding, 0.001), (relaxed_mask, None)):
        off = ((draw(logits_GM, gumbel_GM, tau=0.05, lam=0.002, n=n) - hard_GM).abs() > 0.5).any(1).float().mean()
        assert float(off) <= most if most is not None else float(off) > 0.02


@pytest.mark.parametrize("straight_through", [False, True])
def test_steps_are_what_algorithm_1_says(make_context, straight_through):
    """Losses and logits of five steps, recomputed with a separate module, optimiser and relaxation."""
    hyperparameters = {"steps": 8, "learning_rate": 0.05, "anneal_steps": 4, "straight_through": straight_through}
    run, context = SUSI.start(make_context(), SUSI.configure(hyperparameters)), make_context()
    layout = GroupLayout(context.model.frozen.layers, pattern=context.pattern)
    logits_GM = run.state()["parameter/logits"].clone().requires_grad_()
    optimizer = torch.optim.AdamW([logits_GM], betas=(0.9, 0.95), weight_decay=0.05)
    for step in range(5):
        tau, lam = 0.05 ** min(1, step / 4), 0.002 ** min(1, step / 4)
        noise_GM = gumbel(layout, width=4, key=(0, step))
        mask_GM = _literal(logits_GM, noise_GM, tau, lam, 2)
        if straight_through:
            mask_GM = mask_GM + (sampled_mask(logits_GM, noise_GM, lam=lam, n=2).float() - mask_GM).detach()
        module = copy.deepcopy(context.model.frozen.module)
        masks = layout.split(mask_GM)
        weights = {f"{name}.weight": module.get_parameter(f"{name}.weight") * mask for name, mask in masks.items()}
        tokens = context.batches[step % len(context.batches)]
        loss = torch.func.functional_call(module, weights, kwargs={"input_ids": tokens, "labels": tokens}).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = 0.05 * (0.1 + 0.45 * (1 + math.cos(math.pi * step / 8)))
        optimizer.step()
        recorded = run.step(step)
        assert recorded["train/loss"] == pytest.approx(float(loss.detach()), rel=1e-4)
        assert run.observe()["train/tau"] == pytest.approx(tau)
        assert run.observe()["train/lambda"] == pytest.approx(lam)
        # Adam divides by the size of a gradient, so where that is near 0 its rounding becomes a step.
        moved_apart = (run.state()["parameter/logits"] - logits_GM.detach()).abs()
        assert float((moved_apart > 1e-4).float().mean()) < 0.01


@pytest.mark.parametrize(("steps", "annealed"), [(8, 6), (2000, 1500), (1, 1)])
def test_by_default_three_quarters_of_the_steps_anneal(make_context, steps, annealed):
    default, given_ = (
        SUSI.start(make_context(), SUSI.configure({"steps": steps, **more}))
        for more in ({}, {"anneal_steps": annealed})
    )
    default.step(0)
    given_.step(0)
    for step in range(1, min(steps, 8)):
        default.step(step)
        given_.step(step)
        assert default.observe() == given_.observe()
        assert default.observe()["train/tau"] == pytest.approx(max(0.05, 0.05 ** (step / annealed)))


def test_the_share_of_entries_above_one_is_recorded(make_context):
    run = SUSI.start(make_context("4:8"), SUSI.configure({"steps": 4, "anneal_steps": 1}))
    for step in range(4):
        run.step(step)
    layout = GroupLayout(make_context("4:8").model.frozen.layers, pattern=Pattern(4, 8))
    # The fourth step's draw under the logits after it.
    logits_GM, noise_GM = run.state()["parameter/logits"], gumbel(layout, width=8, key=(0, 3))
    soft_GM = relaxed_mask(logits_GM, noise_GM, tau=0.05, lam=0.002, n=4)
    seen = run.observe()
    assert seen["train/above_one"] == pytest.approx(float((soft_GM > 1.01).double().mean()))
    gap = (soft_GM - sampled_mask(logits_GM, noise_GM, lam=0.002, n=4).float()).abs().mean()
    assert seen["train/soft_hard_gap"] == pytest.approx(float(gap))
    assert seen["train/above_one"] > 0


@pytest.mark.slow
def test_it_learns_a_mask_far_better_than_magnitudes():
    """On the shipped model, from random logits: 120 steps of 8 sequences."""
    replica = ReplicaContext(FrozenModel.load(ModelSource(source="builtin:tiny")))
    text = CalibrationSpec(source="builtin:python-docs", samples=32, sequence_length=64, batch_size=8)
    context = TrialContext(replica, MaskedModel(replica.frozen), Pattern(2, 4), text, seed=0)

    def loss_of(masks):
        context.model.apply_masks(masks)
        return sum(context.model.loss(tokens) for tokens in context.batches) / len(context.batches)

    magnitude = loss_of(registry.get("magnitude").start(context, registry.get("magnitude").configure({})).masks())
    run = SUSI.start(context, SUSI.configure({"steps": 120, "learning_rate": 0.05}))
    begun = loss_of(run.initial_masks())
    for step in range(120):
        run.step(step)
    assert begun > magnitude + 1  # a random mask
    assert loss_of(run.masks()) < magnitude - 0.7
    assert replica.frozen.unchanged()
