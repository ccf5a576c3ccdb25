"""Samplers: exact ones by chi-square against brute force, their tails by constructed noise."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy import stats

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.masks import check_mask
from nmlab.trials.masks.samplers import (
    SAMPLERS,
    find_sampler,
    race_mask,
    race_order,
    successive_mask,
)

EXACT = [name for name, sampler in SAMPLERS.items() if sampler.plackett_luce]
GROUPS = 500_000
LOGITS = {
    "flat": lambda n, m: [0.0] * m,
    "C=4": lambda n, m: [4.0] * n + [0.0] * (m - n),
    "C=10": lambda n, m: [0.0] * (m - n) + [10.0] * n,
    "generic": lambda n, m: [math.sin(5.0 * k) * 2.0 for k in range(m)],
}
CASES = [(text, name) for text in ("1:4", "2:4", "2:8", "3:4", "4:8") for name in LOGITS]
# A false alarm in one of a hundred runs of the whole battery, if seeds were not fixed.
LIMIT = 0.01 / (len(CASES) * len(EXACT))


def set_counts(mask_GM, n):
    """How often each set occurs, in the order of itertools.combinations."""
    m = mask_GM.shape[1]
    code_G = (mask_GM.long() << torch.arange(m)).sum(1)
    count_by_code = torch.bincount(code_G, minlength=1 << m)
    return np.array([count_by_code[sum(1 << k for k in kept)].item() for kept in combinations(range(m), n)])


def chi_square_p(observed, probabilities):
    """p-value after pooling all sets expected fewer than five times into one."""
    expected = np.array(probabilities) * observed.sum()
    rare = expected < 5
    pooled_observed = np.append(observed[~rare], observed[rare].sum())
    pooled_expected = np.append(expected[~rare], expected[rare].sum())
    if not rare.any() or pooled_expected[-1] < 1:
        pooled_observed, pooled_expected = observed, expected
    return stats.chisquare(pooled_observed, pooled_expected * observed.sum() / pooled_expected.sum()).pvalue


def philox(seed):
    return np.random.Generator(np.random.Philox(seed))


def exponentials(shape, *, seed=0):
    """Noise of the race, as the samplers draw it."""
    noise_GM = torch.empty(shape, dtype=torch.float64)
    SAMPLERS["gumbel_topk"].fill(noise_GM, philox(seed))
    return noise_GM


def sample(name, logits, n, *, groups=GROUPS, seed=0):
    return SAMPLERS[name](torch.tensor(logits).expand(groups, -1), n, generator=philox(seed))


@pytest.mark.parametrize("sampler", EXACT)
@pytest.mark.parametrize(("text", "name"), CASES)
def test_exact_samplers_follow_plackett_luce(set_probabilities, sampler, text, name):
    pattern = Pattern.parse(text)
    logits = LOGITS[name](pattern.n, pattern.m)
    mask_GM = sample(sampler, logits, pattern.n, groups=2 * GROUPS if name == "C=10" else GROUPS, seed=1)
    check_mask(mask_GM, pattern)
    exact = list(set_probabilities(logits, pattern.n).values())
    assert chi_square_p(set_counts(mask_GM, pattern.n), exact) > LIMIT


@pytest.mark.parametrize("sampler", EXACT)
def test_deviation_rate_at_a_large_margin(sampler):
    """At C = 12 one group in 54 000 leaves the modal mask; the count is Poisson."""
    mask_GM = sample(sampler, [12.0, 12.0, 0.0, 0.0], 2, groups=3_000_000)
    deviating = int((~mask_GM[:, :2].all(1)).sum())
    lead = math.exp(12.0)
    expected = 3_000_000 * (1 - 2 * lead / (2 * lead + 2) * lead / (lead + 2))
    low, high = stats.poisson.interval(0.9999, expected)
    assert low <= deviating <= high


@pytest.mark.parametrize("sampler", EXACT)
def test_neighbouring_groups_are_independent(sampler):
    mask_GM = sample(sampler, [1.0, 0.0, 0.5, -1.0], 2)
    table = np.zeros((2, 2))
    np.add.at(table, (mask_GM[:-1, 0].long().numpy(), mask_GM[1:, 0].long().numpy()), 1)
    assert stats.chi2_contingency(table).pvalue > 1e-4


def test_gaussian_topk_is_another_distribution(set_probabilities):
    logits = LOGITS["generic"](2, 4)
    exact = list(set_probabilities(logits, 2).values())
    assert chi_square_p(set_counts(sample("gaussian_topk", logits, 2), 2), exact) < 1e-30
    assert chi_square_p(set_counts(sample("gumbel_topk", logits, 2), 2), exact) > 1e-3


def test_gaussian_topk_is_the_top_of_normal_keys():
    """For 1:2 the first is kept with probability Phi(gap / sqrt 2)."""
    kept = int(sample("gaussian_topk", [1.0, 0.0], 1)[:, 0].sum())
    assert stats.binomtest(kept, GROUPS, stats.norm.cdf(1 / math.sqrt(2))).pvalue > 1e-3


def test_small_exponentials_are_not_on_a_coarse_grid():
    """A 24-bit uniform would put all of them on multiples of 2^-24, and C = 18 would hardly ever deviate."""
    exponential = exponentials((500_000, 4))
    small = exponential[exponential < 1e-3]
    assert small.numel() > 1500
    uniform = -torch.expm1(-small) * 2**24
    assert stats.kstest((uniform - uniform.floor()).numpy(), "uniform").pvalue > 1e-3


def test_exponentials_have_their_distribution_and_long_tail():
    exponential = exponentials((500_000, 4)).flatten()
    assert stats.kstest(exponential[:200_000].numpy(), "expon").pvalue > 1e-3
    assert exponential.isfinite().all()
    low, high = stats.poisson.interval(0.9999, exponential.numel() * math.exp(-12))
    assert low <= int((exponential > 12).sum()) <= high


@pytest.mark.parametrize("margin", [10.0, 20.0, 30.0])
@pytest.mark.parametrize("side", [0.99, 1.01])
def test_race_decides_rare_deviations_precisely(margin, side):
    logits_1M = torch.tensor([[margin, margin, 0.0, 0.0]])
    early = side * math.exp(-margin)
    exponential_1M = torch.tensor([[1.0, 0.5, early, 3.0]], dtype=torch.float64)
    mask = race_mask(logits_1M, exponential_1M, 2)[0].tolist()
    assert mask == ([False, True, True, False] if side < 1 else [True, True, False, False])


@pytest.mark.parametrize("margin", [10.0, 20.0, 30.0])
def test_successive_draws_resolve_the_far_tail(margin):
    """The last item, of probability e^-C / (1 + e^-C), gets its share of the uniforms near one."""
    tail = math.exp(-margin) / (1 + math.exp(-margin))
    position_G = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    uniform_GN = (1 - 2 * tail * position_G).unsqueeze(1)
    mask_GM = successive_mask(torch.tensor([[margin, 0.0]]).expand(1000, 2), uniform_GN)
    assert abs(int(mask_GM[:, 1].sum()) - 500) <= max(1, 1000 * 2**-53 / tail)


@pytest.mark.parametrize("uniform", [0.0, 2.0**-53, 0.5, 1 - 2.0**-53])
@pytest.mark.parametrize("gap", [0.0, 1.0, 800.0, 1e6])
def test_successive_draws_survive_extreme_uniforms_and_gaps(uniform, gap):
    logits_GM = gap * torch.tensor([[2.0, 0.0, 1.0, -1.0], [-3.0, -2.0, -1.0, 0.0]])
    mask_GM = successive_mask(logits_GM, torch.full((2, 3), uniform, dtype=torch.float64))
    check_mask(mask_GM, Pattern(3, 4))
    if gap >= 800:
        assert mask_GM.tolist() == [[True, True, True, False], [False, True, True, True]]


def test_race_with_enormous_gaps_and_zero_times():
    logits_1M = torch.tensor([[-1e6, 0.0, 1e6, 0.0]])
    assert race_mask(logits_1M, torch.ones(1, 4), 3).tolist() == [[False, True, True, True]]
    assert race_mask(torch.zeros(1, 4), torch.zeros(1, 4), 2).tolist() == [[True, True, False, False]]


def test_race_order_lists_the_race_mask_earliest_first():
    logits_GM = torch.randn(500, 8, generator=torch.Generator().manual_seed(0))
    exponential_GM = exponentials((500, 8))
    order_GN = race_order(logits_GM, exponential_GM, 4)
    mask_GM = torch.zeros(500, 8, dtype=torch.bool).scatter_(1, order_GN, True)
    assert torch.equal(mask_GM, race_mask(logits_GM, exponential_GM, 4))
    arrival_GN = (exponential_GM / logits_GM.double().exp()).gather(1, order_GN)
    assert (arrival_GN.diff(dim=1) >= 0).all()


@pytest.mark.parametrize("name", SAMPLERS)
def test_same_seed_same_masks(name):
    logits = LOGITS["generic"](4, 8)
    first, again = (sample(name, logits, 4, groups=20_001, seed=5) for _ in range(2))
    other = sample(name, logits, 4, groups=20_001, seed=6)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("text", ["1:1", "4:4", "1:8", "7:8", "16:32"])
def test_every_sampler_keeps_n_of_every_m(name, text, dtype):
    pattern = Pattern.parse(text)
    logits_GM = 20 * torch.randn(300, pattern.m, generator=torch.Generator().manual_seed(0)).to(dtype)
    mask_GM = SAMPLERS[name](logits_GM, pattern.n, generator=philox(1))
    check_mask(mask_GM, pattern)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", SAMPLERS)
def test_logits_that_are_not_finite_are_refused(name, bad):
    logits_GM = torch.zeros(6, 4)
    logits_GM[3, 1] = bad
    with pytest.raises(ValueError, match="NaN or infinity"):
        SAMPLERS[name](logits_GM, 2, generator=philox(0))


@pytest.mark.parametrize(("shape", "n"), [((4,), 2), ((2, 4), 0), ((2, 4), 5), ((2, 2, 4), 2)])
def test_shapes_that_do_not_fit_are_refused(shape, n):
    with pytest.raises(ValueError, match=r"expected \[G, M\]"):
        SAMPLERS["multinomial"](torch.zeros(shape), n, generator=philox(0))


def test_registry_suggests_the_nearest_name():
    assert find_sampler("gaussian_topk") is SAMPLERS["gaussian_topk"]
    with pytest.raises(ValueError, match=r"unknown sampler 'gumbel_top_k'; did you mean 'gumbel_topk'"):
        find_sampler("gumbel_top_k")
