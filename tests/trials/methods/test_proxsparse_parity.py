"""ProxSparse's proximal step and mask against recorded outputs of the authors' prox_op."""

import json

import pytest
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.masks.topn import topn
from nmlab.trials.methods.proxsparse import prox
from nmlab.trials.methods.proxsparse.maths import regularizer

PATTERN = Pattern(2, 4)
CASES = [
    "scale0.02_lam0.25",
    "scale0.02_lam20.0",
    "scale0.3_lam1.0",
    "scale1.0_lam0.1",
    "scale1.0_lam0.5",
    "scale1.0_lam2.0",
]


@pytest.fixture(params=CASES)
def case(request, load_parity):
    name = f"proxsparse/prox_{request.param}_seed0"
    facts = json.loads((request.config.rootpath / "tests" / "parity" / f"{name}.json").read_text())
    return load_parity(name), facts


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1.9e-7), (torch.float32, 2.5e-7)])
def test_the_proximal_step(case, dtype, error):
    """Recorded in float32, where two units in the last place of 1 are 2.4e-7."""
    recorded, facts = case
    shrunk = prox(recorded["W"].to(dtype), facts["lambda_"], PATTERN)
    assert shrunk.dtype == dtype
    torch.testing.assert_close(shrunk.double(), recorded["out"].double(), rtol=0, atol=error)


def test_the_chosen_candidate_has_as_many_weights(case):
    """Choice 0, 1, 2: at most two, three or four are left (a group may start with fewer)."""
    recorded, facts = case
    left_G = (prox(recorded["W"], facts["lambda_"], PATTERN).view(-1, 4) != 0).sum(1)
    recorded_G = (recorded["out"].view(-1, 4) != 0).sum(1)
    assert torch.equal(left_G, recorded_G)
    assert bool((left_G <= recorded["choice"] + 2).all())


def test_the_regulariser(case):
    recorded, _ = case
    torch.testing.assert_close(regularizer(recorded["W"].view(-1, 4)), recorded["reg"], rtol=1e-5, atol=1e-9)


def test_the_mask(case):
    """Groups with exact ties, or with fewer than two weights left, are not decided by size; ours keep two there too."""
    recorded, facts = case
    out_G4 = recorded["out"].view(-1, 4).abs()
    ordered_G4 = out_G4.sort(dim=1, descending=True).values
    decided_G = ordered_G4[:, 1] > ordered_G4[:, 2]
    mask_G4 = topn(prox(recorded["W"], facts["lambda_"], PATTERN).abs(), PATTERN).view(-1, 4)
    assert int((~decided_G).sum()) <= 2
    assert torch.equal(mask_G4[decided_G], recorded["final_mask"].view(-1, 4).bool()[decided_G])


def test_thirty_steps_in_a_row(load_parity):
    trajectory = load_parity("proxsparse/repeat30_seed0")["traj"]
    weight = trajectory[0]
    for expected in trajectory[1:]:
        weight = prox(weight, 0.2, PATTERN)
        torch.testing.assert_close(weight, expected, rtol=0, atol=1.4e-7)
