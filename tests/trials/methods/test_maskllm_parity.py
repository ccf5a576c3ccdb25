"""MaskLLM's soft masks, gradients, prior and candidates against recorded outputs of the authors' class."""

import json

import pytest
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.methods.by_gradient import straight_through
from nmlab.trials.methods.maskllm import candidates, soft_mask
from nmlab.trials.methods.maskllm.maths import hard_mask, sampled_mask, with_prior

CASES = [
    f"{pattern}_it{iteration}_{kind}_seed0"
    for pattern in ("2of4", "1of4")
    for iteration in (0, 1000, 1999)
    for kind in ("soft", "hard")
]


@pytest.fixture(params=CASES)
def case(request, load_parity):
    name = f"maskllm/{request.param}"
    facts = json.loads((request.config.rootpath / "tests" / "parity" / f"{name}.json").read_text())
    return load_parity(name), facts, Pattern(facts["N_keep"], facts["M"])


def test_masks_and_gradients(case):
    """The recorded loss is a linear one less the reward for the squared norm of what is kept."""
    recorded, facts, pattern = case
    gate_GK, gumbel_GK = recorded["gate"].clone().requires_grad_(), recorded["gumbel"]
    kappa, tau = facts["current_scale"], facts["current_temperature"]
    mask_GM = soft_mask(gate_GK, gumbel_GK, kappa=kappa, tau=tau, pattern=pattern)
    if facts["hard"]:
        mask_GM = straight_through(sampled_mask(gate_GK, gumbel_GK, kappa=kappa, pattern=pattern), soft_GM=mask_GM)
    mask_OI = mask_GM.view_as(recorded["W"])
    reward = facts["weight_reg"] * (1 - facts["iteration"] / facts["train_iters"])
    loss = (mask_OI * recorded["V"]).sum() - reward * (recorded["W"] * mask_OI).square().sum()
    loss.backward()
    torch.testing.assert_close(mask_OI.detach(), recorded["mask"], rtol=0, atol=5.4e-6)
    scale = float(recorded["grad_gate"].abs().max())
    torch.testing.assert_close(gate_GK.grad, recorded["grad_gate"], rtol=0, atol=4e-6 * scale)


def test_the_mask_at_the_end_and_the_candidates(case):
    recorded, _, pattern = case
    assert torch.equal(
        hard_mask(recorded["gate"], pattern=pattern).view_as(recorded["W"]), recorded["eval_mask"].bool()
    )
    assert torch.equal(candidates(pattern), recorded["mask_options"][0].bool())


def test_the_prior(case):
    """The authors subtract an overlap of 1 for every pattern; any constant leaves the softmax alone."""
    recorded, facts, pattern = case
    prior_GM = recorded["prior_mask"].view(-1, pattern.m).bool()
    raised_GK = with_prior(recorded["gate_raw"], prior_GM, strength=facts["prior_strength"], pattern=pattern)
    theirs_GK = recorded["gate"]
    apart_GK = raised_GK - theirs_GK
    expected = (1 - pattern.n**2 / pattern.m) * facts["prior_strength"] * facts["gate_std_used"]
    torch.testing.assert_close(apart_GK, torch.full_like(apart_GK, expected), rtol=0, atol=1e-7)
