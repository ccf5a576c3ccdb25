"""A run of MaskPro against its steps written out, and its invariants: seeds, state, masks."""

import pytest
import safetensors.torch
import torch

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.errors import DivergedError
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import GroupLayout, LinearEngine, MaskKey, store_of
from nmlab.trials.masks.plackett_luce import score
from nmlab.trials.masks.topn import check_mask
from nmlab.trials.methods import registry
from nmlab.trials.models import FrozenModel, MaskedModel, ModelSource

MASKPRO = registry.get("maskpro")
SMALL = {"logit_magnitude": 3.0, "learning_rate": 5.0, "steps": 12}


@pytest.fixture
def start(make_context):
    """Start a run: start("2:4", seed=1, estimator="residual")."""

    def begin(pattern="2:4", *, seed=0, on=None, **hyperparameters):
        config = MASKPRO.configure({**SMALL, **hyperparameters})
        return MASKPRO.start(make_context(pattern, seed=seed, on=on), config)

    return begin


@pytest.fixture(scope="module")
def tiny() -> ReplicaContext:
    return ReplicaContext(FrozenModel.load(ModelSource(source="builtin:tiny")))


def _walk(run, *, steps=6, begin=0):
    return [dict(run.step(step)) for step in range(begin, begin + steps)]


def _logits(run):
    return run._engine.logits()


def _copy(state):
    return safetensors.torch.load(safetensors.torch.save(state))


@pytest.mark.parametrize(
    "changes",
    [
        {"estimator": "vanilla"},
        {"estimator": "residual"},
        {"estimator": "tracked", "tracker": "paper"},
        {"estimator": "tracked", "masks_per_step": 3},
        {"estimator": "residual", "masks_per_step": 2, "sampler": "gaussian_topk"},
    ],
)
def test_steps_are_what_algorithm_1_says(start, make_context, changes):
    """Losses and logits of five steps, recomputed with a separate model and engine."""
    run, context = start(alpha=0.8, **changes), make_context()
    model, count = context.model, changes.get("masks_per_step", 1)
    layout = GroupLayout(model.frozen.layers, pattern=context.pattern)
    initial_GM = layout.join(run.initial_masks())
    logits_GM, delta = initial_GM * 3.0, 0.0
    for step in range(5):
        tokens = context.batches[step % len(context.batches)]
        sampler = LinearEngine(layout, store=store_of(layout, logits_GM), sampler=changes.get("sampler", "multinomial"))
        model.apply_masks(layout.split(initial_GM))
        reference, gradient_GM, residuals = model.loss(tokens), torch.zeros_like(logits_GM), []
        for index in range(count):
            mask_GM = sampler.sample(MaskKey(0, step, index)).over(sampler.mode())
            model.apply_masks(layout.split(mask_GM))
            loss = model.loss(tokens)
            residuals.append(loss - reference)
            unbiased = delta / (1 - 0.8**step) if step else residuals[-1]
            baseline = delta if changes.get("tracker") == "paper" else unbiased
            weight = {"vanilla": loss, "residual": loss - reference, "tracked": loss - reference - baseline}
            gradient_GM += weight[changes["estimator"]] * score(logits_GM, mask_GM, n=2) / count
        recorded = run.step(step)
        logits_GM = logits_GM - 5.0 * gradient_GM
        delta = 0.8 * delta + 0.2 * sum(residuals) / count
        torch.testing.assert_close(_logits(run), logits_GM, rtol=0, atol=2e-5)
        assert recorded["train/residual"] == pytest.approx(sum(residuals) / count, abs=1e-6)
        assert recorded["train/delta"] == pytest.approx(delta, abs=1e-6)
    assert (logits_GM - initial_GM * 3.0).abs().max() > 0.01


def test_the_first_official_step_sees_the_initial_mask(start, make_context):
    run, context = start(compat="official", masks_per_step=2), make_context()
    before = _logits(run).clone()
    (recorded,) = _walk(run, steps=1)
    context.model.apply_masks(run.initial_masks())
    assert recorded["train/loss"] == context.model.loss(context.batches[0])
    assert recorded["train/residual"] == recorded["train/delta"] == recorded["train/flips"] == 0.0
    assert torch.equal(_logits(run), before)
    assert _walk(run, steps=1, begin=1)[0]["train/flips"] > 0


def test_by_default_the_first_step_samples_and_only_starts_the_tracker(start):
    run = start()
    before = _logits(run).clone()
    (recorded,) = _walk(run, steps=1)
    assert recorded["train/flips"] > 0
    assert torch.equal(_logits(run), before)
    assert recorded["train/delta"] == pytest.approx((1 - 0.99) * recorded["train/residual"])
    _walk(run, steps=1, begin=1)
    assert not torch.equal(_logits(run), before)


def test_flips_and_mask_change_count_groups(start):
    run = start(learning_rate=200.0, estimator="residual")
    recorded = _walk(run, steps=4)
    groups = _logits(run).shape[0]
    changed = sum(
        int((mask != run.initial_masks()[name]).view(-1, 4).any(1).sum()) for name, mask in run.masks().items()
    )
    assert changed > 0
    assert run.observe()["train/mask_change"] == changed / groups
    assert all(0 < values["train/flips"] <= groups for values in recorded)


def test_one_seed_gives_one_run_and_another_seed_another(start):
    first, second, other = start(seed=3), start(seed=3), start(seed=4)
    assert _walk(first) == _walk(second)
    _walk(other)
    assert all(torch.equal(first.state()[name], second.state()[name]) for name in first.state())
    assert not torch.equal(_logits(first), _logits(other))


@pytest.mark.parametrize("changes", [{}, {"masks_per_step": 3}, {"compat": "official"}, {"tracker": "paper"}])
def test_a_run_goes_on_from_its_state_bit_for_bit(start, changes):
    undisturbed, before, after = start(**changes), start(**changes), start(**changes)
    recorded = _walk(undisturbed, steps=9)
    assert _walk(before, steps=4) == recorded[:4]
    after.load_state(_copy(before.state()))
    assert _walk(after, steps=5, begin=4) == recorded[4:]
    assert undisturbed.state().keys() == after.state().keys()
    assert all(torch.equal(undisturbed.state()[name], tensor) for name, tensor in after.state().items())
    assert undisturbed.observe() == after.observe()


def test_forwards_and_tokens_are_counted(make_context):
    context = make_context()
    run = MASKPRO.start(context, MASKPRO.configure({**SMALL, "masks_per_step": 3}))
    _walk(run, steps=5)
    tokens, passes = context.batches[0].numel(), 15 + len(context.batches)  # f(m_0) is part of the price
    assert (context.cost.forwards, context.cost.backwards, context.cost.tokens) == (passes, 0, passes * tokens)
    assert context.cost.trainable_params == sum(layer.numel for layer in context.replica.frozen.layers)
    assert {"sample", "patch", "forward", "update"} <= context.cost.seconds.keys()


def test_the_state_is_a_float_and_a_few_bits_a_weight(start, replica):
    """Logits 4 bytes or 2, a bound 4 / M, two codes 2 / M, a flag for changed groups 1 / M."""
    weights = sum(layer.numel for layer in replica.frozen.layers)
    assert start().state_bytes == 5.75 * weights
    assert start(logits="bfloat16_delta").state_bytes == 3.75 * weights


def test_how_masked_weights_come_about_changes_nothing(start):
    copied, multiplied = start(), start(masked_weights="multiplied")
    assert _walk(copied) == _walk(multiplied)
    assert all(torch.equal(copied.state()[name], tensor) for name, tensor in multiplied.state().items())


@pytest.mark.parametrize("changes", [{"engine": "event"}, {"sampler": "event"}, {"engine": "reference"}])
def test_every_engine_learns_and_goes_on_from_its_state(start, tiny, changes):
    undisturbed, before, after = (start(on=tiny, **changes) for _ in range(3))
    recorded = _walk(undisturbed, steps=9)
    assert recorded[-1]["train/flips"] > 0
    assert _walk(before, steps=4) == recorded[:4]
    after.load_state(_copy(before.state()))
    assert _walk(after, steps=5, begin=4) == recorded[4:]


def test_engine_and_sampler_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="sampler event needs engine event or auto, not engine linear"):
        MASKPRO.configure({"sampler": "event", "engine": "linear"})


def test_trials_share_the_losses_of_the_initial_mask(random_model, freeze, make_context):
    calls = []
    module = random_model("llama")
    module.register_forward_hook(lambda *_: calls.append(1))  # views are copies, hooks included
    replica = ReplicaContext(freeze(module))
    for seed in range(3):
        MASKPRO.start(make_context(seed=seed, on=replica), MASKPRO.configure(SMALL))
    assert len(calls) == len(make_context(on=replica).batches)


def test_initial_masks_are_those_of_the_method_named(start, make_context):
    for name in ("magnitude", "wanda", "random"):
        alone = registry.get(name).start(make_context(seed=2), registry.get(name).configure({})).masks()
        begun = start(initial_mask=name, seed=2)
        assert all(torch.equal(mask, alone[layer]) for layer, mask in begun.initial_masks().items())
        assert all(torch.equal(mask, alone[layer]) for layer, mask in begun.masks().items())
    by_seed = [start(initial_mask="random", seed=seed).initial_masks() for seed in (0, 1)]
    assert any(not torch.equal(by_seed[0][layer], by_seed[1][layer]) for layer in by_seed[0])


@pytest.mark.parametrize("pattern", ["1:4", "2:4", "2:8", "4:8", "8:16"])
@pytest.mark.parametrize("initial_mask", ["magnitude", "wanda"])
def test_every_pattern_on_the_shipped_model(start, tiny, pattern, initial_mask):
    run = start(pattern, on=tiny, initial_mask=initial_mask)
    _walk(run, steps=4)
    assert len(run.masks()) == 14
    for name, mask in run.masks().items():
        check_mask(mask, Pattern.parse(pattern), name=name)
    assert tiny.frozen.unchanged()


@pytest.mark.parametrize("learning_rate", [40.0, 1e6])
def test_a_run_that_lost_everything_is_ended(start, tiny, learning_rate):
    """Sampled masks that are worse than guessing for a hundred losses do not recover."""
    run = start(on=tiny, learning_rate=learning_rate, estimator="residual")
    with pytest.raises(DivergedError, match=r"worse than guessing .*; lower learning_rate or raise logit_magnitude"):
        _walk(run, steps=150)
    assert torch.isfinite(_logits(run)).all()


def test_a_loss_that_is_not_a_number_ends_the_run(random_model, freeze, start):
    module = random_model("llama")
    module.model.norm.weight.data[0] = torch.nan
    with pytest.raises(DivergedError, match="a sampled mask has the loss nan"):
        start(on=ReplicaContext(freeze(module))).step(0)


@pytest.mark.slow
def test_it_learns(make_context, tiny):
    """The loss of the learned mask on the calibration text is well below that of the mask it began with."""
    context = make_context(on=tiny)
    steps = 400
    config = MASKPRO.configure({"steps": steps, "learning_rate": 1.0, "logit_magnitude": 4.0})
    run = MASKPRO.start(context, config)
    _walk(run, steps=steps)

    def loss(masks):
        model = MaskedModel(tiny.frozen)
        model.apply_masks(masks)
        return sum(model.loss(batch) for batch in context.batches) / len(context.batches)

    assert loss(run.masks()) < loss(run.initial_masks()) - 0.3


@pytest.mark.parametrize(
    ("pattern", "hyperparameters", "message"),
    [
        ("4:8", {"compat": "official"}, "2:4 only"),
        ("2:4", {"initial_mask": "wnada"}, "did you mean 'wanda'"),
        ("2:4", {"initial_mask": "dense"}, "unknown initial_mask 'dense'"),
        ("2:4", {"initial_mask": "maskpro"}, "unknown initial_mask 'maskpro'"),
    ],
)
def test_what_cannot_be_done_is_refused(make_context, pattern, hyperparameters, message):
    config = MASKPRO.configure(hyperparameters)
    assert message in MASKPRO.unsupported_reason(make_context(pattern).pattern, config)
    assert MASKPRO.unsupported_reason(make_context("2:4").pattern, MASKPRO.configure({})) is None
