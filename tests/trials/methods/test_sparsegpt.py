"""SparseGPT beyond the golden files: against a slow computation, with dead inputs, on hard Hessians, and as a trial."""

import json
import math

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.sections import CalibrationSpec, EvaluationSpec
from nmlab.trials.masks.topn import check_mask
from nmlab.trials.methods import registry, sparsegpt
from nmlab.trials.methods.initial_masks import initial_mask
from nmlab.trials.models import FrozenModel, ModelSource
from nmlab.trials.trial.run import run_trial


def _problem(seed, *, outputs=6, inputs=24, samples=64, dead=()):
    """A weight, correlated inputs of uneven sizes, and the Hessian of those inputs as of one sequence."""
    draw = torch.Generator().manual_seed(seed)
    mixing = torch.randn(inputs, inputs, generator=draw) * 0.3 + torch.diag(torch.rand(inputs, generator=draw) + 0.5)
    inputs_RI = torch.randn(samples, inputs, generator=draw) @ mixing
    inputs_RI[:, list(dead)] = 0
    return torch.randn(outputs, inputs, generator=draw), inputs_RI, 2 * inputs_RI.T @ inputs_RI


def _by_inverting_what_is_left(weight, hessian, pattern, *, damping):
    """The recursion as the optimal brain surgeon has it: a fresh inverse for the columns that are left, in float64."""
    weight, hessian, inputs = weight.double().clone(), hessian.double().clone(), weight.shape[1]
    hessian += damping * hessian.diagonal().mean() * torch.eye(inputs)
    inverses = [hessian[column:, column:].inverse() for column in range(inputs)]
    mask = torch.zeros_like(weight, dtype=torch.bool)
    for column in range(inputs):
        if column % pattern.m == 0:
            saliency = torch.stack(
                [weight[:, c].square() / inverses[c][0, 0] for c in range(column, column + pattern.m)], 1
            )
            kept = saliency.argsort(1, descending=True)[:, : pattern.n]
            mask[:, column : column + pattern.m].scatter_(1, kept, True)
        removed = torch.where(mask[:, column], 0.0, weight[:, column])
        weight[:, column:] -= torch.outer(removed / inverses[column][0, 0], inverses[column][0])
        weight[:, column] *= mask[:, column]
    return mask, weight


@pytest.mark.parametrize("pattern", ["1:4", "2:4", "3:4", "2:8", "1:3", "4:8", "4:4"])
@pytest.mark.parametrize("block_size", [24, 48])
def test_it_is_the_recursion_of_the_optimal_brain_surgeon(pattern, block_size):
    weight, _, hessian = _problem(0)
    mask, updated = sparsegpt.prune(weight, hessian, Pattern.parse(pattern), damping=0.01, block_size=block_size)
    expected_mask, expected = _by_inverting_what_is_left(weight, hessian, Pattern.parse(pattern), damping=0.01)
    assert torch.equal(mask, expected_mask)
    torch.testing.assert_close(updated, expected.float(), rtol=1e-4, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    pattern=st.sampled_from([Pattern(1, 4), Pattern(2, 4), Pattern(2, 8), Pattern(3, 4)]),
    dead=st.sets(st.integers(0, 23), max_size=12),
)
def test_the_mask_is_exact_whatever_is_dead(seed, pattern, dead):
    weight, _, hessian = _problem(seed, dead=sorted(dead))
    before = weight.clone(), hessian.clone()
    mask, updated = sparsegpt.prune(weight, hessian, pattern)
    check_mask(mask, pattern)
    assert torch.equal(updated, updated * mask)
    assert not updated[:, sorted(dead)].any()
    assert torch.equal(weight, before[0])
    assert torch.equal(hessian, before[1])


@pytest.mark.parametrize("pattern", ["1:4", "2:4", "4:8"])
def test_the_update_pays(pattern):
    """Not in every matrix, because a column that takes up an error may be pruned later, but by far on average."""
    updated_error = mask_error = 0.0
    for seed in range(20):
        weight, inputs_RI, hessian = _problem(seed)
        mask, updated = sparsegpt.prune(weight, hessian, Pattern.parse(pattern))
        updated_error += float((inputs_RI @ (updated - weight).T).square().sum())
        mask_error += float((inputs_RI @ (weight * ~mask).T).square().sum())
    assert updated_error < 0.9 * mask_error


@pytest.mark.parametrize("pattern", ["2:4", "4:8"])
def test_the_block_size_changes_rounding_only(pattern):
    weight, _, hessian = _problem(1, inputs=64, samples=128)
    results = [
        sparsegpt.prune(weight, hessian, Pattern.parse(pattern), damping=0.01, block_size=size)
        for size in (8, 16, 64, 128)
    ]
    for mask, updated in results[1:]:
        assert torch.equal(mask, results[0][0])
        torch.testing.assert_close(updated, results[0][1], rtol=0, atol=1e-5)


def test_a_low_precision_weight_comes_back_in_its_own_type():
    weight, _, hessian = _problem(2)
    mask, updated = sparsegpt.prune(weight.bfloat16(), hessian, Pattern(2, 4))
    expected_mask, expected = sparsegpt.prune(weight.bfloat16().float(), hessian, Pattern(2, 4))
    assert updated.dtype == torch.bfloat16
    assert torch.equal(mask, expected_mask)
    assert torch.equal(updated, expected.bfloat16())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block_size": 30}, "block_size = 30 would cut a group of pattern 2:4 in two; take a multiple such as 32"),
        ({"hessian": torch.eye(8)}, r"hessian: shape \(8, 8\), expected \[in, in\]"),
        ({"pattern": Pattern(2, 16), "block_size": 32}, "24 inputs do not split into groups of 16"),
        ({"hessian": -torch.eye(24)}, "hessian: not positive definite in float32 with damping 0.01; raise damping"),
    ],
)
def test_bad_input_is_refused(changes, message):
    weight, _, hessian = _problem(3)
    with pytest.raises(ValueError, match=message):
        sparsegpt.prune(**{"weight": weight, "hessian": hessian, "pattern": Pattern(2, 4), **changes})


@pytest.fixture
def run(replica, tmp_path, listener):
    """Run a trial in this test's folder; returns its result and its record."""

    def go(spec, *, on=None, folder="trial"):
        result = run_trial(spec, replica=on or replica, folder=tmp_path / folder, events=listener())
        record = tmp_path / folder / "trial.json"
        return result, json.loads(record.read_text()) if record.exists() else None

    return go


def test_a_trial_is_evaluated_with_the_updated_weights_and_saves_them(run, make_spec, replica, tmp_path):
    """Another program that loads ``weights.safetensors`` into the model gets the perplexity that was recorded."""
    spec = make_spec("sparsegpt")
    result, record = run(spec)
    alone, _ = run(make_spec("sparsegpt_mask"), folder="alone")
    assert "weights.safetensors" in result.artifacts
    assert "weights.safetensors" not in alone.artifacts
    assert result.metrics["eval/perplexity"] != alone.metrics["eval/perplexity"]
    assert record["notes"] == []

    weights = safetensors.torch.load_file(tmp_path / "trial" / "weights.safetensors")
    assert weights.keys() == {f"{layer.name}.weight" for layer in replica.frozen.layers}
    other = AutoModelForCausalLM.from_config(replica.frozen.module.config).eval()
    other.load_state_dict({**replica.frozen.module.state_dict(), **weights})
    tokens = replica.held_out(spec.evaluation).tokens
    with torch.no_grad():
        loss = float(other(input_ids=tokens, labels=tokens).loss)
    assert math.exp(loss) == pytest.approx(result.metrics["eval/token_perplexity"], rel=1e-5)
    assert replica.frozen.unchanged()


@pytest.mark.slow
def test_on_a_trained_model_a_better_method_is_better(run, make_spec):
    tiny = ReplicaContext(FrozenModel.load(ModelSource(source="builtin:tiny")))
    text = {
        "calibration": CalibrationSpec(source="builtin:python-docs", samples=32),
        "evaluation": EvaluationSpec(source="builtin:python-docs", windows=30),
    }
    perplexity = {
        method: run(make_spec(method).model_copy(update=text), on=tiny, folder=method)[0].metrics["eval/perplexity"]
        for method in ("dense", "sparsegpt", "sparsegpt_mask", "random")
    }
    assert list(perplexity.values()) == sorted(perplexity.values())


def test_both_methods_choose_one_mask_and_an_initial_mask_is_that_one(make_context):
    masks = [
        registry.get(name).start(make_context(), registry.get(name).configure({})).masks()
        for name in ("sparsegpt", "sparsegpt_mask")
    ] + [initial_mask(name, make_context()) for name in ("sparsegpt", "sparsegpt_mask")]
    for other in masks[1:]:
        assert all(torch.equal(other[name], masks[0][name]) for name in masks[0])


@pytest.fixture
def twins(random_model, freeze):
    """A model whose first layers get one number sixteen times: a Hessian of rank one."""
    module = random_model("llama")
    module.model.embed_tokens.weight.data[:] = module.model.embed_tokens.weight.data[:, :1].clone()
    return ReplicaContext(freeze(module))


def test_damping_is_raised_where_it_must_be_and_that_is_noted(run, make_spec, twins):
    result, record = run(make_spec("sparsegpt", damping=1e-12), on=twins)
    assert result.status == "finished"
    assert all(math.isfinite(value) for value in result.metrics.values())
    notes = [note for note in record["notes"] if "layers.0.self_attn.q_proj needed damping" in note]
    assert len(notes) == 1
    assert notes[0].endswith("not 1e-12")
    assert 1e-12 < float(notes[0].split("damping ")[1].split(",")[0]) < 1e-2


def test_notes_of_an_initial_mask_are_in_every_trial_that_starts_from_it(twins, run, make_spec, monkeypatch):
    hard = sparsegpt.SparseGPTConfig(damping=1e-12)
    monkeypatch.setattr(sparsegpt.METHOD, "configure", lambda _: hard)
    for folder in ("computed", "reused"):
        _, record = run(make_spec("maskpro", steps=2, initial_mask="sparsegpt"), on=twins, folder=folder)
        assert any(note.startswith("initial mask: the Hessian of model.layers.0") for note in record["notes"])


def test_inputs_that_are_not_finite_end_as_diverged(run, make_spec, random_model, freeze):
    module = random_model("llama")
    module.model.embed_tokens.weight.data[:] = torch.nan
    result, _ = run(make_spec("sparsegpt"), on=ReplicaContext(freeze(module)))
    assert result.status == "diverged"
    assert result.metrics["cost/forwards"] == 1, "it stops at the first sequence"
    assert "eval/perplexity" not in result.metrics
    assert result.reason == "the calibration inputs of model.layers.0.self_attn.q_proj are not finite"
