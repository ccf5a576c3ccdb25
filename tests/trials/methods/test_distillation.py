"""Learned methods with `objective: distill` and with `start_pull`: what they lower, what it costs, what stays equal."""

import copy

import pytest
import safetensors.torch
import torch

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import MaskKey
from nmlab.trials.methods import registry
from nmlab.trials.models import dense_teacher
from nmlab.trials.trial.run import run_trial

STEPS = 6
RUNS = {
    "susi": {"learning_rate": 0.05},
    "susi hard": {"learning_rate": 0.05, "straight_through": True},
    "soft_topn": {"learning_rate": 0.1},
    "simple": {"learning_rate": 0.1},
    "maskllm": {"learning_rate": 0.01},
    "proxsparse": {"learning_rate": 0.01, "prox_lambda": 0.5},
    "maskpro": {"learning_rate": 5.0, "logit_magnitude": 3.0},
    "maskpro masks": {"learning_rate": 5.0, "logit_magnitude": 3.0, "masks_per_step": 3, "loss_masks": 2},
    "maskpro sequences": {"learning_rate": 5.0, "logit_magnitude": 3.0, "mask_per": "sequence"},
    "maskpro multiplied": {"learning_rate": 5.0, "logit_magnitude": 3.0, "masked_weights": "multiplied"},
}
BY_GRADIENT = [name for name in RUNS if not name.startswith("maskpro")]
FROM_WANDA = {"initial_logits": "saliency", "initial_mask": "wanda"}
PULLED = {"susi": FROM_WANDA, "soft_topn": FROM_WANDA, "simple": FROM_WANDA, "maskllm": {"initial_mask": "wanda"}}


@pytest.fixture
def start(make_context, replica):
    """Start a run of RUNS that distills, in a trial context of its own; returns both. A test's runs share results."""
    own = ReplicaContext(replica.frozen)

    def begin(name, *, pattern="2:4", micro_batch=None, objective="distill", on=own, **more):
        method, context = registry.get(name.split()[0]), make_context(pattern, on=on)
        context.model.micro_batch = micro_batch
        return method.start(
            context, method.configure({"steps": STEPS, "objective": objective, **RUNS[name], **more})
        ), context

    return begin


@pytest.fixture(params=["kept", "computed again"])
def is_kept(request, monkeypatch):
    if request.param != "kept":
        monkeypatch.setattr(dense_teacher, "KEPT_BYTES", 0)
    return request.param == "kept"


def _walk(run, *, begin=0, end=STEPS):
    return [dict(run.step(step)) for step in range(begin, end)]


def _divergence(frozen, weights, tokens_BT):
    """KL(dense || masked) in float64, by the model's own forward and the definition."""
    module = copy.deepcopy(frozen.module).double()
    masked_BTV = torch.func.functional_call(module, dict(weights), kwargs={"input_ids": tokens_BT}).logits
    p_BTV, q_BTV = module(input_ids=tokens_BT).logits.softmax(-1), masked_BTV.softmax(-1)
    return (p_BTV * (p_BTV / q_BTV).log()).sum(-1).mean()


CASES = [
    (name, pattern) for name in BY_GRADIENT for pattern in ("2:4", "4:8") if (name, pattern) != ("proxsparse", "4:8")
]


@pytest.mark.parametrize(("name", "pattern"), CASES)
def test_loss_and_gradient_are_those_of_float64(start, random_model, freeze, name, pattern):
    """The gradient in the weights of the second step's forward, in which no method has the dense model.

    The model computes in float64, so that what is compared is the divergence, which is float32.
    """
    replica = ReplicaContext(freeze(random_model("llama").double()))
    run, context = start(name, pattern=pattern, on=replica)
    run.step(0)
    with torch.no_grad():
        made = run._weights(1).by_name
    single, double = ({key: weight.clone().requires_grad_() for key, weight in made.items()} for _ in range(2))
    loss = context.model.loss_under(single, context.batches[1], objective=run._objective)
    expected = _divergence(replica.frozen, double, context.batches[1])
    gradients = zip(
        torch.autograd.grad(loss, list(single.values())),
        torch.autograd.grad(expected, list(double.values())),
        strict=True,
    )
    assert run.step(1)["train/loss"] == float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-6)
    off, whole = torch.stack([torch.stack([(one - other).norm(), other.norm()]) for one, other in gradients]).norm(
        dim=0
    )
    assert float(off) <= 1e-6 * float(whole)


def test_maskpro_weighs_masks_by_their_divergences(start, replica):
    """Losses of the sampled and of the initial masks: no gradient, and so no other place where the objective acts."""
    run, context = start("maskpro masks")
    initial = run.initial_masks()
    draws = [run._sample(key) for key in run_keys(3)]
    modes = run._engine.mode()
    expected = []
    for draw in draws:
        masks = run._layout.split(draw.over(modes))
        expected.append(_of_masks(replica.frozen, masks, context.batches[0]))
    recorded = run.step(0)
    assert recorded["train/loss"] == pytest.approx(sum(expected) / 3, rel=1e-6)
    residual = recorded["train/loss"] - _of_masks(replica.frozen, initial, context.batches[0])
    assert recorded["train/residual"] == pytest.approx(residual, rel=1e-4)
    left = run.diagnostics(lambda: False)["mask_losses.npz"]
    assert left["dense_loss_B"].tolist() == [0.0, 0.0]
    assert left["initial_loss_B"].tolist() == [loss for (loss,) in run._initial_losses[:2]]
    assert float(left["loss_KB"].min()) > 0


def test_a_mask_of_its_own_sequence_is_weighed_by_its_divergence(start, replica, is_kept):
    """Each alone on its sequence, by the definition; the sequences went through the model together."""
    run, context = start("maskpro sequences")
    tokens_KT, modes = context.batches[0], run._engine.mode()
    draws = [run._engine.sample(key) for key in run_keys(len(tokens_KT))]
    expected = [
        _of_masks(replica.frozen, run._layout.split(draw.over(modes)), tokens_KT[index : index + 1])
        for index, draw in enumerate(draws)
    ]
    recorded = run.step(0)
    assert recorded["train/loss"] == pytest.approx(sum(expected) / len(expected), rel=1e-5)
    initial = [_of_masks(replica.frozen, run.initial_masks(), tokens_1T) for tokens_1T in tokens_KT.split(1)]
    assert run._initial_losses[0] == pytest.approx(initial, rel=1e-5)


def run_keys(count):
    return [MaskKey(0, 0, index) for index in range(count)]


def _of_masks(frozen, masks, tokens_BT):
    weights = {
        f"{name}.weight": frozen.module.get_parameter(f"{name}.weight").double() * mask for name, mask in masks.items()
    }
    with torch.no_grad():
        return float(_divergence(frozen, weights, tokens_BT))


@pytest.mark.parametrize("micro_batch", [None, 1])
@pytest.mark.parametrize("name", RUNS)
def test_kept_or_computed_again_the_result_is_the_same_bit_for_bit(start, replica, monkeypatch, name, micro_batch):
    found = []
    for bound in (dense_teacher.KEPT_BYTES, 0):
        monkeypatch.setattr(dense_teacher, "KEPT_BYTES", bound)
        run, _ = start(name, micro_batch=micro_batch, on=ReplicaContext(replica.frozen))
        found.append((_walk(run), run.state(), run.diagnostics(lambda: False)))
    (values, state, left), (again, other, found_again) = found
    assert values == again
    assert all(torch.equal(tensor, other[key]) for key, tensor in state.items())
    for file, arrays in left.items():
        assert all((array == found_again[file][key]).all() for key, array in arrays.items())
    assert len({value["train/loss"] for value in values}) > 1


@pytest.mark.parametrize("name", RUNS)
def test_a_run_goes_on_from_its_state_bit_for_bit(start, is_kept, name):
    (whole, one), (before, _), (after, other) = (start(name) for _ in range(3))
    recorded = _walk(whole)
    _walk(before, end=3)
    after.load_state(safetensors.torch.load(safetensors.torch.save(dict(before.state()))))
    begun = one.cost.bill.forwards - other.cost.bill.forwards
    assert _walk(after, begin=3) == recorded[3:]
    assert all(torch.equal(tensor, after.state()[key]) for key, tensor in whole.state().items())
    assert begun == (one.cost.bill.forwards - other.cost.bill.forwards) * 2, "half of the steps cost half"


@pytest.mark.parametrize("name", RUNS)
def test_the_dense_forwards_are_charged(start, is_kept, name):
    """Kept: one for each of the four minibatches, at the start. Computed again: one a step, and one for each f(m_0)."""
    (run, context), (plain, without) = start(name), start(name, objective="next_token")
    size, masks = context.batches[0].numel(), RUNS[name].get("masks_per_step", 1)
    begun = context.cost.bill - without.cost.bill
    at_start = 4 if is_kept or name.startswith("maskpro") else 0
    assert (begun.forwards, begun.tokens) == (at_start, at_start * size)
    _walk(run)
    _walk(plain)
    charged = context.cost.bill - without.cost.bill
    in_steps = 0 if is_kept else STEPS
    assert (charged.forwards, charged.backwards) == (at_start + in_steps, 0)
    assert charged.tokens == charged.forwards * size
    assert without.cost.bill.forwards >= masks * STEPS
    run.diagnostics(lambda: False)
    plain.diagnostics(lambda: False)
    extra = context.extra.bill.forwards - without.extra.bill.forwards
    assert extra == (2 if "loss_masks" in RUNS[name] and not is_kept else 0)


def test_only_the_minibatches_that_a_run_takes_are_predicted(start):
    run, context = start("susi", steps=3)
    assert (context.cost.bill.forwards, context.cost.bill.tokens) == (3, 3 * context.batches[0].numel())
    _walk(run, end=3)
    assert context.cost.bill.forwards == 6


def test_trials_of_a_replica_share_the_predictions(random_model, freeze, make_context):
    replica, method = ReplicaContext(freeze(random_model("llama"))), registry.get("susi")
    one, other = make_context(on=replica), make_context(on=replica, seed=1)
    config = method.configure({"steps": 4, "objective": "distill"})
    method.start(one, config)
    held = replica.results.nbytes
    method.start(other, config)
    assert replica.results.nbytes == held
    assert other.cost.bill.forwards == one.cost.bill.forwards == 4
    assert (one.cost.shared.forwards, other.cost.shared.forwards) == (0, 4)


@pytest.mark.parametrize("name", PULLED)
def test_a_pull_adds_the_mean_squared_distance_from_the_initial_mask(start, name):
    """Value and gradient by hand; without a pull nothing is added."""
    (pulled, _), (free, _) = (start(name, **PULLED[name], start_pull=weight) for weight in (0.5, 0.0))
    m_0 = pulled._layout.join(pulled.initial_masks()).float()
    for step in range(2):
        made = pulled._weights(step)
        expected = 0.5 * (made.soft_GM - m_0).square().sum(dim=1).mean()
        penalty, reward = pulled._penalty(step, made), free._penalty(step, free._weights(step))
        own = penalty if reward is None else penalty - pulled._penalty(step, made._replace(soft_GM=None))
        assert float(own.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
        (parameter,) = pulled._adamw.parameters.values()
        mine, by_hand = (torch.autograd.grad(each, parameter, retain_graph=True)[0] for each in (own, expected))
        torch.testing.assert_close(mine, by_hand, rtol=1e-4, atol=1e-8)
        assert pulled.step(step)["train/penalty"] == float(penalty.detach())
    assert free._weights(0).soft_GM is None
    assert ("train/penalty" in free.step(0)) == (name == "maskllm")


@pytest.mark.parametrize("name", PULLED)
def test_a_strong_pull_keeps_the_mask_where_it_began(start, name):
    given = {**PULLED[name], "steps": 12, "learning_rate": 0.2, "objective": "next_token"}
    moved = []
    for weight in (0.0, 1e4):
        run, _ = start(name, **given, start_pull=weight)
        _walk(run, end=12)
        begun, ended = run.initial_masks(), run.masks()
        moved.append(sum(int((begun[layer] != ended[layer]).sum()) for layer in begun))
    assert moved[1] < 0.5 * moved[0]


@pytest.mark.parametrize("name", PULLED)
def test_a_pulled_run_goes_on_from_its_state_towards_the_same_mask(start, name):
    (whole, _), (before, _), (after, _) = (start(name, **PULLED[name], start_pull=0.5) for _ in range(3))
    recorded = _walk(whole)
    _walk(before, end=3)
    before.observe()
    after.load_state(safetensors.torch.load(safetensors.torch.save(dict(before.state()))))
    assert _walk(after, begin=3) == recorded[3:]


@pytest.mark.parametrize("name", PULLED)
def test_without_an_initial_mask_there_is_nothing_to_pull_towards(name):
    method = registry.get(name)
    config = method.configure({"start_pull": 0.5, "initial_mask": "none"})
    expected = (
        "start_pull = 0.5 has no initial mask to pull towards; expected an initial_mask such as wanda, not none, "
        "or start_pull = 0"
    )
    assert method.unsupported_reason(Pattern(2, 4), config) == expected
    assert method.unsupported_reason(Pattern(2, 4), method.configure({"initial_mask": "none"})) is None
    assert method.unsupported_reason(Pattern(2, 4), method.configure({**PULLED[name], "start_pull": 0.5})) is None


@pytest.mark.parametrize("name", ["proxsparse", "maskpro", "wanda"])
def test_methods_without_a_soft_mask_have_no_pull(name):
    with pytest.raises(ValueError, match="start_pull"):
        registry.get(name).configure({"start_pull": 0.5})


def test_an_unknown_objective_is_refused_by_name():
    with pytest.raises(
        ValueError, match="susi: objective = 'distil': expected next_token or distill; did you mean 'distill'"
    ):
        registry.get("susi").configure({"objective": "distil"})


@pytest.mark.parametrize("name", ["susi", "maskpro masks"])
def test_a_trial_killed_in_the_middle_ends_as_if_it_had_not_been(name, make_spec, replica, tmp_path, listener, is_kept):
    cadence = {"log_every": 2, "checkpoint_every": 2}
    spec = make_spec(name.split()[0], steps=STEPS, cadence=cadence, objective="distill", **RUNS[name])
    whole, cut = listener(), listener()
    assert run_trial(spec, replica=replica, folder=tmp_path / "whole", events=whole).status == "finished"
    with pytest.raises(KeyboardInterrupt):
        run_trial(spec, replica=replica, folder=tmp_path / "cut", events=listener(crash_at=4))
    assert run_trial(spec, replica=replica, folder=tmp_path / "cut", events=cut).status == "finished"
    assert cut.curve() == whole.curve()
