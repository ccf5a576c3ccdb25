"""Training objectives: the divergence from the dense model's predictions, and where those come from."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nmlab.trials.models import MaskedModel, dense_teacher
from nmlab.trials.models.dense_teacher import DenseTeacher, are_kept, predictions_bytes
from nmlab.trials.models.training_objective import NEXT_TOKEN, Distillation, divergences, next_token_losses

TOKENS_BT = torch.arange(54).view(6, 9) % 7 * 31 + torch.arange(6)[:, None]
BATCHES = list(torch.split(TOKENS_BT, 3))


@pytest.fixture
def frozen(random_model, freeze):
    return freeze(random_model("llama"))


class _Counted(MaskedModel):
    """Counts its forwards."""

    forwards = 0

    def map_logits(self, tokens_BT, read):
        self.forwards += 1
        return super().map_logits(tokens_BT, read)


@pytest.fixture
def teacher_of(frozen):
    """Make a teacher on two minibatches of three sequences; returns it with its model."""

    def make(*, at_once=None, held_batches=0, keeps=False):
        model = _Counted(frozen)
        teacher = DenseTeacher(model, BATCHES, at_once=at_once, held_batches=held_batches)
        if keeps:
            teacher.keep({batch: teacher.compute(batch) for batch in range(len(BATCHES))})
        return teacher, model

    return make


def _masks(frozen):
    draw = torch.Generator().manual_seed(1)
    return {at.name: torch.rand(at.out_features, at.in_features, generator=draw) > 0.5 for at in frozen.layers}


def _logits(seed, *, spread, dtype=torch.float32):
    draw = torch.Generator().manual_seed(seed)
    return (torch.randn(2, 5, 37, generator=draw) * spread).to(dtype)


def _in_float64(dense_BTV, masked_BTV):
    """KL(p || q) as it is defined: the sum over the vocabulary of p log(p / q)."""
    p_BTV, q_BTV = dense_BTV.softmax(-1), masked_BTV.softmax(-1)
    return (p_BTV * (p_BTV / q_BTV).log()).sum(-1)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), spread=st.sampled_from([0.01, 1.0, 5.0]))
def test_value_and_gradient_are_those_of_float64(seed, spread):
    dense_BTV, masked_BTV = _logits(seed, spread=spread), _logits(seed + 1, spread=spread).requires_grad_()
    double_BTV = masked_BTV.detach().double().requires_grad_()
    losses_BT, expected_BT = (
        divergences(dense_BTV.log_softmax(-1), masked_BTV),
        _in_float64(dense_BTV.double(), double_BTV),
    )
    torch.testing.assert_close(losses_BT.double(), expected_BT, rtol=1e-6, atol=1e-6)
    losses_BT.mean().backward()
    expected_BT.mean().backward()
    torch.testing.assert_close(masked_BTV.grad.double(), double_BTV.grad, rtol=0, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equal_predictions_lose_exactly_nothing(dtype):
    logits_BTV = _logits(0, spread=3.0, dtype=dtype)
    losses_BT = divergences(logits_BTV.float().log_softmax(-1), logits_BTV)
    assert losses_BT.dtype == torch.float32
    assert torch.equal(losses_BT, torch.zeros(2, 5))


def test_the_order_is_dense_then_masked():
    """A masked model that is sure where the dense one is not loses much; the other way round little."""
    sure, unsure = torch.tensor([[[9.0, 0.0]]]), torch.tensor([[[0.0, 0.0]]])
    assert float(divergences(unsure.log_softmax(-1), sure)) > 5 * float(divergences(sure.log_softmax(-1), unsure))


def test_the_dense_model_loses_nothing_and_a_masked_one_does(frozen, teacher_of):
    objective = Distillation(teacher_of()[0], dense_forwards=1)
    model = MaskedModel(frozen)
    assert model.loss(BATCHES[0], objective=objective) == 0.0
    model.apply_masks(_masks(frozen))
    dense, masked = MaskedModel(frozen), model.module(input_ids=BATCHES[0]).logits
    expected = _in_float64(dense.module(input_ids=BATCHES[0]).logits.double(), masked.double())
    losses = model.token_losses(BATCHES[0], objective=objective)
    assert losses.shape == BATCHES[0].shape, "a loss after every token, the last one included"
    torch.testing.assert_close(losses.double(), expected, rtol=1e-5, atol=1e-5)
    assert model.loss(BATCHES[0], objective=objective) == pytest.approx(float(expected.mean()), rel=1e-6)
    assert float(model.loss_under({}, BATCHES[0], objective=objective)) == model.loss(BATCHES[0], objective=objective)


def test_the_next_token_of_the_text_takes_no_part(frozen):
    """The last token of a sequence is context of the last prediction alone, and target of none."""
    changed_BT = BATCHES[0].clone()
    changed_BT[:, -1] += 1
    teacher = DenseTeacher(MaskedModel(frozen), [BATCHES[0], changed_BT], at_once=None)
    model, objective = MaskedModel(frozen), Distillation(teacher, dense_forwards=1)
    model.apply_masks(_masks(frozen))
    losses, again = (model.token_losses(tokens_BT, objective=objective) for tokens_BT in (BATCHES[0], changed_BT))
    torch.testing.assert_close(again[:, :-1], losses[:, :-1])
    assert not torch.equal(again[:, -1], losses[:, -1])


def test_without_an_objective_it_is_the_next_token(frozen):
    model = MaskedModel(frozen)
    expected = next_token_losses(model.module(input_ids=BATCHES[0]).logits, BATCHES[0])
    assert torch.equal(model.token_losses(BATCHES[0]), expected)
    assert torch.equal(model.token_losses(BATCHES[0], objective=NEXT_TOKEN), expected)


def test_parts_of_a_minibatch_have_the_losses_of_the_whole(frozen, teacher_of):
    """Value and gradient; every part is compared with the dense model's forward of that part."""
    found = {}
    for at_once in (None, 2, 1):
        model, objective = MaskedModel(frozen), Distillation(teacher_of(at_once=at_once)[0], dense_forwards=1)
        model.micro_batch = at_once
        masks = {name: (mask.float() + 0.1).requires_grad_() for name, mask in _masks(frozen).items()}
        loss = model.loss_under(model.masked_weights(masks), BATCHES[0], objective=objective)
        loss.backward()
        model.apply_masks(_masks(frozen))
        found[at_once] = float(loss.detach()), model.loss(BATCHES[0], objective=objective), masks
    for loss, hard, masks in (found[2], found[1]):
        assert (loss, hard) == pytest.approx(found[None][:2], rel=1e-5)
        for name, mask in masks.items():
            torch.testing.assert_close(mask.grad, found[None][2][name].grad, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("at_once", [None, 2])
def test_kept_held_and_computed_predictions_are_equal_bit_for_bit(teacher_of, at_once):
    """Also where single sequences are asked for: they are rows of the same forward."""
    options = {"kept": {"keeps": True}, "held": {"held_batches": 1}, "computed": {}}
    for asked_BT in (*BATCHES, BATCHES[1][:2], BATCHES[1][2:], BATCHES[0][1:2], TOKENS_BT[[5, 0, 4]]):
        found = [teacher_of(at_once=at_once, **given)[0].log_probabilities(asked_BT) for given in options.values()]
        assert found[0].shape == (*asked_BT.shape, 512)
        assert torch.equal(found[0], found[1])
        assert torch.equal(found[0], found[2])
        torch.testing.assert_close(found[0].exp().sum(-1), torch.ones(asked_BT.shape))


@pytest.mark.parametrize(
    ("options", "forwards"),
    [({"keeps": True}, 4), ({"held_batches": 2}, 4), ({"held_batches": 1}, 8), ({}, 24)],
)
def test_the_dense_model_runs_as_often_as_predictions_are_not_at_hand(teacher_of, options, forwards):
    """Twice over two minibatches in two parts, each asked for three times in a row, as by three masks."""
    teacher, model = teacher_of(at_once=2, **options)
    for batch_BT in BATCHES * 2:
        for _ in range(3):
            for part_bT in torch.split(batch_BT, 2):
                teacher.log_probabilities(part_bT)
    assert model.forwards == forwards


def test_a_text_is_kept_up_to_the_bound(monkeypatch):
    assert predictions_bytes(tokens=10, vocabulary=7) == 280
    monkeypatch.setattr(dense_teacher, "KEPT_BYTES", 280)
    assert are_kept(tokens=10, vocabulary=7)
    assert not are_kept(tokens=11, vocabulary=7)


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("size", [2, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)])
def test_stages_have_the_losses_and_gradients_of_the_whole(saved, load_stage, run_pipeline, size, keeps):
    """The dense model runs on the same stages; its predictions stay on the last one."""
    source = saved("llama", num_hidden_layers=4)

    def found(pipeline):
        frozen = load_stage(source, pipeline)
        teacher = DenseTeacher(MaskedModel(frozen, pipeline=pipeline), BATCHES, at_once=None)
        if keeps:
            teacher.keep({batch: teacher.compute(batch) for batch in range(2)})
        assert (teacher.log_probabilities(BATCHES[1]) is None) == (pipeline.rank + 1 < pipeline.size)
        model, objective = MaskedModel(frozen, pipeline=pipeline), Distillation(teacher, dense_forwards=1)
        leaves = {
            f"{at.name}.weight": (frozen.module.get_parameter(f"{at.name}.weight") * 0.9).requires_grad_()
            for at in frozen.layers
        }
        loss = model.loss_under(leaves, BATCHES[0], objective=objective)
        loss.backward()
        model.apply_masks({at.name: torch.ones(at.out_features, at.in_features).tril().bool() for at in frozen.layers})
        losses = float(loss.detach()), model.loss(BATCHES[1], objective=objective)
        return (
            losses,
            model.token_losses(BATCHES[0], objective=objective).tolist(),
            {n: w.grad for n, w in leaves.items()},
        )

    ((losses, by_token, gradients),) = run_pipeline(1, found)
    parts = run_pipeline(size, found)
    assert min(losses) > 0.001
    assert [part[:2] for part in parts] == [(losses, by_token)] * size
    joined = {name: gradient for _, _, part in parts for name, gradient in part.items()}
    assert joined.keys() == gradients.keys()
    assert all(torch.equal(joined[name], gradients[name]) for name in gradients)
