"""A trial with neutral texts: what is read when, under which names, and that nothing else changes."""

import numpy as np
import pytest
import torch

from nmlab.trials.contract.metrics import EVAL, INITIAL, NEUTRAL, PERPLEXITIES
from nmlab.trials.contract.sections import NeutralSpec
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.evaluation import evaluate, measure_perplexity
from nmlab.trials.masks.bundle import load_bundle
from nmlab.trials.models import MaskedModel


@pytest.fixture(scope="module")
def neutral(make_spec, text_file):
    """Make a trial that learns from the first half of the text, with two neutral texts of the last quarter."""

    def make(method="maskpro", **given) -> TrialSpec:
        spec = make_spec(method, **given)
        cut = {"sequence_length": 16, "batch_size": 4}
        texts = (
            NeutralSpec(name="late", source=f"{text_file}[75%:90%]", windows=5, **cut),
            NeutralSpec(name="last", source=f"{text_file}[90%:]", windows=3, **cut),
        )
        return spec.model_copy(update={"neutral": texts})

    return make


def test_neutral_texts_are_read_at_the_start_and_once_at_the_end(run, neutral):
    result, events = run(neutral(steps=12, cadence={"evaluate_every": 4}))
    assert result.status == "finished"
    steps = {
        prefix: [step for step, values in sorted(events.curve().items()) if any(n.startswith(prefix) for n in values)]
        for prefix in (NEUTRAL, INITIAL + NEUTRAL, EVAL)
    }
    assert steps == {NEUTRAL: [12], INITIAL + NEUTRAL: [0], EVAL: [4, 8, 12]}
    assert {name for name in result.metrics if name.startswith(NEUTRAL)} == {
        f"neutral/{text}/{name}" for text in ("late", "last") for name in PERPLEXITIES
    }


def test_each_value_is_of_its_own_text(run, neutral, replica, tmp_path):
    spec = neutral(steps=12, learning_rate=50.0)
    result, events = run(spec)
    masks, _ = load_bundle(tmp_path / "trial" / "mask.safetensors")
    model = MaskedModel(replica.frozen)
    model.apply_masks(masks)
    starts = events.curve()[0]
    values = set()
    with np.load(tmp_path / "trial" / "evaluation.npz") as windows:
        for text in spec.neutral:
            on = measure_perplexity(model, replica.held_out(text), batch_size=4)
            assert result.metrics[f"neutral/{text.name}/perplexity"] == on.per_token
            assert result.metrics[f"neutral/{text.name}/word_perplexity"] == on.per_word
            arrays = {name: windows[f"neutral/{text.name}/{name}"] for name in ("window_loss_sum", "window_tokens")}
            np.testing.assert_array_equal(arrays["window_loss_sum"], on.loss_sum)
            np.testing.assert_array_equal(arrays["window_tokens"], [16] * text.windows)
            start = windows[f"neutral/{text.name}/initial_window_loss_sum"].sum() / arrays["window_tokens"].sum()
            assert np.exp(start) == pytest.approx(starts[f"initial/neutral/{text.name}/perplexity"])
            assert start != on.loss_sum.sum() / on.tokens.sum(), "the mask was learned"
            values.add(on.per_token)
    assert len(values) == 2
    again = evaluate(model, spec.evaluation, neutral=spec.neutral)
    assert again.metrics == {name: result.metrics[name] for name in again.metrics}
    assert again.neutral["late"].per_token == result.metrics["neutral/late/perplexity"]


def test_all_else_is_the_same_without_them(run, neutral, tmp_path):
    spec = neutral(steps=12, cadence={"evaluate_every": 4})
    with_them, _ = run(spec)
    masks, _ = load_bundle(tmp_path / "trial" / "mask.safetensors")
    (tmp_path / "trial").rename(tmp_path / "first")
    without, _ = run(spec.model_copy(update={"neutral": None}))
    again, _ = load_bundle(tmp_path / "trial" / "mask.safetensors")
    assert all(torch.equal(mask, again[name]) for name, mask in masks.items())
    assert not any("neutral" in name for name in without.metrics)
    counted = [name for name in without.metrics if not name.startswith(("time/", "memory/")) and "seconds" not in name]
    assert {name: with_them.metrics[name] for name in counted} == {name: without.metrics[name] for name in counted}
    with np.load(tmp_path / "trial" / "evaluation.npz") as windows:
        assert not any("neutral" in name for name in windows.files)


@pytest.mark.parametrize("method", ["dense", "magnitude"])
def test_rules_and_the_dense_model_are_measured_too(run, neutral, method, tmp_path):
    result, events = run(neutral(method))
    assert result.metrics["neutral/late/perplexity"] != result.metrics["neutral/last/perplexity"]
    assert not any(name.startswith(INITIAL) for values in events.curve().values() for name in values)
    with np.load(tmp_path / "trial" / "evaluation.npz") as windows:
        assert "neutral/late/window_loss_sum" in windows.files
        assert "neutral/late/initial_window_loss_sum" not in windows.files


def test_perplexity_is_of_a_word_where_the_study_says_so(run, neutral):
    spec = neutral("magnitude")
    result, _ = run(spec.model_copy(update={"evaluation": spec.evaluation.model_copy(update={"perplexity": "word"})}))
    assert result.metrics["neutral/late/perplexity"] == result.metrics["neutral/late/word_perplexity"]


def test_a_perplexity_that_is_not_finite_ends_the_trial_as_diverged(run, neutral, monkeypatch):
    from nmlab.trials.evaluation.perplexity import Perplexity

    measured = Perplexity.metrics
    monkeypatch.setattr(
        Perplexity,
        "metrics",
        lambda self, chosen, *, prefix=EVAL: {
            name: float("inf") if prefix == "neutral/late/" else value
            for name, value in measured(self, chosen, prefix=prefix).items()
        },
    )
    result, _ = run(neutral("magnitude"))
    assert (result.status, result.reason) == ("diverged", "the perplexity of the final mask is inf")


def test_only_neutral_texts_make_another_trial(neutral, make_spec):
    spec, with_them = make_spec(), neutral()
    assert "neutral" not in spec.model_dump()
    assert spec.model_copy(update={"neutral": None}).key == spec.key
    assert with_them.key != with_them.model_copy(update={"neutral": None}).key
    other = with_them.neutral[0].model_copy(update={"name": "other"})
    assert with_them.model_copy(update={"neutral": (other, with_them.neutral[1])}).key != with_them.key
    assert TrialSpec.model_validate(with_them.model_dump(mode="json")) == with_them
    flat = with_them.flat()
    assert (flat["data.neutral.late.windows"], flat["data.neutral.last.windows"]) == (5, 3)
    assert "data.neutral.late.name" not in flat
    assert not any("neutral" in name for name in spec.flat())
