"""Gradient norms against gradients of the loss of transformers, one sequence after another."""

import copy

import pytest
import torch

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.errors import DivergedError
from nmlab.trials.inputs.gradients import collect_gradient_norms, gradient_norms
from nmlab.trials.methods import registry

ARCHITECTURES = ["llama", "gemma2", "opt", "gpt_neox"]


@pytest.fixture(scope="module")
def batches():
    tokens = torch.randint(1, 500, (5, 12), generator=torch.Generator().manual_seed(0))
    return list(torch.split(tokens, 2))


def _by_hand(module, layers, batches):
    """Return the norms of a separate float64 copy of the model: roots of the summed squares over sequences."""
    module = copy.deepcopy(module).double().requires_grad_(True)
    squares = {layer.name: 0 for layer in layers}
    for sequence in torch.cat(batches):
        module.zero_grad()
        module(input_ids=sequence[None], labels=sequence[None]).loss.backward()
        for name in squares:
            squares[name] += (100 * module.get_parameter(f"{name}.weight").grad).square()
    return {name: square.sqrt() for name, square in squares.items()}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_norms_are_those_of_the_librarys_own_loss(random_model, freeze, batches, architecture):
    frozen = freeze(random_model(architecture))
    norms, expected = collect_gradient_norms(frozen, batches), _by_hand(frozen.module, frozen.layers, batches)
    assert norms.keys() == expected.keys() == {layer.name for layer in frozen.layers}
    for name, norm in norms.items():
        assert norm.dtype == torch.float32
        assert not norm.requires_grad
        near = 1e-4 * float(expected[name].max())
        torch.testing.assert_close(norm.double(), expected[name], rtol=1e-3, atol=near)


def test_sequences_and_not_minibatches_are_squared(random_model, freeze, batches):
    frozen = freeze(random_model("llama"))
    one, other = collect_gradient_norms(frozen, batches), collect_gradient_norms(frozen, [torch.cat(batches)])
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_shared_weights_never_see_a_gradient(random_model, freeze, batches):
    frozen = freeze(random_model("llama"))
    collect_gradient_norms(frozen, batches)
    assert all(p.grad is None and not p.requires_grad for p in frozen.module.parameters())
    assert not any(p._post_accumulate_grad_hooks for p in frozen.module.parameters())
    assert frozen.unchanged()


def test_a_bfloat16_model_is_summed_in_float32(random_model, freeze, batches):
    exact = collect_gradient_norms(freeze(random_model("llama")), batches)
    rounded = collect_gradient_norms(freeze(random_model("llama").to(torch.bfloat16)), batches)
    for name, norm in rounded.items():
        assert norm.dtype == torch.float32
        assert not torch.equal(norm, norm.bfloat16().float())
        assert float((norm - exact[name]).norm() / exact[name].norm()) < 0.2


def test_they_are_computed_once_and_charged_to_every_trial(random_model, freeze, make_context):
    calls, module = [], random_model("llama")
    module.register_forward_hook(lambda *_: calls.append(1))  # views are copies, hooks included
    replica = ReplicaContext(freeze(module))
    methods = [("gblm", "2:4"), ("pruner_zero", "2:4"), ("pruner_zero", "1:4")]
    contexts = [make_context(pattern, on=replica) for _, pattern in methods]
    for (name, _), context in zip(methods, contexts, strict=True):
        registry.get(name).start(context, registry.get(name).configure({}))
    sequences, batches = 8, 4
    assert len(calls) == sequences + 1 + batches  # the gradients once, and the calls that gblm's blocks are made with
    assert [context.cost.backwards for context in contexts] == [sequences] * 3
    assert [context.cost.forwards for context in contexts] == [sequences + 1 + 2 * batches, sequences, sequences]
    assert [context.cost.tokens for context in contexts] == [(3 * 8 + 1) * 16, 8 * 16, 8 * 16]
    assert gradient_norms(contexts[0]) is gradient_norms(contexts[1])


def test_a_loss_that_is_not_a_number_names_its_sequence(random_model, freeze, batches):
    module = random_model("llama")
    module.model.embed_tokens.weight.data[int(batches[1][0, 3])] = torch.nan
    with pytest.raises(DivergedError, match="the dense model has the loss nan on calibration sequence 2"):
        collect_gradient_norms(freeze(module), batches)
