"""One trial from configuration to result: its events, its artifacts, when it stops, what it refuses."""

import json
import math

import numpy as np
import pytest
import torch

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.metrics import initial_name
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.evaluation import measure_perplexity
from nmlab.trials.masks.bundle import load_bundle
from nmlab.trials.methods import registry
from nmlab.trials.models import FrozenModel, MaskedModel, ModelSource
from nmlab.trials.trial.run import run_trial

EVALUATION = {"eval/token_perplexity", "eval/word_perplexity", "eval/perplexity"}
ACCOUNT = {
    "memory/peak_bytes", "memory/state_bytes", "time/step_s", "cost/forwards", "cost/backwards", "cost/tokens",
    "cost/seconds", "cost/trainable_params",
}  # fmt: skip
LEARNING = {"train/loss", "train/residual", "train/delta", "train/flips", "train/mask_change"}
START = 4  # forwards of the initial mask on the four minibatches, which every trial of maskpro is charged
PHASES = {"time/sample_s", "time/forward_s", "time/update_s"}


@pytest.fixture
def run(replica, tmp_path, listener):
    """Run a trial in this test's folder; returns its result and its events."""

    def go(spec, *, on=None, folder="trial"):
        events = listener()
        return run_trial(spec, replica=on or replica, folder=tmp_path / folder, events=events), events

    return go


@pytest.mark.parametrize("method", ["dense", "random", "magnitude", "wanda"])
def test_a_one_shot_trial_has_one_point(run, make_spec, replica, method):
    spec = make_spec(method)
    result, events = run(spec)
    assert (result.key, result.status, result.step, result.reason) == (spec.key, "finished", 0, "")
    assert [step for step, _ in events.points] == [0]
    assert events.points[0][1] == result.metrics
    assert result.metrics.keys() >= EVALUATION | ACCOUNT
    assert all(math.isfinite(value) for value in result.metrics.values())
    assert result.metrics["cost/trainable_params"] == 0
    prunable = sum(layer.numel for layer in replica.frozen.layers)
    assert result.metrics["memory/state_bytes"] == (0 if method == "dense" else prunable)  # a byte a weight: its mask


def test_a_learned_trial_records_every_metric_of_the_contract(run, make_spec):
    result, events = run(make_spec(steps=12, cadence={"log_every": 1}))
    curve = {}
    for step, values in events.points:
        curve.setdefault(step, {}).update(values)
    assert (result.status, result.step) == ("finished", 12)
    assert list(curve) == list(range(13))
    assert curve[0].keys() == {initial_name(name) for name in EVALUATION}
    assert all(curve[step].keys() >= LEARNING for step in range(1, 13))
    assert not any(curve[step].keys() & EVALUATION for step in range(1, 12))
    assert curve[12].keys() >= LEARNING | EVALUATION | ACCOUNT | PHASES
    assert curve[12].items() >= result.metrics.items()
    assert result.metrics["cost/forwards"] == START + 12
    assert result.metrics["cost/tokens"] == (START + 12) * 2 * 16


def test_points_come_in_order_of_steps(run, make_spec):
    _, events = run(make_spec(steps=23, cadence={"log_every": 5, "evaluate_every": 7}))
    steps = [step for step, _ in events.points]
    assert steps == sorted(steps)
    assert sorted(set(steps)) == [0, 5, 7, 10, 14, 15, 20, 21, 23]


def test_evaluations_are_of_the_masks_as_they_stand(run, make_spec, replica, make_context):
    """Step 0 is the initial mask, every seventh step the learned mask so far, the last step the final mask."""
    spec = make_spec(steps=16, learning_rate=100.0, cadence={"evaluate_every": 7})
    _, events = run(spec)
    curve = events.curve()
    recorded = {step: values["eval/perplexity"] for step, values in curve.items() if "eval/perplexity" in values}
    assert 0 not in recorded, "the initial mask is evaluated under another name"
    recorded[0] = curve[0]["initial/perplexity"]
    method = registry.get("maskpro")
    learning = method.start(make_context(), method.configure(spec.hyperparameters))
    model, expected = MaskedModel(replica.frozen), {}
    for step in range(17):
        if step in (0, 7, 14, 16):
            model.apply_masks(learning.masks())
            expected[step] = measure_perplexity(model, replica.held_out(spec.evaluation), batch_size=4).per_token
        if step < 16:
            learning.step(step)
    assert recorded == expected
    assert len(set(recorded.values())) > 1


@pytest.mark.parametrize("kind", ["token", "word"])
def test_the_study_chooses_what_perplexity_means(run, make_spec, kind):
    spec = make_spec("magnitude")
    spec = spec.model_copy(update={"evaluation": spec.evaluation.model_copy(update={"perplexity": kind})})
    result, _ = run(spec)
    assert result.metrics["eval/perplexity"] == result.metrics[f"eval/{kind}_perplexity"]
    assert result.metrics["eval/token_perplexity"] < result.metrics["eval/word_perplexity"]


def test_the_artifacts_of_a_learned_trial(run, make_spec, replica, tmp_path):
    spec = make_spec(steps=12, learning_rate=50.0)
    result, events = run(spec)
    folder = tmp_path / "trial"
    assert set(result.artifacts) == {"evaluation.npz", "mask.safetensors", "steps.npz", "trial.json"}
    assert all((folder / name).is_file() for name in result.artifacts)

    masks, info = load_bundle(folder / "mask.safetensors")
    assert (info.method, info.pattern, info.trial_key) == ("maskpro", "2:4", spec.key)
    assert info.model_digest == replica.frozen.digest
    model = MaskedModel(replica.frozen)
    model.apply_masks(masks)
    again = measure_perplexity(model, replica.held_out(spec.evaluation), batch_size=4)
    assert again.per_token == result.metrics["eval/token_perplexity"]

    with np.load(folder / "evaluation.npz") as windows:
        np.testing.assert_array_equal(windows["window_loss_sum"], again.loss_sum)
        np.testing.assert_array_equal(windows["window_tokens"], [24] * 6)
        np.testing.assert_array_equal(windows["window_words"], again.words)
        initial = math.exp(windows["initial_window_loss_sum"].sum() / windows["window_tokens"].sum())
    assert initial == pytest.approx(events.curve()[0]["initial/token_perplexity"])

    with np.load(folder / "steps.npz") as steps:
        assert {name: len(steps[name]) for name in steps.files} == dict.fromkeys(
            ["train_loss", "train_residual", "train_delta", "train_flips"], 12
        )

    record = json.loads((folder / "trial.json").read_text())
    assert TrialSpec.model_validate(record["spec"]).key == spec.key == record["key"]
    assert record["metrics"] == result.metrics


@pytest.mark.parametrize(("method", "bundle"), [("dense", False), ("wanda", True)])
def test_the_artifacts_of_a_trial_without_steps(run, make_spec, tmp_path, method, bundle):
    result, _ = run(make_spec(method))
    assert ("mask.safetensors" in result.artifacts) is bundle
    assert set(result.artifacts) == {path.name for path in (tmp_path / "trial").iterdir()}
    with np.load(tmp_path / "trial" / "evaluation.npz") as windows:
        assert "initial_window_loss_sum" not in windows


def test_every_trial_leaves_the_frozen_weights_alone(run, make_spec, replica):
    dense, _ = run(make_spec("dense"), folder="before")
    run(make_spec(steps=8, learning_rate=100.0), folder="learned")
    run(make_spec("wanda"), folder="wanda")
    again, _ = run(make_spec("dense"), folder="after")
    assert again.metrics["eval/perplexity"] == dense.metrics["eval/perplexity"]
    assert replica.frozen.unchanged()


@pytest.mark.parametrize(
    ("budget", "steps"), [({"forwards": START + 5}, 5), ({"tokens": (START + 5) * 32 - 1}, 5), ({"seconds": 1e-9}, 0)]
)
def test_a_budget_ends_learning_and_the_trial_finishes(run, make_spec, tmp_path, budget, steps):
    result, events = run(make_spec(steps=1000, budget=budget))
    assert (result.status, result.step) == ("finished", steps)
    assert events.points[-1][0] == steps
    assert events.points[-1][1].items() >= result.metrics.items()
    assert result.metrics["cost/forwards"] == START + steps
    load_bundle(tmp_path / "trial" / "mask.safetensors")


def test_an_absurd_learning_rate_ends_as_diverged(run, make_spec, tmp_path):
    replica = ReplicaContext(FrozenModel.load(ModelSource(source="builtin:tiny")))
    result, events = run(
        make_spec(steps=300, learning_rate=1e6, estimator="residual", cadence={"log_every": 10}), on=replica
    )
    assert result.status == "diverged"
    assert "worse than guessing" in result.reason
    assert "lower learning_rate" in result.reason
    assert events.points[-1][0] == result.step // 10 * 10
    assert 90 <= result.step < 300
    assert not (tmp_path / "trial" / "trial.json").exists()


def test_a_loss_that_is_not_a_number_ends_as_diverged(run, make_spec, random_model, freeze):
    module = random_model("llama")
    module.model.norm.weight.data[0] = torch.nan
    result, _ = run(make_spec(), on=ReplicaContext(freeze(module)))
    assert (result.status, result.step) == ("diverged", 0)
    assert result.reason == "a sampled mask has the loss nan"


@pytest.mark.parametrize("method", ["dense", "random"])
def test_a_mask_without_a_finite_perplexity_has_not_finished(run, make_spec, random_model, freeze, method):
    module = random_model("llama")
    module.model.norm.weight.data[0] = torch.nan
    result, events = run(make_spec(method), on=ReplicaContext(freeze(module)))
    assert result.status == "diverged"
    assert "perplexity of the final mask is nan" in result.reason
    assert math.isnan(events.points[-1][1]["eval/perplexity"])


def test_lack_of_memory_is_a_result(run, make_spec, random_model, freeze):
    module = random_model("llama")

    def allocate(*_):
        torch.empty(2**60)

    module.register_forward_hook(allocate)
    result, _ = run(make_spec("dense"), on=ReplicaContext(freeze(module)))
    assert result.status == "oom"
    assert "can't allocate memory" in result.reason


def test_other_errors_are_not_hidden(run, make_spec, random_model, freeze):
    module = random_model("llama")

    def fail(*_):
        raise RuntimeError("no such kernel")

    module.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="no such kernel"):
        run(make_spec("dense"), on=ReplicaContext(freeze(module)))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"method": "mskpro"}, "unknown method 'mskpro'; did you mean 'maskpro'"),
        ({"pattern": "2-4"}, 'did you mean "2:4"'),
        ({"pattern": "4:2"}, 'did you mean "2:4"'),
        ({"pattern": "8:32"}, "pattern 8:32: M=32 does not divide the input size of model.layers.0.self_attn.q_proj"),
        ({"alhpa": 0.9}, "unknown hyperparameter of maskpro 'alhpa'; did you mean 'alpha'"),
        ({"alpha": 2.0}, "maskpro: alpha = 2.0: expected less than 1"),
        ({"compat": "official", "pattern": "4:8"}, "maskpro: compat: official exists for 2:4 only"),
        ({"initial_mask": "wandb"}, "maskpro: unknown initial_mask 'wandb'; did you mean 'wanda'"),
        ({"method": "wanda", "steps": 3}, "wanda takes no 'steps'"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(run, make_spec, tmp_path, spec, message):
    method = spec.pop("method", "maskpro")
    with pytest.raises(ValueError) as refused:
        run(make_spec(method, **spec))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "trial").exists()


def test_a_pattern_that_keeps_everything_changes_nothing(run, make_spec):
    dense, _ = run(make_spec("dense"), folder="dense")
    full, _ = run(make_spec("magnitude", pattern="4:4"), folder="full")
    assert full.metrics["eval/perplexity"] == dense.metrics["eval/perplexity"]
