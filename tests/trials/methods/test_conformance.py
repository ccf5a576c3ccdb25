"""The conformance suite, run for every registered method; a new method is included by its name."""

import math
from dataclasses import replace

import pytest
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import TrialContext, source_of_default
from nmlab.trials.models import MaskedModel
from nmlab.trials.testing import (
    PATTERNS,
    MethodConformance,
    held_bytes,
    small_bench,
    small_replica,
    small_spec,
    small_text,
)

DISTILLING = [name for name in registry.names() if "objective" in registry.get(name).config.model_fields]
FROM_WANDA = {"initial_logits": "saliency", "initial_mask": "wanda"}


def test_every_learned_method_has_an_objective():
    assert [name for name in registry.names() if registry.get(name).learned] == DISTILLING


class TestEveryMethod(MethodConformance):
    @pytest.fixture(scope="class", params=registry.names())
    def method(self, request):
        return registry.get(request.param)

    def hyperparameters(self, method):
        """Use a smaller C: with the paper's C = 10, for far larger models, no group of this model would ever flip."""
        return {"logit_magnitude": 2.0} if method.name == "maskpro" else {}


class TestMaskProWithAMaskForEverySequence(MethodConformance):
    name = "maskpro"

    def hyperparameters(self, method):
        ours = {"mask_per": "sequence", "walk_rate": 0.2, "learning_rate_schedule": "linear"}
        return {**ours, "initial_logits": "saliency", "initial_mask": "wanda", "logit_magnitude": 3.0}


@pytest.mark.slow
class TestEveryMethodThatDistills(MethodConformance):
    """Methods that have `objective`, with the dense model as teacher and, where they can, a pull towards the start."""

    @pytest.fixture(scope="class", params=DISTILLING)
    def method(self, request):
        return registry.get(request.param)

    def hyperparameters(self, method):
        own = {"maskpro": {"logit_magnitude": 2.0, "masks_per_step": 2}, "proxsparse": {}}
        start = {"initial_mask": "wanda"} if method.name == "maskllm" else FROM_WANDA
        return {"objective": "distill", **own.get(method.name, {**start, "start_pull": 0.1})}


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    replica = small_replica()
    text = small_text(tmp_path_factory.mktemp("text"))
    calibration = small_spec("dense", text=text).calibration
    return TrialContext(replica, MaskedModel(replica.frozen), Pattern(2, 4), calibration, seed=0)


def test_the_earlier_name_of_a_small_replica_is_there_for_one_release():
    assert small_bench is small_replica


def _masks_of(pattern):
    return math.comb(pattern.m, pattern.n)


@pytest.mark.parametrize("text", PATTERNS)
@pytest.mark.parametrize(
    ("name", "a_weight"),
    [("susi", lambda p: 1.0), ("maskpro", lambda p: 1.0), ("maskllm", lambda p: _masks_of(p) / p.m)],
)
def test_trainable_parameters_are_those_of_the_closed_forms(context, name, a_weight, text):
    """SUSI and MaskPro have one logit a weight, MaskLLM C(M, N) gates a group: 1.5 a weight at 2:4, 3.5 at 2:8."""
    pattern, method = Pattern.parse(text), registry.get(name)
    here, config = replace(context, pattern=pattern, cost=type(context.cost)()), method.configure({"steps": 1})
    if method.unsupported_reason(pattern, config):
        pytest.skip(f"{name} refuses {pattern}")
    method.start(here, config)
    prunable = sum(layer.numel for layer in context.replica.frozen.layers)
    assert here.cost.trainable_params == prunable * a_weight(pattern)


def test_proxsparse_trains_every_parameter_of_the_model(context):
    method, here = registry.get("proxsparse"), replace(context, cost=type(context.cost)())
    method.start(here, method.configure({"steps": 1}))
    assert here.cost.trainable_params == sum(p.numel() for p in context.replica.frozen.module.parameters())


@pytest.mark.parametrize("name", registry.names())
def test_every_default_says_where_it_comes_from(name):
    for field_name, field in registry.get(name).config.model_fields.items():
        assert source_of_default(field), f"{name}.{field_name} does not say where its default comes from"


class _Holder:
    """Holds memory in every way that ``held_bytes`` must find, and some of it twice."""

    def __init__(self, shared):
        own = torch.zeros(100)
        self.shared, self.twice = shared, [own, own[:50], own.numpy()]
        self.closed_over = (lambda inside: lambda: inside)(torch.zeros(1000))
        self.array = torch.zeros(10, dtype=torch.float64).numpy()[2:]


def test_the_measure_of_memory_sees_all_that_is_held_and_nothing_twice():
    shared = torch.zeros(7)
    holder = _Holder(shared)
    assert held_bytes(holder) == 4 * (100 + 1000 + 7) + 8 * 10
    assert held_bytes(holder, apart_from=[{"in": [shared]}]) == 4 * (100 + 1000) + 8 * 10
