"""SUSI's relaxed draw against recorded float64 runs of the paper's Algorithm 1 (the authors' code is not public)."""

import json

import pytest
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.masks.topn import topn
from nmlab.trials.methods.susi import relaxed_mask
from nmlab.trials.methods.susi.maths import sampled_mask

CASES = [
    f"{pattern}_{temperatures}_seed0"
    for pattern in ("2of4", "2of8", "4of8")
    for temperatures in ("tau1.0_lam1.0", "tau0.3_lam0.1", "tau0.05_lam0.002")
]


@pytest.fixture(params=CASES)
def case(request, load_parity, parity_folder):
    name = f"susi/{request.param}"
    return load_parity(name), json.loads((parity_folder / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def parity_folder(request):
    return request.config.rootpath / "tests" / "parity"


@pytest.mark.parametrize(
    ("dtype", "mask_error", "gradient_error"), [(torch.float64, 1e-12, 1e-11), (torch.float32, 1e-5, 1.1e-4)]
)
def test_soft_masks_and_gradients(case, dtype, mask_error, gradient_error):
    recorded, facts = case
    logits_GM = recorded["phi"].to(dtype, copy=True).requires_grad_()
    gumbel_GM = recorded["gumbel"].to(dtype)
    soft_GM = relaxed_mask(logits_GM, gumbel_GM, tau=facts["tau"], lam=facts["lambda_"], n=facts["N_keep"])
    (soft_GM * recorded["V"].to(dtype)).sum().backward()
    assert soft_GM.dtype == dtype
    torch.testing.assert_close(soft_GM.detach().double(), recorded["soft"], rtol=0, atol=mask_error)
    scale = float(recorded["grad_phi"].abs().max())
    torch.testing.assert_close(logits_GM.grad.double(), recorded["grad_phi"], rtol=0, atol=gradient_error * scale)


def test_hard_masks(case):
    recorded, facts = case
    pattern = Pattern(facts["N_keep"], facts["M"])
    drawn_GM = sampled_mask(recorded["phi"], recorded["gumbel"], lam=facts["lambda_"], n=pattern.n)
    assert torch.equal(drawn_GM, recorded["hard_perturbed"].bool())
    assert torch.equal(topn(recorded["phi"], pattern), recorded["infer_mask"].bool())
