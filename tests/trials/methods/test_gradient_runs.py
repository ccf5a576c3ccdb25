"""What the methods that learn by gradient share: resuming, frozen weights, accounts, threads, divergence."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import safetensors.torch
import torch

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.errors import DivergedError
from nmlab.trials.masks.bits import masks_digest
from nmlab.trials.masks.bundle import load_bundle
from nmlab.trials.methods import registry
from nmlab.trials.methods.by_gradient import straight_through
from nmlab.trials.trial.run import run_trial

STEPS = 10
RUNS = {
    "susi": {"learning_rate": 0.05},
    "susi hard": {"learning_rate": 0.05, "straight_through": True},
    "susi excluding": {
        "learning_rate": 0.05,
        "exclude_argmax": True,
        "initial_logits": "saliency",
        "initial_mask": "wanda",
    },
    "soft_topn": {"learning_rate": 0.1},
    "soft_topn hard": {"noise": "gumbel", "straight_through": True},
    "soft_topn from wanda": {"initial_logits": "saliency", "initial_mask": "wanda"},
    "simple": {"learning_rate": 0.1},
    "maskllm": {"learning_rate": 0.01},
    "maskllm from wanda": {"learning_rate": 0.01, "initial_logits": "saliency", "initial_mask": "wanda"},
    "maskllm hard": {"learning_rate": 0.01, "straight_through": True, "initial_mask": "none"},
    "proxsparse": {"learning_rate": 0.01, "prox_lambda": 0.5},
    "proxsparse anchored": {"learning_rate": 0.01, "prox_lambda": 0.5, "anchor_lambda": 0.1},
}
METHODS = ["susi", "soft_topn", "simple", "maskllm", "proxsparse"]


@pytest.fixture
def start(make_context):
    """Start a run of RUNS in a trial context of its own; returns both."""

    def begin(name, *, seed=0, on=None, **more):
        method, context = registry.get(name.split()[0]), make_context(seed=seed, on=on)
        return method.start(context, method.configure({"steps": STEPS, **RUNS[name], **more})), context

    return begin


def _walk(run, *, begin=0, steps=STEPS):
    return [(dict(run.step(step)), dict(run.observe())) for step in range(begin, steps)]


@pytest.mark.parametrize("name", RUNS)
def test_a_run_goes_on_from_its_state_bit_for_bit(start, name):
    (undisturbed, _), (before, _), (after, _) = (start(name) for _ in range(3))
    recorded = _walk(undisturbed)
    assert _walk(before, steps=4) == recorded[:4]
    after.load_state(safetensors.torch.load(safetensors.torch.save(before.state())))
    assert after.state().keys() == undisturbed.state().keys()
    assert _walk(after, begin=4) == recorded[4:]
    assert all(torch.equal(tensor, after.state()[key]) for key, tensor in undisturbed.state().items())
    assert masks_digest(after.masks()) == masks_digest(undisturbed.masks())
    assert masks_digest(after.initial_masks()) == masks_digest(undisturbed.initial_masks())


@pytest.mark.parametrize("name", METHODS)
def test_a_trial_killed_in_the_middle_ends_as_if_it_had_not_been(name, make_spec, replica, tmp_path, listener):
    cadence = {"log_every": 2, "evaluate_every": 4, "checkpoint_every": 3}
    spec = make_spec(name, steps=STEPS, cadence=cadence, **RUNS[name])
    whole, cut = listener(), listener()
    assert run_trial(spec, replica=replica, folder=tmp_path / "whole", events=whole).status == "finished"
    with pytest.raises(KeyboardInterrupt):
        run_trial(spec, replica=replica, folder=tmp_path / "cut", events=listener(crash_at=4))
    assert run_trial(spec, replica=replica, folder=tmp_path / "cut", events=cut).status == "finished"
    assert cut.curve() == whole.curve()
    assert {4, 8, STEPS} == {step for step, values in whole.curve().items() if "eval/perplexity" in values}
    assert "initial/perplexity" in whole.curve()[0]
    masks = [load_bundle(tmp_path / folder / "mask.safetensors")[0] for folder in ("whole", "cut")]
    assert all(torch.equal(torch.as_tensor(masks[0][key]), torch.as_tensor(masks[1][key])) for key in masks[0])


@pytest.mark.parametrize("name", RUNS)
def test_the_frozen_model_is_only_read(start, name, replica):
    run, context = start(name)
    _walk(run)
    shared = zip(context.model.module.named_parameters(), replica.frozen.module.parameters(), strict=True)
    for (_, in_view), frozen in shared:
        assert in_view is frozen
        assert frozen.grad is None
        assert not frozen.requires_grad
    assert replica.frozen.unchanged()


@pytest.mark.parametrize(
    ("name", "pattern", "share"),
    [("susi", "2:4", 1), ("susi", "4:8", 1), ("soft_topn", "4:8", 1), ("simple", "2:4", 1), ("maskllm", "2:4", 1.5)],
)
def test_what_is_trained_and_kept_is_what_the_papers_count(make_context, replica, name, pattern, share):
    """SUSI a logit a weight, MaskLLM C(M, N) / M gates a weight; each with Adam's two moments."""
    context, method = make_context(pattern), registry.get(name)
    run = method.start(context, method.configure({"steps": 2}))
    weights = sum(layer.numel for layer in replica.frozen.layers)
    assert context.cost.trainable_params == share * weights
    observed_mask, counters = weights // 8, 16
    assert abs(run.state_bytes - 12 * share * weights - observed_mask) <= counters


def test_maskllm_at_2_of_8_and_4_of_8_trains_3_5_and_8_75_times_the_weights(make_context, replica):
    weights = sum(layer.numel for layer in replica.frozen.layers)
    for pattern, share in [("2:8", 3.5), ("4:8", 8.75), ("1:4", 1)]:
        context = make_context(pattern)
        registry.get("maskllm").start(context, registry.get("maskllm").configure({"steps": 2}))
        assert context.cost.trainable_params == share * weights


def test_proxsparse_trains_every_parameter(start, replica):
    run, context = start("proxsparse")
    parameters = sum(parameter.numel() for parameter in replica.frozen.module.parameters())
    assert context.cost.trainable_params == parameters
    assert run.state_bytes >= 12 * parameters


@pytest.mark.parametrize("name", METHODS)
def test_passes_tokens_and_phases_are_counted(start, name):
    run, context = start(name)
    before = context.cost.forwards, context.cost.tokens
    _walk(run)
    cost, tokens = context.cost, context.batches[0].numel()
    counted = cost.forwards - before[0], cost.backwards, cost.tokens - before[1]
    assert counted == (STEPS, STEPS, STEPS * tokens)
    assert {"sample", "forward", "update"} <= cost.seconds.keys()


@pytest.mark.slow
def test_runs_side_by_side_on_one_frozen_model_do_not_see_each_other(start, replica):
    alone = {(name, seed): _walk(start(name, seed=seed)[0], steps=5) for name in METHODS for seed in (0, 1)}
    runs = {key: start(key[0], seed=key[1])[0] for key in alone}
    with ThreadPoolExecutor(max_workers=len(runs)) as pool:
        together = dict(zip(runs, pool.map(partial(_walk, steps=5), runs.values()), strict=True))
    assert together == alone
    assert replica.frozen.unchanged()


@pytest.mark.parametrize("name", RUNS)
def test_on_a_bfloat16_model_what_is_learned_is_float32(start, name, random_model, freeze, monkeypatch):
    replica = ReplicaContext(freeze(random_model("llama").to(torch.bfloat16)))
    run, context = start(name, on=replica)
    types, loss_under = set(), context.model.loss_under

    def spy(weights, tokens_BT, **options):
        types.update(weight.dtype for weight in weights.values())
        return loss_under(weights, tokens_BT, **options)

    monkeypatch.setattr(context.model, "loss_under", spy)
    before = {key: tensor.clone() for key, tensor in run.state().items() if key.startswith("parameter/")}
    _walk(run)
    for key, tensor in before.items():
        assert run.state()[key].dtype == tensor.dtype == torch.float32
        assert not torch.equal(run.state()[key], tensor)
    assert types == {torch.bfloat16}
    assert replica.frozen.unchanged()


@pytest.mark.parametrize("name", METHODS)
def test_a_loss_that_is_not_finite_ends_the_run(start, name, random_model, freeze):
    module = random_model("llama")
    module.get_output_embeddings().weight.data[3] = torch.nan
    run, _ = start(name, on=ReplicaContext(freeze(module)))
    with pytest.raises(DivergedError, match="loss is nan at step 0"):
        run.step(0)


def test_a_copy_that_is_trained_to_pieces_diverges(start):
    run, _ = start("proxsparse", learning_rate=1e6, prox_lambda=0.0)
    with pytest.raises(DivergedError):
        _walk(run)


def test_mask_change_is_since_it_was_last_asked(start):
    run, _ = start("susi")
    groups = torch.cat([mask.view(-1, 4) for mask in run.masks().values()])
    assert run.observe()["train/mask_change"] == 0
    for step in range(3):
        run.step(step)
    now = torch.cat([mask.view(-1, 4) for mask in run.masks().values()])
    assert run.observe()["train/mask_change"] == float((groups != now).any(1).double().mean()) > 0
    assert run.observe()["train/mask_change"] == 0


def test_straight_through_is_exactly_hard_with_the_soft_gradient():
    soft = torch.rand(50, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    hard = soft.detach() > 0.5
    out = straight_through(hard, soft_GM=soft)
    assert torch.equal(out.detach(), hard.float())
    (out * torch.arange(4.0)).sum().backward()
    assert torch.equal(soft.grad, torch.arange(4.0).expand(50, 4))
