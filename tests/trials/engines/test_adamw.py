"""AdamW with a named state: torch's own steps, clipping, and continuing from a state."""

import math

import pytest
import safetensors.torch
import torch

from nmlab.trials.contract.errors import DivergedError
from nmlab.trials.engines.adamw import AdamW

SETTINGS = {"betas": (0.9, 0.95), "weight_decay": 0.05, "epsilon": 1e-5}


def _start():
    draw = torch.Generator().manual_seed(0)
    return {"a": torch.randn(3, 4, generator=draw), "b.c": torch.randn(5, generator=draw)}


def _loss(tensors, step):
    return sum(((step + 1.0) * tensor).sin().sum() for tensor in tensors.values())


def _walk(adamw, steps):
    return [adamw.descend(_loss(adamw.parameters, step), rate=0.1 / (step + 1)) for step in steps]


@pytest.mark.parametrize("clip_norm", [math.inf, 0.5])
def test_steps_are_torchs_own(clip_norm):
    ours = AdamW(_start(), **SETTINGS, clip_norm=clip_norm)
    norms = _walk(ours, range(6))
    theirs = {name: tensor.requires_grad_() for name, tensor in _start().items()}
    optimizer = torch.optim.AdamW(theirs.values(), lr=1.0, betas=(0.9, 0.95), weight_decay=0.05, eps=1e-5)
    for step in range(6):
        optimizer.zero_grad()
        _loss(theirs, step).backward()
        gradients = torch.cat([tensor.grad.flatten() for tensor in theirs.values()])
        assert norms[step] == pytest.approx(float(gradients.norm()), rel=1e-5)
        for tensor in theirs.values():
            tensor.grad *= min(1.0, clip_norm / float(gradients.norm()))
        optimizer.param_groups[0]["lr"] = 0.1 / (step + 1)
        optimizer.step()
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours.parameters[name], tensor, rtol=1e-5, atol=1e-6)
        assert ours.parameters[name].grad is None


@pytest.mark.parametrize("done", [0, 1, 4])
def test_it_goes_on_from_its_state_bit_for_bit(done):
    undisturbed, before, after = (AdamW(_start(), **SETTINGS) for _ in range(3))
    norms = _walk(undisturbed, range(7))
    _walk(before, range(done))
    assert before.state().keys() == undisturbed.state().keys()
    after.load_state(safetensors.torch.load(safetensors.torch.save(before.state())))
    assert _walk(after, range(done, 7)) == norms[done:]
    assert all(torch.equal(tensor, after.state()[name]) for name, tensor in undisturbed.state().items())


def test_a_gradient_that_is_not_finite_moves_nothing():
    adamw = AdamW(_start(), **SETTINGS)
    with pytest.raises(DivergedError, match="the gradient has the norm"):
        adamw.descend((adamw.parameters["a"] * torch.inf).sum(), rate=0.1)
    assert all(torch.equal(adamw.parameters[name].detach(), tensor) for name, tensor in _start().items())
