"""A trial with validation text: what is read when, under which names, and that without it nothing changes."""

import math

import numpy as np
import pytest
import torch

from nmlab.trials.contract.metrics import EVAL, INITIAL, VALIDATION
from nmlab.trials.contract.sections import ValidationSpec
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.evaluation import measure_perplexity
from nmlab.trials.masks.bundle import load_bundle
from nmlab.trials.models import MaskedModel

NAMES = ("token_perplexity", "word_perplexity", "perplexity")
EVERY_FOUR = {"evaluate_every": 4}


@pytest.fixture(scope="module")
def validated(make_spec, text_file):
    """Make a trial that learns from the first half of the text, is chosen on a quarter, evaluated on the last one."""

    def make(method="maskpro", **given) -> TrialSpec:
        spec = make_spec(method, **given)
        evaluation = spec.evaluation.model_copy(update={"source": f"{text_file}[75%:]"})
        validation = ValidationSpec(source=f"{text_file}[50%:75%]", sequence_length=16, windows=5, batch_size=4)
        return spec.model_copy(update={"evaluation": evaluation, "validation": validation})

    return make


def names_at(curve, prefix):
    return [step for step, values in sorted(curve.items()) if any(name.startswith(prefix) for name in values)]


def test_the_evaluation_text_is_read_once_at_the_end(run, validated):
    result, events = run(validated(steps=12, cadence=EVERY_FOUR))
    curve = events.curve()
    assert result.status == "finished"
    assert names_at(curve, INITIAL) == [0]
    assert names_at(curve, VALIDATION) == [4, 8, 12]
    assert names_at(curve, EVAL) == [12]
    assert result.metrics.keys() >= {f"{prefix}{name}" for prefix in (EVAL, VALIDATION) for name in NAMES}


def test_each_value_is_of_its_own_text(run, validated, replica, tmp_path):
    spec = validated(steps=12, learning_rate=50.0)
    result, events = run(spec)
    masks, _ = load_bundle(tmp_path / "trial" / "mask.safetensors")
    model = MaskedModel(replica.frozen)
    model.apply_masks(masks)
    on = {
        EVAL: measure_perplexity(model, replica.held_out(spec.evaluation), batch_size=4),
        VALIDATION: measure_perplexity(model, replica.held_out(spec.validation), batch_size=4),
    }
    assert {prefix: result.metrics[f"{prefix}perplexity"] for prefix in on} == {
        prefix: measured.per_token for prefix, measured in on.items()
    }
    assert on[EVAL].per_token != on[VALIDATION].per_token
    with np.load(tmp_path / "trial" / "evaluation.npz") as windows:
        np.testing.assert_array_equal(windows["window_loss_sum"], on[EVAL].loss_sum)
        np.testing.assert_array_equal(windows["validation_loss_sum"], on[VALIDATION].loss_sum)
        np.testing.assert_array_equal(windows["validation_tokens"], [16] * 5)
        assert "initial_window_loss_sum" not in windows.files
        start = math.exp(windows["initial_validation_loss_sum"].sum() / windows["validation_tokens"].sum())
    assert start == pytest.approx(events.curve()[0]["initial/perplexity"])


def test_learning_is_the_same_with_and_without_validation(run, validated, tmp_path):
    """What is read to choose on changes no mask, and neither does reading it on the way."""
    spec = validated(steps=12, cadence=EVERY_FOUR)
    with_it, _ = run(spec)
    masks, _ = load_bundle(tmp_path / "trial" / "mask.safetensors")
    (tmp_path / "trial").rename(tmp_path / "first")
    without, _ = run(spec.model_copy(update={"validation": None}))
    again, _ = load_bundle(tmp_path / "trial" / "mask.safetensors")
    assert all(torch.equal(mask, again[name]) for name, mask in masks.items())
    assert with_it.metrics["eval/perplexity"] == without.metrics["eval/perplexity"]
    assert not any(name.startswith(VALIDATION) for name in without.metrics)


def test_both_perplexities_are_of_a_word_where_the_study_says_so(run, validated):
    spec = validated("magnitude")
    result, _ = run(spec.model_copy(update={"evaluation": spec.evaluation.model_copy(update={"perplexity": "word"})}))
    for prefix in (EVAL, VALIDATION):
        assert result.metrics[f"{prefix}perplexity"] == result.metrics[f"{prefix}word_perplexity"]


def test_only_validation_text_makes_another_trial(validated, make_spec):
    spec = make_spec()
    assert "validation" not in spec.model_dump()
    assert "part" not in spec.model_dump()["calibration"]
    assert spec.model_copy(update={"validation": None}).key == spec.key
    with_it = validated()
    assert with_it.key != with_it.model_copy(update={"validation": None}).key
    assert TrialSpec.model_validate(with_it.model_dump(mode="json")) == with_it
    assert with_it.flat()["data.validation.windows"] == 5
    assert not any(name.startswith("data.validation") for name in spec.flat())
