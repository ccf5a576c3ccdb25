"""The engine that `auto` stands for: on CUDA a kernel only where it computes what torch does, else torch and a note."""

import pytest
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import GroupLayout, LinearEngine, MaskKey, make_engine, store_of
from nmlab.trials.engines.choice import EngineTask, auto_engine_name, engine_name
from nmlab.trials.engines.logits import Float32Store
from nmlab.trials.engines.needs import engine_needs
from nmlab.trials.models import PrunableLayer
from nmlab.trials.models.needs import Shape

pytest.importorskip("triton", reason="the package triton exists for Linux only")

FAULT = "it draws other masks in 3 of 1033 groups"


class OnCuda(Float32Store):
    """A store that claims to be on a GPU; nothing but the choice of the engine is computed with it."""

    @property
    def device(self):
        return torch.device("cuda:0")


def _layout(pattern="2:4", groups=64):
    parsed = Pattern.parse(pattern)
    return GroupLayout([PrunableLayer("layer", 0, groups, parsed.m)], pattern=parsed)


def _store(layout, *, magnitude, kind=OnCuda):
    n, m = layout.pattern.n, layout.pattern.m
    mask_GM = (torch.arange(m) < n).expand(layout.groups, m)
    return kind(mask_GM.clone(), magnitude=magnitude)


def _suited(pattern="2:4", *, magnitude=0.5, fault=None, groups=64, agree=bool, **options):
    """Return the engine, what was checked and what was noted."""
    layout, checked, notes = _layout(pattern, groups), [], []

    def check(device, pattern, kind):
        checked.append((str(device), str(pattern), kind))
        return fault

    groups_of_layers, device = tuple(layout.groups_of_layers), torch.device("cuda:0")
    task = EngineTask(layout.pattern, groups_of_layers, device=device, magnitude=magnitude, **options)
    name = auto_engine_name(task, check=check, agree=agree, note=notes.append)
    return name, checked, notes


@pytest.mark.parametrize("pattern", ["2:4", "1:4", "12:32"])
def test_kernels_that_pass_are_chosen(pattern):
    assert _suited(pattern) == ("triton", [("cuda:0", pattern, "float32")], [])


@pytest.mark.parametrize(
    ("pattern", "groups", "torchs"), [("2:4", 64, "linear"), ("2:4", 2**20, "adaptive"), ("12:32", 64, "linear")]
)
def test_kernels_that_fail_are_not_and_that_is_noted_in_one_line(pattern, groups, torchs):
    name, _, notes = _suited(pattern, groups=groups, fault=FAULT)
    assert name == torchs
    assert notes == [f"engine auto: {torchs} in place of the Triton kernels; on cuda:0 they fail their check: {FAULT}"]


def test_all_workers_choose_the_same():
    name, _, notes = _suited(agree=lambda faulty: True)
    assert name == "linear"
    assert notes == ["engine auto: linear in place of the Triton kernels; they fail their check at another worker"]


def test_nothing_is_checked_where_no_kernel_would_run():
    assert _suited(magnitude=12.0)[1:] == ([], []), "so cold that touching all groups is waste"
    assert _suited(sampler="gumbel_topk") == ("linear", [], [])
    assert _suited("4:4") == ("linear", [], [])
    layout = _layout()
    on_cpu = _store(layout, magnitude=0.5, kind=Float32Store)
    made = make_engine("auto", layout=layout, store=on_cpu, check=lambda *given: pytest.fail("checked"))
    assert made.name == "linear"


def test_a_fallback_draws_and_moves_as_the_named_engine_does():
    layout = _layout(groups=300)
    logits_GM = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    chosen = make_engine("auto", layout=layout, store=store_of(layout, logits_GM))
    named = LinearEngine(layout, store=store_of(layout, logits_GM))
    assert torch.equal(chosen.sample(MaskKey(0, 0)).masks_gM, named.sample(MaskKey(0, 0)).masks_gM)


@pytest.mark.parametrize(
    ("asked", "engine"),
    [
        ({"magnitude": 10.0}, "adaptive"),  # the default: too cold for kernels
        ({"magnitude": 0.5}, "triton"),
        ({"magnitude": 0.5, "device": "cpu"}, "adaptive"),
        ({"magnitude": 10.0, "groups": 64}, "linear"),
        ({"magnitude": 10.0, "sampler": "gumbel_topk"}, "linear"),
        ({"magnitude": 10.0, "exact": False}, "linear"),
        ({"magnitude": 10.0, "pattern": "4:4"}, "linear"),
        ({"magnitude": 0.5, "pattern": "12:32"}, "triton"),
        ({"magnitude": 0.5, "pattern": "12:32", "device": "cpu"}, "linear"),
    ],
    ids=str,
)
def test_a_plan_counts_the_engine_that_a_run_gets(asked, engine):
    """One function serves both; what is predicted for ``auto`` is what is predicted for the engine it stands for."""
    given = {"pattern": "2:4", "groups": 2**20, "device": "cuda", "sampler": "multinomial", "exact": True, **asked}
    layout = _layout(given["pattern"], given["groups"])
    task = EngineTask(
        layout.pattern,
        tuple(layout.groups_of_layers),
        torch.device(given["device"]),
        given["magnitude"],
        sampler=given["sampler"],
        exact=given["exact"],
    )
    assert engine_name("auto", task, check=lambda *_: None) == engine
    shape = Shape(layout.layers, {}, 2, 16, layout.pattern, 4, 16, device=given["device"])
    named = {"logits": "float32", "steps": 100, "magnitude": given["magnitude"]}
    planned = engine_needs("auto", shape, sampler=given["sampler"], exact=given["exact"], **named)
    parts = {"adaptive": "delegated layers", "triton": "modes and bounds", "linear": "modes and bounds"}
    assert parts[engine] in planned[0]
    assert ("rates" in planned[0]) == (engine == "adaptive")
    if engine != "adaptive":  # which cannot be asked for by name
        assert planned == engine_needs(engine, shape, sampler="multinomial", exact=True, **named)


def test_a_plan_refuses_what_a_run_refuses():
    shape = Shape(_layout().layers, {}, 2, 16, Pattern(2, 4), 4, 16)
    named = {"logits": "float32", "steps": 100, "magnitude": 10.0, "exact": True}
    with pytest.raises(ValueError, match="engine 'event' cannot do sampler 'gumbel_topk'; choose engine 'linear'"):
        engine_needs("event", shape, sampler="gumbel_topk", **named)
    with pytest.raises(ValueError, match="linaer"):
        engine_needs("linaer", shape, sampler="multinomial", **named)
