"""Deviation from the mode: against sums over all orders in long double and exact fractions, in every tail."""

import math
from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.masks import deviation
from nmlab.trials.masks.plackett_luce import log_prob, score
from nmlab.trials.masks.topn import topn

PATTERNS = ["1:2", "1:4", "2:4", "3:4", "1:8", "2:8", "4:8", "7:8", "8:16", "5:32"]


def _logits(pattern, *, lead, groups, seed=0, spread=1.0, dtype=torch.float64):
    """Random logits whose kept items lead by about ``lead``, at random places of their groups."""
    generator = torch.Generator().manual_seed(seed)
    kept_GM = topn(torch.rand(groups, pattern.m, generator=generator), pattern)
    noise_GM = spread * torch.randn(groups, pattern.m, generator=generator, dtype=torch.float64)
    return (noise_GM + lead * kept_GM).to(dtype)


def _exact(logits_M, n):
    """1 - p as the sum of the probabilities of all other sets would give it: by exact fractions of float64 weights."""
    weights = [Fraction(math.exp(value)) for value in logits_M]
    kept = sorted(range(len(weights)), key=lambda k: (-logits_M[k], k))[:n]
    total, stays = sum(weights), Fraction(0)
    for order in permutations(kept):
        remaining, probability = total, Fraction(1)
        for item in order:
            probability *= weights[item] / remaining
            remaining -= weights[item]
        stays += probability
    return float(1 - stays)


def _long_double(logits_M, n):
    """q as a sum over subsets with signs: E[1 - e^(-R T)] by inclusion and exclusion, in 64 bits of mantissa."""
    order = np.argsort(-logits_M, kind="stable")
    weights = np.exp(np.asarray(logits_M, dtype=np.longdouble))
    kept, rest = weights[order[:n]], weights[order[n:]].sum()
    stays = np.longdouble(0)
    for subset in range(1 << n):
        rate = sum((kept[i] for i in range(n) if subset >> i & 1), start=np.longdouble(0))
        stays += (-1) ** bin(subset).count("1") * rest / (rest + rate)
    return 1 - stays


@pytest.mark.parametrize("lead", [0.0, 4.0, 10.0, 14.0, 20.0])
@pytest.mark.parametrize("text", ["1:2", "1:4", "2:4", "3:4", "2:8", "4:8", "5:32"])
def test_probability_is_that_of_all_other_sets(text, lead):
    pattern = Pattern.parse(text)
    logits_GM = _logits(pattern, lead=lead, groups=3)
    q_G = deviation.probability(logits_GM, topn(logits_GM, pattern), n=pattern.n)
    exact = [_exact(row.tolist(), pattern.n) for row in logits_GM]
    np.testing.assert_allclose(q_G.numpy(), exact, rtol=1e-13)


@pytest.mark.parametrize("lead", [0.0, 4.0, 10.0])
@pytest.mark.parametrize("text", ["7:8", "8:16"])
def test_probability_by_inclusion_and_exclusion(text, lead):
    pattern = Pattern.parse(text)
    logits_GM = _logits(pattern, lead=lead, groups=8)
    q_G = deviation.probability(logits_GM, topn(logits_GM, pattern), n=pattern.n)
    exact = [float(_long_double(row.numpy(), pattern.n)) for row in logits_GM]
    np.testing.assert_allclose(q_G.numpy(), exact, rtol=1e-9)


@pytest.mark.parametrize("lead", [4.0, 9.0, 14.0, 20.0])
@pytest.mark.parametrize("text", PATTERNS)
def test_equal_leads_deviate_as_a_product_says(text, lead):
    """Kept items alike: p is the product over i of i w / (i w + R), so q = -expm1(-sum log1p(R / (i w)))."""
    pattern = Pattern.parse(text)
    kept_1M = torch.arange(pattern.m).unsqueeze(0) < pattern.n
    q = deviation.probability(lead * kept_1M.double(), kept_1M, n=pattern.n).item()
    ratio = (pattern.m - pattern.n) * math.exp(-lead)
    expected = -math.expm1(-sum(math.log1p(ratio / i) for i in range(1, pattern.n + 1)))
    assert math.isclose(q, expected, rel_tol=1e-13)


@pytest.mark.parametrize("text", PATTERNS)
def test_a_group_does_not_depend_on_its_neighbours(text):
    pattern = Pattern.parse(text)
    logits_GM = _logits(pattern, lead=5.0, groups=1200, dtype=torch.float32)
    mode_GM = topn(logits_GM, pattern)
    uniform_GN = torch.rand(1200, pattern.n, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    q_G = deviation.probability(logits_GM, mode_GM, n=pattern.n)
    score_GM = deviation.mode_score(logits_GM, mode_GM, n=pattern.n)
    masks_GM = deviation.draw(logits_GM, mode_GM, uniform_GN)
    for rows in (slice(0, 1), slice(1, 14), slice(3, 1199), slice(1199, 1200), torch.tensor([5, 900, 77])):
        assert torch.equal(deviation.probability(logits_GM[rows], mode_GM[rows], n=pattern.n), q_G[rows])
        assert torch.equal(deviation.mode_score(logits_GM[rows], mode_GM[rows], n=pattern.n), score_GM[rows])
        assert torch.equal(deviation.draw(logits_GM[rows], mode_GM[rows], uniform_GN[rows]), masks_GM[rows])


@pytest.mark.parametrize("lead", [0.0, 3.0, 12.0, 25.0])
@pytest.mark.parametrize("text", ["1:2", "1:4", "2:4", "3:4", "2:6", "4:6"])
def test_draws_follow_the_law_given_that_they_are_not_the_mode(text, lead):
    """Chi-square over all masks but the mode; the limit allows for the 24 cases of this table."""
    pattern, draws = Pattern.parse(text), 40_000
    logits_1M = _logits(pattern, lead=lead, groups=1, seed=pattern.n + pattern.m)
    mode_1M = topn(logits_1M, pattern)
    uniform_GN = torch.rand(draws, pattern.n, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    masks_GM = deviation.draw(logits_1M.expand(draws, -1), mode_1M.expand(draws, -1), uniform_GN)
    sets_KM = torch.tensor([row for row in np.ndindex(*[2] * pattern.m) if sum(row) == pattern.n]).bool()
    others_KM = sets_KM[(sets_KM != mode_1M).any(1)]
    law_K = log_prob(logits_1M.expand(len(others_KM), -1), others_KM).exp()
    counts_K = (masks_GM.unsqueeze(1) == others_KM).all(2).sum(0)
    assert counts_K.sum() == draws
    expected_K = draws * law_K / deviation.probability(logits_1M, mode_1M, n=pattern.n)
    often_K = expected_K >= 5
    seen = torch.cat([counts_K[often_K], counts_K[~often_K].sum().unsqueeze(0)]).double()
    expected = torch.cat([expected_K[often_K], expected_K[~often_K].sum().unsqueeze(0)])
    assert math.isclose(expected.sum().item(), draws, rel_tol=1e-9)
    seen, expected = seen[expected >= 1], expected[expected >= 1]
    if len(seen) > 1:
        statistic = ((seen - expected) ** 2 / expected).sum().item()
        assert chi2.sf(statistic, len(seen) - 1) > 1e-3 / 24


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_draw_keeps_n_and_is_never_the_mode(data):
    pattern = Pattern.parse(data.draw(st.sampled_from(PATTERNS)))
    values = st.floats(-300, 300, width=32)
    logits_1M = torch.tensor([data.draw(st.lists(values, min_size=pattern.m, max_size=pattern.m))])
    ends = st.sampled_from([0.0, 1 - 2**-53])
    uniform = data.draw(st.lists(ends | st.floats(0, 1, exclude_max=True), min_size=pattern.n, max_size=pattern.n))
    mode_1M = topn(logits_1M, pattern)
    mask_1M = deviation.draw(logits_1M, mode_1M, torch.tensor([uniform], dtype=torch.float64))
    assert mask_1M.sum() == pattern.n
    assert not torch.equal(mask_1M, mode_1M)


def test_no_groups_are_no_trouble():
    none_GM = torch.empty(0, 4)
    assert deviation.probability(none_GM, none_GM.bool(), n=2).shape == (0,)
    assert deviation.draw(none_GM, none_GM.bool(), torch.empty(0, 2, dtype=torch.float64)).shape == (0, 4)


@pytest.mark.parametrize("lead", [0.0, 4.0, 10.0, 20.0])
@pytest.mark.parametrize("text", PATTERNS)
def test_mode_score_is_the_gradient_of_the_log_probability_of_the_mode(text, lead):
    pattern = Pattern.parse(text)
    logits_GM = _logits(pattern, lead=lead, groups=50)
    mode_GM = topn(logits_GM, pattern)
    ours_GM = deviation.mode_score(logits_GM, mode_GM, n=pattern.n)
    # For N > 2 the score is 1 minus a sum, so it knows the mode's small gradient only to the rounding of 1.
    torch.testing.assert_close(ours_GM, score(logits_GM, mode_GM, n=pattern.n), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("lead", [4.0, 10.0, 20.0, 40.0])
@pytest.mark.parametrize("text", PATTERNS)
def test_mode_score_keeps_its_precision_in_the_tail(text, lead):
    """Kept items alike: d log p / d log R = -sum R / (i w + R), shared equally on both sides."""
    pattern = Pattern.parse(text)
    mode_1M = torch.arange(pattern.m).unsqueeze(0) < pattern.n
    ratio = (pattern.m - pattern.n) * math.exp(-lead)
    slope = sum(ratio / (i + ratio) for i in range(1, pattern.n + 1))
    ours_1M = deviation.mode_score(lead * mode_1M.double(), mode_1M, n=pattern.n)
    kept_1M = mode_1M.double()
    expected_1M = slope * (kept_1M / pattern.n - (1 - kept_1M) / (pattern.m - pattern.n))
    torch.testing.assert_close(ours_1M, expected_1M, rtol=1e-12, atol=0)
