"""soft_topn and simple: their steps written out, their temperatures and rates, and that they learn."""

import copy
import math
from itertools import combinations

import pytest
import torch

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.sections import CalibrationSpec
from nmlab.trials.engines import GroupLayout
from nmlab.trials.engines.noise import gumbel, logistic
from nmlab.trials.masks.conditional_poisson import subset_sample
from nmlab.trials.masks.topn import check_mask, keep_largest
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import TrialContext
from nmlab.trials.methods.logit_config import forecast_rate
from nmlab.trials.models import FrozenModel, MaskedModel, ModelSource

STEPS = 60
SOFT, SIMPLE = registry.get("soft_topn"), registry.get("simple")


def bisected(keys_GM, tau, n):
    """The soft top-N by halving, differentiable through the threshold: one Newton step at the root."""
    low, high = keys_GM.min(1, keepdim=True)[0] - 4, keys_GM.max(1, keepdim=True)[0] + 4
    with torch.no_grad():
        for _ in range(80):
            middle = (low + high) / 2
            above = ((keys_GM - middle) / tau).sigmoid().sum(1, keepdim=True) > n
            low, high = torch.where(above, middle, low), torch.where(above, high, middle)
        at_root = ((keys_GM - low) / tau).sigmoid()
        slope = (at_root * (1 - at_root)).sum(1, keepdim=True) / tau
    nu_G1 = low + (((keys_GM - low) / tau).sigmoid().sum(1, keepdim=True) - n) / slope
    return ((keys_GM - nu_G1) / tau).sigmoid()


def marginals_of_all_subsets(logits_GM, n):
    rows = torch.tensor(list(combinations(range(logits_GM.shape[1]), n)))
    items_SM = torch.zeros(len(rows), logits_GM.shape[1]).scatter_(1, rows, 1)
    return (logits_GM @ items_SM.T).softmax(1) @ items_SM


def steps_agree(run, context, mask_of, *, rate, steps):
    """Losses and logits of five steps, recomputed with a separate module, optimiser and mask."""
    layout = GroupLayout(context.model.frozen.layers, pattern=context.pattern)
    logits_GM = run.state()["parameter/logits"].clone().requires_grad_()
    optimizer = torch.optim.AdamW([logits_GM], betas=(0.9, 0.95), weight_decay=0.05)
    for step in range(5):
        masks = layout.split(mask_of(logits_GM, layout, step))
        module = copy.deepcopy(context.model.frozen.module)
        weights = {f"{name}.weight": module.get_parameter(f"{name}.weight") * mask for name, mask in masks.items()}
        tokens = context.batches[step % len(context.batches)]
        loss = torch.func.functional_call(module, weights, kwargs={"input_ids": tokens, "labels": tokens}).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = rate * (0.1 + 0.45 * (1 + math.cos(math.pi * step / steps)))
        optimizer.step()
        assert run.step(step)["train/loss"] == pytest.approx(float(loss.detach()), rel=1e-4)
        # Adam divides by the size of a gradient, so where that is near 0 its rounding becomes a step.
        moved_apart = (run.state()["parameter/logits"] - logits_GM.detach()).abs()
        assert float((moved_apart > 1e-3).float().mean()) < 0.02


@pytest.mark.parametrize("noise", ["none", "gumbel"])
@pytest.mark.parametrize("straight_through", [False, True])
def test_steps_of_soft_topn_are_what_the_documentation_says(make_context, noise, straight_through):
    given = {"steps": 8, "learning_rate": 0.05, "noise": noise, "straight_through": straight_through}
    run, context = SOFT.start(make_context(), SOFT.configure(given)), make_context()

    def mask_of(logits_GM, layout, step):
        share = min(1, step / 6)
        tau, lam = 0.05**share, 0.2**share
        keys_GM = logits_GM / lam + (gumbel(layout, width=4, key=(0, step)) if noise == "gumbel" else 0)
        mask_GM = bisected(keys_GM, tau, 2)
        hard_GM = keep_largest(keys_GM.detach(), 2).float()
        return mask_GM + (hard_GM - mask_GM).detach() if straight_through else mask_GM

    steps_agree(run, context, mask_of, rate=0.05, steps=8)
    assert run.observe()["train/tau"] == pytest.approx(0.05 ** (4 / 6))
    assert run.observe()["train/lambda"] == pytest.approx(0.2 ** (4 / 6))


def test_steps_of_simple_are_what_the_documentation_says(make_context):
    """Forward the drawn mask, backward the derivative of the marginals of all six subsets."""
    run, context = SIMPLE.start(make_context(), SIMPLE.configure({"steps": 8, "learning_rate": 0.05})), make_context()

    def mask_of(logits_GM, layout, step):
        lam, noise_GM = 0.05 ** min(1, step / 6), logistic(layout, width=4, key=(0, step))
        drawn_GM = subset_sample(logits_GM.detach(), noise_GM, lam=lam, n=2)
        check_mask(drawn_GM.bool(), Pattern(2, 4))
        marginal_GM = marginals_of_all_subsets(logits_GM / lam, 2)
        return marginal_GM + (drawn_GM - marginal_GM).detach()

    steps_agree(run, context, mask_of, rate=0.05, steps=8)
    assert run.observe()["train/lambda"] == pytest.approx(0.05 ** (4 / 6))


def test_the_gap_between_training_and_inference_is_recorded(make_context):
    """Of soft_topn the distance of the soft mask from the one that is kept, of simple the share that draws differ."""
    soft = SOFT.start(make_context("4:8"), SOFT.configure({"steps": 4}))
    simple = SIMPLE.start(make_context("4:8"), SIMPLE.configure({"steps": 4}))
    layout = GroupLayout(make_context("4:8").model.frozen.layers, pattern=Pattern(4, 8))
    soft.step(0)
    simple.step(0)
    logits_GM = soft.state()["parameter/logits"]
    distance = (bisected(logits_GM, 1.0, 4) - keep_largest(logits_GM, 4).float()).abs().mean()
    assert soft.observe()["train/soft_hard_gap"] == pytest.approx(float(distance), rel=1e-4)
    logits_GM = simple.state()["parameter/logits"]
    drawn_GM = subset_sample(logits_GM, logistic(layout, width=8, key=(0, 0)), n=4)
    share = (drawn_GM != keep_largest(logits_GM, 4)).float().mean()
    assert simple.observe()["train/soft_hard_gap"] == pytest.approx(float(share))
    assert float(share) > 0.2


@pytest.mark.parametrize(
    ("method", "given", "tau", "lam"),
    [
        (SOFT, {}, (1.0, 0.05), (1.0, 0.2)),
        (SOFT, {"initial_logits": "saliency", "initial_mask": "wanda"}, (0.3, 0.05), (0.2, 0.2)),
        (SOFT, {"initial_logits": "saliency", "initial_mask": "wanda", "lambda_end": 0.1}, (0.3, 0.05), (0.1, 0.1)),
        (SOFT, {"tau_init": 0.7, "tau_end": 0.1, "lambda_init": 2.0}, (0.7, 0.1), (2.0, 0.2)),
        (SIMPLE, {}, None, (1.0, 0.05)),
        (SIMPLE, {"initial_logits": "saliency", "initial_mask": "wanda"}, None, (0.2, 0.05)),
        (SIMPLE, {"lambda_init": 0.5, "lambda_end": 0.1}, None, (0.5, 0.1)),
    ],
)
def test_temperatures_begin_near_hard_where_the_start_is_good(make_context, method, given, tau, lam):
    run = method.start(make_context(), method.configure({"steps": 5, "anneal_steps": 2, **given}))
    ends = []
    for step in range(3):
        run.step(step)
        ends.append(run.observe())
    for name, expected in (("train/tau", tau), ("train/lambda", lam)):
        if expected is not None:
            assert (ends[0][name], ends[2][name]) == pytest.approx(expected)


def test_the_learning_rate_falls_with_the_number_of_weights():
    assert forecast_rate(26_624) == forecast_rate(4_000) == pytest.approx(0.15)
    assert forecast_rate(106_168_320) == pytest.approx(0.01)
    assert forecast_rate(10**6) == pytest.approx(0.15 * (10**6 / 26_624) ** -0.3267, rel=1e-3)
    assert SOFT.configure({"learning_rate": 0.3}).rate_for(10**9) == 0.3


def test_by_default_a_run_takes_the_forecast_rate(make_context, replica):
    weights = sum(layer.numel for layer in replica.frozen.layers)
    walks = []
    for given in ({}, {"learning_rate": forecast_rate(weights)}, {"learning_rate": 0.01}):
        run = SOFT.start(make_context(), SOFT.configure({"steps": 2, **given}))
        run.step(0)
        walks.append(run.state()["parameter/logits"])
    assert torch.equal(walks[0], walks[1])
    assert not torch.equal(walks[0], walks[2])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["soft_topn", pytest.param("simple", marks=pytest.mark.thorough)])
def test_at_8_of_16_it_learns_a_far_better_mask_than_susi(name):
    """On the shipped model, from random logits: 60 steps of 8 sequences, evaluated on the same text."""
    replica = ReplicaContext(FrozenModel.load(ModelSource(source="builtin:tiny")))
    text = CalibrationSpec(source="builtin:python-docs", samples=32, sequence_length=64, batch_size=8)
    context = TrialContext(replica, MaskedModel(replica.frozen), Pattern(8, 16), text, seed=0)

    def loss_of(masks):
        context.model.apply_masks(masks)
        return sum(context.model.loss(tokens) for tokens in context.batches) / len(context.batches)

    losses = {}
    for method, rate in ((registry.get(name), None), (registry.get("susi"), 0.05)):
        run = method.start(context, method.configure({"steps": STEPS, **({"learning_rate": rate} if rate else {})}))
        for step in range(STEPS):
            run.step(step)
        losses[method.name] = loss_of(run.masks())
    assert losses[name] < losses["susi"] - 0.3
    assert replica.frozen.unchanged()
