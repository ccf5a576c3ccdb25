"""Set probability and score: golden numbers, an independent algorithm, and the properties both must have."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.masks import plackett_luce, topn
from nmlab.trials.masks.plackett_luce import reference
from nmlab.trials.masks.samplers import race_mask

GOLDEN = ["1of4", "2of4", "3of4", "2of8", "4of8", "8of16"]
# One for each algorithm: closed forms, subset dynamic programme, quadrature, and the edge N = M.
PATTERNS = [
    "1:4",
    "2:4",
    "3:4",
    "4:4",
    "1:8",
    "2:8",
    "4:8",
    "7:8",
    "2:16",
    "8:16",
    "9:12",
    "11:12",
    "1:1",
    "1:2",
    "2:3",
]


def random_case(text, *, spread, groups=24, seed=0, dtype=torch.float64):
    """Logits of standard deviation ``spread`` with half of the masks sampled and half of them arbitrary."""
    pattern, generator = Pattern.parse(text), torch.Generator().manual_seed(seed)
    logits_GM = spread * torch.randn(groups, pattern.m, generator=generator, dtype=torch.float64)
    sampled_GM = race_mask(logits_GM, torch.empty_like(logits_GM).exponential_(generator=generator), pattern.n)
    arbitrary_GM = topn(torch.randn(groups, pattern.m, generator=generator), pattern)
    even_G1 = torch.arange(groups).unsqueeze(1) % 2 == 0
    return logits_GM.to(dtype), torch.where(even_G1, sampled_GM, arbitrary_GM)


def reference_with_gradient(logits_GM, mask_GM):
    leaf_GM = logits_GM.double().requires_grad_()
    log_prob_G = reference.log_prob(leaf_GM, mask_GM)
    (score_GM,) = torch.autograd.grad(log_prob_G.sum(), leaf_GM)
    return log_prob_G.detach(), score_GM


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_numbers_in_float64(load_parity, name):
    golden = load_parity(f"plackett_luce/set_{name}_seed0")
    mask_GM = golden["mask"].bool()
    torch.testing.assert_close(plackett_luce.log_prob(golden["logits"], mask_GM), golden["logp"], rtol=0, atol=1e-9)
    torch.testing.assert_close(plackett_luce.score(golden["logits"], mask_GM), golden["grad"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_numbers_in_float32(load_parity, name):
    # The logits themselves move by up to 5e-7 (half a unit in the last place at 10) when rounded to float32.
    golden = load_parity(f"plackett_luce/set_{name}_seed0")
    logits_GM, mask_GM = golden["logits"].float(), golden["mask"].bool()
    log_prob_G, score_GM = plackett_luce.log_prob(logits_GM, mask_GM), plackett_luce.score(logits_GM, mask_GM)
    assert (log_prob_G.dtype, score_GM.dtype) == (torch.float32, torch.float32)
    torch.testing.assert_close(log_prob_G.double(), golden["logp"], rtol=1e-6, atol=2e-6)
    torch.testing.assert_close(score_GM.double(), golden["grad"], rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", ["1of4", "2of4", "3of4", "4of8"])
def test_golden_numbers_of_the_reference(load_parity, name):
    golden = load_parity(f"plackett_luce/set_{name}_seed0")
    log_prob_G, score_GM = reference_with_gradient(golden["logits"], golden["mask"].bool())
    torch.testing.assert_close(log_prob_G, golden["logp"], rtol=0, atol=1e-12)
    torch.testing.assert_close(score_GM, golden["grad"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("spread", [0.0, 1.0, 10.0, 60.0])
@pytest.mark.parametrize("text", [text for text in PATTERNS if text not in ("4:4", "1:1")])
def test_agrees_with_log_domain_reference(text, spread):
    logits_GM, mask_GM = random_case(text, spread=spread, groups=8)
    log_prob_G, score_GM = reference_with_gradient(logits_GM, mask_GM)
    torch.testing.assert_close(plackett_luce.log_prob(logits_GM, mask_GM), log_prob_G, rtol=1e-12, atol=1e-10)
    torch.testing.assert_close(plackett_luce.score(logits_GM, mask_GM), score_GM, rtol=0, atol=1e-10)


@pytest.mark.parametrize("text", ["1:4", "2:4", "3:4", "2:6", "4:6"])
def test_probabilities_of_all_sets(set_probabilities, text):
    pattern, logits = Pattern.parse(text), [0.3, -1.2, 2.5, 0.0, 4.0, -0.7]
    exact = set_probabilities(logits[: pattern.m], pattern.n)
    mask_GM = torch.tensor([[k in kept for k in range(pattern.m)] for kept in exact])
    logits_GM = torch.tensor(logits[: pattern.m], dtype=torch.float64).expand(len(exact), -1)
    ours_G = plackett_luce.log_prob(logits_GM, mask_GM).exp()
    torch.testing.assert_close(ours_G, torch.tensor(list(exact.values()), dtype=torch.float64), rtol=1e-12, atol=0)
    assert math.isclose(ours_G.sum().item(), 1.0, rel_tol=1e-12)
    # The expected score is zero: the derivative of a sum of probabilities that is always 1.
    mean_M = (ours_G.unsqueeze(1) * plackett_luce.score(logits_GM, mask_GM)).sum(0)
    torch.testing.assert_close(mean_M, torch.zeros_like(mean_M), rtol=0, atol=1e-12)


@pytest.mark.parametrize("text", ["12:24", "16:32", "31:32"])
def test_flat_logits_make_all_sets_equally_probable(text):
    pattern = Pattern.parse(text)
    mask_GM = topn(torch.arange(pattern.m).unsqueeze(0), pattern)
    logits_GM = torch.full((1, pattern.m), 5.0, dtype=torch.float64)
    expected = -math.log(pattern.mask_count)
    assert math.isclose(plackett_luce.log_prob(logits_GM, mask_GM).item(), expected, abs_tol=1e-9)


@pytest.mark.parametrize("text", ["2:4", "8:16", "12:24", "16:32", "31:32"])
def test_kept_items_far_behind_have_the_probability_of_a_gamma_integral(text):
    """With weights e^-60 the integrand is e^-t t^N prod(w), so p = N! prod(w), and all kept items pull alike."""
    pattern = Pattern.parse(text)
    mask_1M = torch.arange(pattern.m).unsqueeze(0) < pattern.n
    logits_1M = torch.where(mask_1M, -60.0, 0.0).double()
    dropped = pattern.m - pattern.n
    expected = math.lgamma(pattern.n + 1) - pattern.n * (60 + math.log(dropped))
    assert math.isclose(plackett_luce.log_prob(logits_1M, mask_1M).item(), expected, rel_tol=1e-12)
    expected_1M = torch.where(mask_1M, 1.0, -pattern.n / dropped).double()
    torch.testing.assert_close(plackett_luce.score(logits_1M, mask_1M), expected_1M, rtol=1e-12, atol=0)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(PATTERNS), st.floats(0, 40), st.integers(0, 2**20))
def test_rows_sum_to_zero_and_components_stay_in_range(text, spread, seed):
    logits_GM, mask_GM = random_case(text, spread=spread, seed=seed)
    for dtype, tolerance in ((torch.float64, 1e-13), (torch.float32, 1e-6)):
        n = Pattern.parse(text).n
        score_GM = plackett_luce.score(logits_GM.to(dtype), mask_GM)
        assert score_GM.sum(1).abs().max() <= n * tolerance
        assert score_GM.max() <= 1 + tolerance
        assert score_GM.min() >= -n * (1 + tolerance)
        assert (score_GM[mask_GM] >= -tolerance * n).all()
        assert (score_GM[~mask_GM] <= tolerance).all()


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(PATTERNS), st.integers(0, 2**20))
def test_permutation_and_shift(text, seed):
    logits_GM, mask_GM = random_case(text, spread=3.0, seed=seed)
    order_M = torch.randperm(logits_GM.shape[1], generator=torch.Generator().manual_seed(seed))
    moved_GM = 7.0 + logits_GM[:, order_M]
    torch.testing.assert_close(
        plackett_luce.score(moved_GM, mask_GM[:, order_M]),
        plackett_luce.score(logits_GM, mask_GM)[:, order_M],
        rtol=0,
        atol=1e-10,
    )
    torch.testing.assert_close(
        plackett_luce.log_prob(moved_GM, mask_GM[:, order_M]),
        plackett_luce.log_prob(logits_GM, mask_GM),
        rtol=0,
        atol=1e-10,
    )


@pytest.mark.parametrize("text", ["4:4", "1:1", "16:16"])
def test_nothing_to_choose_when_all_are_kept(text):
    pattern = Pattern.parse(text)
    logits_GM = torch.randn(5, pattern.m)
    mask_GM = torch.ones(5, pattern.m, dtype=torch.bool)
    assert torch.equal(plackett_luce.log_prob(logits_GM, mask_GM), torch.zeros(5))
    assert torch.equal(plackett_luce.score(logits_GM, mask_GM), torch.zeros(5, pattern.m))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("text", ["1:4", "2:4", "3:4", "4:8", "9:12"])
def test_enormous_gaps_give_the_limits(text, dtype):
    pattern = Pattern.parse(text)
    lead_1M = 1e4 * torch.arange(pattern.m, 0, -1, dtype=dtype).unsqueeze(0)
    best_1M, worst_1M = topn(lead_1M, pattern), topn(-lead_1M, pattern)
    assert plackett_luce.log_prob(lead_1M, best_1M).item() == 0
    torch.testing.assert_close(plackett_luce.score(lead_1M, best_1M), torch.zeros_like(lead_1M), rtol=0, atol=1e-15)
    # The last N come first although the leader is dropped: each kept item wants up, all against the leader.
    expected_1M = worst_1M.to(dtype)
    expected_1M[0, 0] = -pattern.n
    if 2 * pattern.n <= pattern.m:
        torch.testing.assert_close(plackett_luce.score(lead_1M, worst_1M), expected_1M, rtol=0, atol=1e-15)


@pytest.mark.parametrize("margin", [6.0, 10.0, 14.0, 20.0])
@pytest.mark.parametrize("text", ["1:4", "2:4", "2:8"])
def test_float32_keeps_its_digits_on_modal_groups(text, margin):
    # Forming 1 - p in float32 is wrong by 0.1 % at a margin of 10 and by 6 % at 14.
    pattern = Pattern.parse(text)
    mask_1M = torch.arange(pattern.m).unsqueeze(0) < pattern.n
    logits_1M = margin * mask_1M.float() + torch.linspace(0, 0.5, pattern.m)
    exact_1M = reference_with_gradient(logits_1M, mask_1M)[1]
    torch.testing.assert_close(plackett_luce.score(logits_1M, mask_1M).double(), exact_1M, rtol=5e-6, atol=0)


def test_log_prob_resolves_near_certainty():
    # p = 1 - 2 e^-30 / ...: log p itself has all its digits, which log(p) could not have.
    mask_1M = torch.tensor([[True, True, False, False]])
    logits_1M = torch.tensor([[30.0, 30.0, 0.0, 0.0]], dtype=torch.float64)
    tail = math.exp(-30)
    expected = -(3 * tail - 5 * tail * tail)  # 1 - p = 3 e^-C - 5 e^-2C + O(e^-3C) for two leaders
    assert math.isclose(plackett_luce.log_prob(logits_1M, mask_1M).item(), expected, rel_tol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("text", ["1:4", "2:4", "4:8"])
def test_half_precision_is_computed_wide_and_returned_narrow(text, dtype):
    logits_GM, mask_GM = random_case(text, spread=3.0, dtype=dtype)
    score_GM = plackett_luce.score(logits_GM, mask_GM)
    assert score_GM.dtype == plackett_luce.log_prob(logits_GM, mask_GM).dtype == dtype
    torch.testing.assert_close(score_GM, plackett_luce.score(logits_GM.double(), mask_GM).to(dtype))


@pytest.mark.parametrize(("text", "groups"), [("1:4", 40_001), ("2:4", 40_001), ("4:8", 20_001), ("9:12", 301)])
def test_chunks_join_seamlessly(text, groups):
    logits_GM, mask_GM = random_case(text, spread=2.0, groups=groups)
    picked = torch.tensor([0, groups // 2, groups - 1])
    for function in (plackett_luce.log_prob, plackett_luce.score):
        whole = function(logits_GM, mask_GM)
        assert whole.shape[0] == groups
        torch.testing.assert_close(whole[picked], function(logits_GM[picked], mask_GM[picked]), rtol=0, atol=1e-12)


def test_arguments_are_left_alone_and_may_be_views():
    logits_GM, mask_GM = random_case("2:4", spread=2.0)
    kept_logits, kept_mask = logits_GM.clone(), mask_GM.clone()
    expected = plackett_luce.score(logits_GM, mask_GM, n=2)
    strided = plackett_luce.score(logits_GM.t().contiguous().t(), mask_GM.t().contiguous().t())
    assert torch.equal(strided, expected)
    assert strided.is_contiguous()
    assert torch.equal(logits_GM, kept_logits)
    assert torch.equal(mask_GM, kept_mask)


@pytest.mark.parametrize("text", ["1:4", "2:4", "4:8", "9:12"])
def test_no_groups(text):
    pattern = Pattern.parse(text)
    logits_GM, mask_GM = torch.empty(0, pattern.m), torch.empty(0, pattern.m, dtype=torch.bool)
    assert plackett_luce.score(logits_GM, mask_GM, n=pattern.n).shape == (0, pattern.m)
    assert plackett_luce.log_prob(logits_GM, mask_GM, n=pattern.n).shape == (0,)
