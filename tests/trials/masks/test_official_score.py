"""The official 2:4 formula against numbers recorded from the official code."""

import pytest
import torch

from nmlab.trials.masks import plackett_luce

# Float32 rounding of another order of operations; the peaked case is ill-conditioned in the official form.
TOLERANCE = {"init_C10": 2e-6, "noisy_C10": 2e-6, "spread": 2e-6, "peaked": 1.6e-4}


@pytest.mark.parametrize(("case", "tolerance"), TOLERANCE.items())
def test_recorded_update(load_parity, case, tolerance):
    golden = load_parity(f"maskpro/grad24_{case}_seed0")
    logits_GM, mask_GM = golden["logits"].view(-1, 4), golden["mask"].bool().view(-1, 4)
    score_GM = plackett_luce.official_score(logits_GM, mask_GM)
    after_GM = logits_GM - golden["adv"].item() * score_GM
    torch.testing.assert_close(after_GM, golden["logits_after"].view(-1, 4), rtol=0, atol=tolerance)


@pytest.mark.parametrize("case", TOLERANCE)
def test_our_score_is_the_exact_gradient_of_the_recorded_case(load_parity, case):
    golden = load_parity(f"maskpro/grad24_{case}_seed0")
    logits_GM, mask_GM = golden["logits"].view(-1, 4), golden["mask"].bool().view(-1, 4)
    exact_GM = golden["exact_grad"].view(-1, 4)
    torch.testing.assert_close(plackett_luce.score(logits_GM.double(), mask_GM), exact_GM, rtol=0, atol=1e-12)
    torch.testing.assert_close(plackett_luce.score(logits_GM, mask_GM).double(), exact_GM, rtol=0, atol=3e-6)


def test_recorded_advantage_uses_the_tracker_after_its_update(load_parity):
    golden = load_parity("maskpro/grad24_init_C10_seed0")
    residual, before, alpha = 3.25 - 3.0, 0.1, 0.99
    assert golden["delta_after"].item() == pytest.approx(alpha * before + (1 - alpha) * residual, abs=1e-12)
    assert golden["adv"].item() == pytest.approx(alpha * (residual - before), abs=1e-12)


@pytest.mark.parametrize("layer", [0, 1])
def test_recorded_run(load_parity, layer):
    trace, learning_rate, magnitude = load_parity("maskpro/trace24_seed0"), 20.0, 3.0
    logits = magnitude * trace[f"m0_{layer}"].float()
    for step, recorded in enumerate(trace[f"logits{layer}"]):
        mask_GM = trace[f"masks{layer}"][step].bool().view(-1, 4)
        advantage = (trace["grad_loss"][step] - trace["delta"][step]).item()
        score_GM = plackett_luce.official_score(logits.view(-1, 4), mask_GM)
        logits = logits - learning_rate * advantage * score_GM.view_as(logits)
        torch.testing.assert_close(logits, recorded, rtol=0, atol=2e-6)


def test_tracker_updated_before_use_is_a_learning_rate_times_alpha(load_parity):
    """Algorithm 1 with alpha * eta retraces the recorded run, which updates the tracker first."""
    trace, learning_rate, alpha, delta = load_parity("maskpro/trace24_seed0"), 20.0, 0.99, 0.0
    logits = 3.0 * trace["m0_0"].float()
    for step, recorded in enumerate(trace["logits0"]):
        residual = trace["grad_loss"][step].item()
        score_GM = plackett_luce.official_score(logits.view(-1, 4), trace["masks0"][step].bool().view(-1, 4))
        logits = logits - alpha * learning_rate * (residual - delta) * score_GM.view_as(logits)
        delta = alpha * delta + (1 - alpha) * residual
        assert delta == pytest.approx(trace["delta"][step].item(), abs=1e-9)
        torch.testing.assert_close(logits, recorded, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("lead", "error"), [(6, 1.8e-4), (8, 0.0098), (10, 0.35), (14, 1.0)])
def test_known_error_of_the_official_constants(lead, error):
    """The published formula leaves the exact score as one logit leads, which is why it is not the default."""
    logits_1M = torch.tensor([[float(lead), 0.0, 0.0, 0.0]], dtype=torch.float64)
    mask_1M = torch.tensor([[True, True, False, False]])
    drift_1M = plackett_luce.official_score(logits_1M, mask_1M) - plackett_luce.score(logits_1M, mask_1M)
    assert drift_1M.abs().max().item() == pytest.approx(error, rel=0.05)


def test_probabilities_are_bounded_below():
    """Beyond a gap of ln 1e8 = 18.4 the official score no longer depends on the gap."""
    mask_GM = torch.tensor([[True, True, False, False]]).expand(3, 4)
    logits_GM = torch.tensor([[17.0], [25.0], [40.0]]) * torch.tensor([1.0, 0.0, 0.0, 0.0])
    near_M, far_M, further_M = plackett_luce.official_score(logits_GM, mask_GM)
    assert torch.equal(far_M, further_M)
    assert not torch.equal(near_M, far_M)


def test_other_group_sizes_are_refused():
    with pytest.raises(ValueError, match=r"expected \[G, 4\]"):
        plackett_luce.official_score(torch.zeros(3, 8), torch.zeros(3, 8, dtype=torch.bool))
