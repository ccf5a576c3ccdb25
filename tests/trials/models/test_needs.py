"""The needs that a method predicts, against what its runs then hold."""

import pytest

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import TrialContext
from nmlab.trials.models import MaskedModel, dense_teacher
from nmlab.trials.models.needs import Shape
from nmlab.trials.testing.small import LENGTH, SAMPLES, small_replica, small_spec, small_text

STEPS = 4
SETTINGS = [
    *((name, {}) for name in registry.names()),
    ("maskpro", {"engine": "linear"}),
    ("maskpro", {"engine": "reference"}),
    ("maskpro", {"engine": "event"}),
    ("maskpro", {"engine": "event", "logit_magnitude": 3.0}),
    ("maskpro", {"logits": "bfloat16_delta"}),
    ("maskpro", {"initial_mask": "wanda", "masks_per_step": 2}),
    ("maskpro", {"masked_weights": "multiplied"}),
    ("maskpro", {"mask_per": "sequence", "walk_rate": 0.2}),
    ("maskpro", {"initial_logits": "first_order", "initial_mask": "wanda", "mask_per": "sequence"}),
    ("maskpro", {"initial_logits": "saliency", "initial_mask": "wanda"}),
    ("maskpro", {"initial_logits": "saliency", "initial_mask": "sparsegpt", "engine": "event"}),
    ("susi", {"straight_through": True}),
    ("susi", {"exclude_argmax": True, "initial_logits": "saliency", "initial_mask": "sparsegpt"}),
    ("soft_topn", {"noise": "gumbel", "straight_through": True}),
    ("soft_topn", {"initial_logits": "saliency", "initial_mask": "wanda"}),
    ("maskllm", {"initial_logits": "saliency", "initial_mask": "wanda"}),
    ("maskllm", {"objective": "distill", "start_pull": 0.1}),
    ("soft_topn", {"initial_logits": "saliency", "initial_mask": "wanda", "start_pull": 0.1}),
    ("maskpro", {"objective": "distill", "masks_per_step": 2, "loss_masks": 1}),
    ("first_order", {"initial_mask": "sparsegpt"}),
    ("susi", {"initial_logits": "first_order", "initial_mask": "magnitude"}),
]


@pytest.fixture(scope="module")
def replica():
    return small_replica()


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return small_text(tmp_path_factory.mktemp("text"))


def shape_of(replica, pattern, *, device="cpu"):
    sizes = {name: tuple(tensor.shape) for name, tensor in replica.frozen.module.named_parameters()}
    return Shape(
        layers=replica.frozen.layers,
        sizes=sizes,
        element_bytes=4,
        hidden=16,
        pattern=Pattern.parse(pattern),
        sequences=SAMPLES,
        length=LENGTH,
        device=device,
        vocabulary=replica.frozen.vocabulary_size,
    )


def started(replica, text, name, hyperparameters, pattern):
    """Start a run and return it with its predicted needs; skips what the method refuses."""
    method = registry.get(name)
    steps = {"steps": STEPS} if "steps" in method.config.model_fields else {}
    config = method.configure({**steps, **hyperparameters})
    if reason := method.unsupported_reason(Pattern.parse(pattern), config):
        pytest.skip(reason)
    needs = method.needs(shape_of(replica, pattern), config)
    context = TrialContext(
        replica=replica,
        model=MaskedModel(replica.frozen),
        pattern=Pattern.parse(pattern),
        calibration=small_spec(name, text=text).calibration,
        seed=0,
    )
    return method.start(context, config), needs, context


@pytest.mark.parametrize("pattern", ["2:4", "4:8"])
@pytest.mark.parametrize(("name", "hyperparameters"), SETTINGS, ids=str)
def test_a_run_holds_what_was_predicted(replica, text, name, hyperparameters, pattern):
    """To the byte, except for what depends on how often groups deviate, which is predicted separately."""
    run, needs, _ = started(replica, text, name, hyperparameters, pattern)
    for step in range(run.steps):
        run.step(step)
    assert abs(run.state_bytes - needs.state_bytes) <= needs.uncertain
    if hyperparameters.get("engine") != "event":  # in which any group may become a hot one
        assert needs.uncertain <= 0.5 * needs.state_bytes
        assert run.state_bytes == needs.state_bytes


@pytest.mark.parametrize("hyperparameters", [{}, {"masked_weights": "multiplied"}], ids=str)
def test_masked_weights_take_what_was_predicted(replica, text, hyperparameters):
    run, needs, context = started(replica, text, "maskpro", hyperparameters, "2:4")
    run.step(0)
    assert context.model.bytes == needs.masked


@pytest.mark.parametrize("name", ["susi", "maskllm", "proxsparse", "maskpro"])
def test_a_method_that_distills_says_what_it_takes_with_predictions_kept_and_without(replica, name, monkeypatch):
    """Kept they are memory of the replica and forwards of the start, otherwise a forward a step."""
    method, shape = registry.get(name), shape_of(replica, "2:4")
    plain, kept = (method.needs(shape, method.configure({"objective": each})) for each in ("next_token", "distill"))
    assert (plain.distills, plain.dense_forwards) == (False, 0)
    predictions = 4 * SAMPLES * LENGTH * replica.frozen.vocabulary_size
    assert kept.shared == {**plain.shared, "dense predictions": predictions}
    assert (kept.distills, kept.dense_forwards, kept.start_reads) == (True, 0, plain.start_reads + 1)
    monkeypatch.setattr(dense_teacher, "KEPT_BYTES", predictions - 1)
    again = method.needs(shape, method.configure({"objective": "distill"}))
    assert again.shared == plain.shared
    assert (again.distills, again.dense_forwards) == (True, 1)
    holds = name == "maskpro"
    assert (again.held_batches, again.start_reads) == (int(holds), plain.start_reads + int(holds))


def test_only_a_method_of_another_package_may_not_say(replica):
    for name in registry.names():
        method = registry.get(name)
        assert method.needs(shape_of(replica, "2:4"), method.configure({})) is not None
