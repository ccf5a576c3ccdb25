"""MaskPro with a mask for every sequence of a minibatch: its steps, the exact policy gradient, cost and refusals."""

import math
from itertools import product

import pytest
import safetensors.torch
import torch

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import GroupLayout, MaskKey
from nmlab.trials.masks.codes import encode
from nmlab.trials.masks.plackett_luce import log_prob, score
from nmlab.trials.methods import registry
from nmlab.trials.methods.maskpro import MaskProConfig
from nmlab.trials.methods.maskpro.maths import leave_one_out
from nmlab.trials.models import MaskedModel

MASKPRO = registry.get("maskpro")
SMALL = {"logit_magnitude": 3.0, "learning_rate": 5.0, "steps": 12, "mask_per": "sequence"}
WALK = {"walk_rate": 0.3, "learning_rate": None, "learning_rate_schedule": "linear"}


@pytest.fixture
def begin(make_context):
    """Start a run on minibatches of three sequences, and return it with its context: begin("2:4", batch_size=4)."""

    def start(pattern="2:4", *, seed=0, samples=6, batch_size=3, on=None, evaluators=None, **hyperparameters):
        context = make_context(pattern, seed=seed, on=on)
        sizes = {"samples": samples, "batch_size": batch_size}
        context.calibration = context.calibration.model_copy(update=sizes)
        context.evaluators = evaluators or context.evaluators
        return MASKPRO.start(context, MASKPRO.configure({**SMALL, **hyperparameters})), context

    return start


def _walk(run, *, steps=6, first=0):
    return [dict(run.step(step)) for step in range(first, first + steps)]


def _copy(state):
    return safetensors.torch.load(safetensors.torch.save(state))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"engine": "event"},
        {"tracker": "corrected", "alpha": 0.8},
        {"estimator": "residual"},
        {"initial_logits": "saliency", "initial_mask": "wanda", "engine": "linear"},
        {"learning_rate_schedule": "cosine", "masked_weights": "multiplied"},
    ],
)
def test_a_step_weighs_each_mask_by_the_residual_of_its_own_sequence(begin, changes):
    """Losses and logits of some steps, recomputed sequence by sequence with a separate model."""
    run, context = begin(**changes)
    model, config = MaskedModel(context.replica.frozen), run._config
    layout = GroupLayout(model.frozen.layers, pattern=context.pattern)
    initial, logits_GM, mean = run.initial_masks(), run._engine.logits(), 0.0
    for step in range(4):
        tokens, gradient_GM, residuals, scores = context.batches[step % 2], torch.zeros_like(logits_GM), [], []
        for index in range(3):
            draw = run._engine.sample(MaskKey(0, step, index))
            mask_GM = draw.over(run._engine.mode())
            scores.append(score(logits_GM, mask_GM, n=2))
            model.apply_masks(layout.split(mask_GM))
            loss = model.loss(tokens[index : index + 1])
            model.apply_masks(initial)
            residuals.append(loss - model.loss(tokens[index : index + 1]))
        if config.estimator == "residual":
            weights = residuals
        elif config.tracker == "leave_one_out":
            weights = leave_one_out(residuals)
        else:
            weights = [residual - mean / (1 - 0.8**step) if step else 0.0 for residual in residuals]
        mean = 0.8 * mean + 0.2 * sum(residuals) / 3
        for weight, own_GM in zip(weights, scores, strict=True):
            gradient_GM += weight / 3 * own_GM
        recorded = run.step(step)
        falling = changes.get("learning_rate_schedule") == "cosine"
        logits_GM = logits_GM - (recorded["train/learning_rate"] if falling else 5.0) * gradient_GM
        torch.testing.assert_close(run._engine.logits(), logits_GM, rtol=0, atol=5e-5)
        assert recorded["train/residual"] == pytest.approx(sum(residuals) / 3, abs=2e-6)
    assert recorded["train/flips"] > 0


class _Table:
    """Mask evaluators that look losses up by the mask that was drawn and by its sequence."""

    def __init__(self, losses_by_code):
        self._losses_by_code, self.draws = losses_by_code, []

    def watch(self, engine):
        """Remember what the engine draws from now on."""
        sample = engine.sample

        def remember(key):
            self.draws.append(sample(key))
            return self.draws[-1]

        engine.sample = remember
        self._mode_GM = engine.mode()

    def losses(self, step, count, *, evaluate, digest):
        drawn = [encode(draw.over(self._mode_GM)).tolist() for draw in self.draws[-count:]]
        return [self._losses_by_code[tuple(codes)][index] for index, codes in enumerate(drawn)]


def _few_groups(random_model, freeze):
    """A model whose only prunable weights are a value projection of two groups."""
    sizes = {"hidden_size": 4, "intermediate_size": 8, "num_hidden_layers": 1, "initializer_range": 1.0}
    names = ("q_proj", "k_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    return ReplicaContext(freeze(random_model("llama", **sizes), leave_dense=names))


def _all_masks(pattern, groups):
    rows = [row for row in product((0, 1), repeat=pattern.m) if sum(row) == pattern.n]
    return [torch.tensor(rows_G, dtype=torch.bool) for rows_G in product(rows, repeat=groups)]


def _every_loss(context, masks_GM, layout):
    """The loss of every sequence of the first minibatch under every mask, by the codes of its groups."""
    model, found = MaskedModel(context.replica.frozen), {}
    for mask_GM in masks_GM:
        model.apply_masks(layout.split(mask_GM))
        tokens = context.batches[0]
        found[tuple(encode(mask_GM).tolist())] = [model.loss(tokens[k : k + 1]) for k in range(len(tokens))]
    return found


def _exact_gradient(logits_GM, masks_GM, losses_by_code):
    """d/dlogits of the mean over sequences of E[f_k(m)], by a sum over all masks and over all orders of drawing."""
    logits_GM = logits_GM.double().requires_grad_()
    weight_GM, value = logits_GM.exp(), torch.zeros((), dtype=torch.float64)
    for mask_GM in masks_GM:
        probability = torch.ones((), dtype=torch.float64)
        for weight_M, mask_M in zip(weight_GM, mask_GM, strict=True):
            kept = mask_M.nonzero().squeeze(1).tolist()
            orders = [kept] if len(kept) == 1 else [kept, kept[::-1]]
            total, of_group = weight_M.sum(), torch.zeros((), dtype=torch.float64)
            for order in orders:
                left, chance = total, torch.ones((), dtype=torch.float64)
                for item in order:
                    chance, left = chance * weight_M[item] / left, left - weight_M[item]
                of_group = of_group + chance
            probability = probability * of_group
        own = losses_by_code[tuple(encode(mask_GM).tolist())]
        value = value + probability * sum(own) / len(own)
    (gradient_GM,) = torch.autograd.grad(value, logits_GM)
    return gradient_GM


@pytest.mark.parametrize(("pattern", "sequences"), [("2:4", 2), ("1:4", 3)])
def test_the_expected_update_is_the_exact_policy_gradient(random_model, freeze, begin, pattern, sequences):
    """The mean over all tuples of masks, weighted by their probability; the baseline of a mask leaves no bias."""
    on, parsed = _few_groups(random_model, freeze), Pattern.parse(pattern)
    run, context = begin(pattern, on=on, samples=sequences, batch_size=sequences, logit_magnitude=1.0)
    layout, logits_GM = GroupLayout(on.frozen.layers, pattern=parsed), run._engine.logits().double()
    masks_GM = _all_masks(parsed, layout.groups)
    losses = _every_loss(context, masks_GM, layout)
    by_mask = [losses[tuple(encode(mask_GM).tolist())] for mask_GM in masks_GM]
    chances = [float(log_prob(logits_GM, mask_GM).sum().exp()) for mask_GM in masks_GM]
    mean_weights = [0.0] * len(masks_GM)
    for chosen in product(range(len(masks_GM)), repeat=sequences):
        weights = run._weights([by_mask[number][k] for k, number in enumerate(chosen)], run._initial_losses[0])
        chance = math.prod(chances[number] for number in chosen)
        for weight, number in zip(weights, chosen, strict=True):
            mean_weights[number] += chance * weight
    scores = [score(logits_GM, mask_GM, n=parsed.n) for mask_GM in masks_GM]
    mean_GM = sum(weight * score_GM for weight, score_GM in zip(mean_weights, scores, strict=True))
    expected_GM = _exact_gradient(logits_GM, masks_GM, losses)
    assert sum(chances) == pytest.approx(1)
    assert float(expected_GM.abs().max()) > 0.01
    torch.testing.assert_close(mean_GM, expected_GM, rtol=0, atol=1e-9)


def test_the_mean_of_sampled_updates_is_the_exact_policy_gradient(random_model, freeze, begin):
    """Steps from the same logits with masks that the engine draws: within 4 standard errors in each of 8 logits.

    A right estimator fails with probability 5e-4; the seed is fixed, so it either does or does not.
    """
    on, pattern, steps = _few_groups(random_model, freeze), Pattern(2, 4), 400
    layout = GroupLayout(on.frozen.layers, pattern=pattern)
    masks_GM = _all_masks(pattern, layout.groups)
    losses = _every_loss(begin(on=on, samples=3)[1], masks_GM, layout)
    table = _Table(losses)
    run, _ = begin(on=on, evaluators=table, learning_rate=1.0, logit_magnitude=1.0, samples=3)
    table.watch(run._engine)
    state, before_GM = _copy(run._engine.state()), run._engine.logits()
    moves_SGM = torch.empty(steps, *before_GM.shape, dtype=torch.float64)
    for step in range(steps):
        run.step(step)
        moves_SGM[step] = (run._engine.logits() - before_GM).double()
        run._engine.load_state(state)
    expected_GM = -_exact_gradient(before_GM, masks_GM, losses)
    error_GM = moves_SGM.std(dim=0) / steps**0.5
    assert float(((moves_SGM.mean(dim=0) - expected_GM) / error_GM).abs().max()) < 4
    assert float((expected_GM / error_GM).abs().max()) > 5, "the gradient stands out from the noise"


def test_draws_are_those_of_as_many_masks_of_a_step(begin):
    """At logits that do not move, as the rate is below what float32 resolves."""
    first, second = _Table({}), _Table({})
    on_batches = {"mask_per": "batch", "masks_per_step": 3, "tracker": "leave_one_out"}
    for table, changes in ((first, {}), (second, on_batches)):
        run, _ = begin(evaluators=table, learning_rate=1e-9, **changes)
        table.watch(run._engine)
        table.losses = lambda step, count, **_: [1.0] * count
        _walk(run, steps=2)
    assert [draw.key for draw in first.draws] == [draw.key for draw in second.draws]
    for one, other in zip(first.draws, second.draws, strict=True):
        assert torch.equal(one.groups_g, other.groups_g)
        assert torch.equal(one.masks_gM, other.masks_gM)


def test_a_smaller_last_minibatch_has_fewer_masks_and_one_count_for_peers(begin):
    counts = []

    class Evaluators:
        def losses(self, step, count, *, evaluate, digest):
            counts.append(count)
            return [evaluate(index) for index in range(count)]

    run, context = begin(samples=8, evaluators=Evaluators())
    alone, _ = begin(samples=8)
    assert [len(tokens) for tokens in context.batches] == [3, 3, 2]
    assert _walk(run) == _walk(alone)
    assert counts == [3] * 6, "peers agree on it once for all steps"
    assert len(run._recent) == 3 + 3 + 2 + 3 + 3 + 2


@pytest.mark.parametrize(
    "changes",
    [{}, WALK, {**WALK, "mask_per": "batch"}, {"initial_logits": "saliency", "initial_mask": "wanda", **WALK}],
)
def test_a_run_goes_on_from_its_state_bit_for_bit(begin, changes):
    (undisturbed, _), (before, _), (after, _) = (begin(**changes) for _ in range(3))
    recorded = _walk(undisturbed, steps=9)
    assert _walk(before, steps=4) == recorded[:4]
    after.load_state(_copy(before.state()))
    assert _walk(after, steps=5, first=4) == recorded[4:]
    assert all(torch.equal(undisturbed.state()[name], tensor) for name, tensor in after.state().items())
    assert ("spread" in after.state()) is ("walk_rate" in changes)


def test_a_step_is_charged_as_one_forward_of_its_minibatch(begin):
    """And f(m_0) as one forward of every minibatch, at the start."""
    run, context = begin(samples=8)
    start = context.cost.initial
    assert (start.forwards, start.tokens) == (3, 8 * 16)
    _walk(run, steps=3)
    assert (context.cost.forwards - 3, context.cost.tokens - 8 * 16) == (3, 8 * 16)


def test_losses_of_the_initial_mask_are_those_of_single_sequences(begin):
    run, context = begin(samples=8)
    model = MaskedModel(context.replica.frozen)
    model.apply_masks(run.initial_masks())
    for tokens, own in zip(context.batches, run._initial_losses, strict=True):
        assert own == pytest.approx([model.loss(tokens[k : k + 1]) for k in range(len(tokens))], rel=1e-5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"masks_per_step": 4},
            "masks_per_step = 4 with mask_per sequence: expected 1, as every sequence has one mask",
        ),
        ({"compat": "official"}, "mask_per sequence with compat official: the authors' code has one mask"),
        ({"mask_per": "sequences"}, "mask_per = 'sequences': expected batch or sequence; did you mean 'sequence'?"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(wrong, message):
    with pytest.raises(ValueError) as refused:
        MASKPRO.configure({"mask_per": "sequence", **wrong})
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_leave_one_out_is_the_baseline_where_none_is_given():
    assert MaskProConfig(mask_per="sequence").tracker == "leave_one_out"
    assert MaskProConfig(mask_per="sequence", tracker="paper").tracker == "paper"
    assert MaskProConfig().tracker == "corrected"
    with pytest.raises(ValueError, match="leave_one_out needs masks_per_step of 2 or more, or mask_per sequence"):
        MaskProConfig(tracker="leave_one_out")


@pytest.mark.parametrize(
    ("samples", "batch_size", "changes", "is_refused"),
    [
        (9, 4, {}, True),
        (8, 1, {}, True),
        (1, 4, {}, True),
        (8, 4, {}, False),
        (10, 4, {}, False),
        (9, 4, {"tracker": "corrected"}, False),
        (9, 4, {"estimator": "residual"}, False),
        (9, 4, {"mask_per": "batch"}, False),
    ],
)
def test_a_sequence_without_others_is_refused(make_spec, samples, batch_size, changes, is_refused):
    sizes = {"samples": samples, "batch_size": batch_size}
    calibration = make_spec().calibration.model_copy(update=sizes)
    config = MASKPRO.configure({"mask_per": "sequence", **changes})
    reason = MASKPRO.unsupported_calibration_reason(config, calibration)
    assert (reason is not None) is is_refused
    if reason:
        assert f"samples = {samples}, batch_size = {batch_size} leave one sequence alone" in reason


def test_a_trial_counts_the_masks_of_a_step_and_the_readings_of_its_minibatch(make_spec):
    spec = make_spec(mask_per="sequence")
    assert (spec.masks_a_step, spec.readings_a_step) == (2, 1)
    few = spec.model_copy(update={"calibration": spec.calibration.model_copy(update={"batch_size": 32})})
    assert (few.masks_a_step, few.readings_a_step) == (8, 1)
    many = make_spec(masks_per_step=3)
    assert (many.masks_a_step, many.readings_a_step) == (3, 3)
    assert (make_spec("wanda").masks_a_step, make_spec("wanda").readings_a_step) == (1, 1)
    assert spec.key != make_spec().key == make_spec(mask_per="batch").key
