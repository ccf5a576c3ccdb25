"""Conditional Poisson subsets: marginals and their Jacobian against enumeration and exact fractions, draws by count."""

import math
from fractions import Fraction
from functools import cache
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nmlab.trials.masks.conditional_poisson import marginals, subset_sample

PATTERNS = [(1, 2), (1, 4), (2, 4), (3, 4), (2, 8), (4, 8), (7, 8), (8, 16)]
SCALES = [0.01, 1.0, 5.0, 40.0, 1e6]


def draw_of(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@cache
def subsets(n, m):
    """Every subset as a row of 0 and 1."""
    rows = torch.tensor(list(combinations(range(m), n)))
    return torch.zeros(len(rows), m, dtype=torch.float64).scatter_(1, rows, 1)


def enumerated(logits_M, n):
    """Every subset as a row of 0 and 1, and its probability."""
    items_SM = subsets(n, len(logits_M))
    return items_SM, (items_SM @ logits_M).softmax(0)


def with_gradient(logits_GM, outer_GM, n, *, lam=1.0, layers=()):
    leaf_GM = logits_GM.clone().requires_grad_()
    noise_GM = draw_of(*logits_GM.shape, seed=5).to(logits_GM.dtype)
    mask_GM = subset_sample(leaf_GM, noise_GM, lam=lam, n=n, layers=layers)
    mask_GM.backward(outer_GM)
    return mask_GM.detach(), leaf_GM.grad


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("n", "m"), PATTERNS)
def test_marginals_and_their_jacobian_are_those_of_all_subsets(n, m, scale):
    logits_GM, outer_GM = draw_of(3, m) * scale, draw_of(3, m, seed=1)
    found_GM = marginals(logits_GM, lam=0.7, n=n)
    _, gradient_GM = with_gradient(logits_GM, outer_GM, n, lam=0.7)
    for group, logits_M in enumerate(logits_GM / 0.7):
        items_SM, probability_S = enumerated(logits_M, n)
        marginal_M = probability_S @ items_SM
        covariance_MM = (items_SM * probability_S[:, None]).T @ items_SM - torch.outer(marginal_M, marginal_M)
        torch.testing.assert_close(found_GM[group], marginal_M, rtol=0, atol=1e-13)
        torch.testing.assert_close(gradient_GM[group] * 0.7, covariance_MM @ outer_GM[group], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("n", "m"), [(16, 32), (1, 32), (31, 32), (5, 32)])
def test_marginals_of_32_items_are_those_of_exact_fractions(n, m):
    """Elementary symmetric polynomials in fractions of integers: without rounding."""
    logits_GM, outer_GM = draw_of(1, m, seed=n) * 8, draw_of(1, m, seed=1)
    weights = [Fraction(math.exp(logit)) for logit in logits_GM[0].tolist()]
    outer = [Fraction(each) for each in outer_GM[0].tolist()]
    whole = polynomials(weights, n)[n]
    without = [polynomials(weights[:i] + weights[i + 1 :], n) for i in range(m)]
    marginal = [weights[i] * without[i][n - 1] / whole for i in range(m)]
    expected_M = torch.tensor([float(each) for each in marginal], dtype=torch.float64)
    torch.testing.assert_close(marginals(logits_GM, n=n)[0], expected_M, rtol=1e-11, atol=1e-16)
    _, gradient_GM = with_gradient(logits_GM, outer_GM, n)
    mean = sum(outer[i] * marginal[i] for i in range(m))
    for i in range(0, m, 5):
        both = [
            weights[i] * weights[j] * divided(without[i], weights[j], n - 2) / whole if n > 1 else 0 for j in range(m)
        ]
        expected = sum(outer[j] * both[j] for j in range(m) if j != i) + outer[i] * marginal[i] - mean * marginal[i]
        assert float(gradient_GM[0, i]) == pytest.approx(float(expected), abs=1e-12)


def polynomials(weights, n):
    """Elementary symmetric polynomials of the weights, of degree 0 to n."""
    found = [Fraction(1)] + [Fraction(0)] * n
    for weight in weights:
        found = [found[0]] + [found[k] + weight * found[k - 1] for k in range(1, n + 1)]
    return found


def divided(with_weight, weight, degree):
    """The polynomial of a degree without one of the weights: e_k - w e_(k-1) + w^2 e_(k-2) ..., exact in fractions."""
    return sum((-weight) ** power * with_weight[degree - power] for power in range(degree + 1))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([*PATTERNS, (16, 32)]), st.floats(-3, 30), st.booleans(), st.integers(0, 10**6))
def test_draws_keep_n_and_gradients_are_finite_at_any_scale(pattern, exponent, has_ties, seed):
    n, m = pattern
    logits_GM = draw_of(25, m, seed=seed)
    logits_GM = ((logits_GM.round() if has_ties else logits_GM) * 10.0**exponent).float()
    mask_GM, gradient_GM = with_gradient(logits_GM, draw_of(25, m, seed=seed + 1).float(), n)
    assert mask_GM.dtype == torch.float32
    assert set(mask_GM.unique().tolist()) <= {0.0, 1.0}
    assert mask_GM.sum(1).tolist() == [n] * 25
    assert bool(gradient_GM.isfinite().all())
    found_GM = marginals(logits_GM, n=n)
    torch.testing.assert_close(found_GM.double().sum(1), torch.full((25,), float(n)).double(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("n", "m", "scale"), [(1, 4, 1.0), (2, 4, 1.0), (2, 4, 3.0), (3, 6, 1.0), (4, 8, 0.5)])
def test_draws_have_the_distribution(n, m, scale):
    """A chi-square over all subsets, those that are expected less than five times together."""
    draws = 200_000
    logits_M = draw_of(m, seed=n) * scale
    uniform_GM = torch.rand(draws, m, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mask_GM = subset_sample(logits_M.expand(draws, m).contiguous(), uniform_GM.logit(), n=n)
    items_SM, probability_S = enumerated(logits_M, n)
    code = 2 ** torch.arange(m, dtype=torch.float64)
    counts = dict(zip(*((mask_GM @ code).unique(return_counts=True)), strict=True))
    seen = {int(key): int(count) for key, count in counts.items()}
    observed = torch.tensor([seen.get(int(key), 0) for key in items_SM @ code], dtype=torch.float64)
    rare_S = probability_S * draws < 5
    expected = torch.cat([probability_S[~rare_S], probability_S[rare_S].sum(0, keepdim=True)]) * draws
    observed = torch.cat([observed[~rare_S], observed[rare_S].sum(0, keepdim=True)])
    if not rare_S.any():
        expected, observed = expected[:-1], observed[:-1]
    assert float(observed.sum()) == draws
    assert stats.chisquare(observed.numpy(), expected.numpy() * (draws / expected.numpy().sum())).pvalue > 1e-4


def test_rare_items_are_drawn_at_their_rate():
    """An item of probability e^-20 is drawn exactly where its logistic noise is below -20: no grid of uniforms."""
    logits_GM = torch.tensor([[10.0, -10.0]], dtype=torch.float64)
    for noise, drawn in [(-20.0001, 1.0), (-19.9999, 0.0)]:
        mask_GM = subset_sample(logits_GM, torch.tensor([[0.0, noise]], dtype=torch.float64), n=1)
        assert mask_GM.tolist() == [[1.0 - drawn, drawn]]


def test_keeping_all_is_a_mask_of_ones_without_gradient():
    mask_GM, gradient_GM = with_gradient(draw_of(3, 4), torch.ones(3, 4).double(), 4)
    assert torch.equal(mask_GM, torch.ones(3, 4).double())
    assert torch.equal(gradient_GM, torch.zeros(3, 4).double())
    assert torch.equal(marginals(draw_of(3, 4), n=4), torch.ones(3, 4).double())


def test_a_nan_does_not_pass_as_a_mask():
    """A group with a NaN gets a gradient of NaN, so that a run ends as diverged."""
    logits_GM = draw_of(3, 4)
    logits_GM[1, 2] = torch.nan
    _, gradient_GM = with_gradient(logits_GM, draw_of(3, 4, seed=1), 2)
    assert gradient_GM.isnan().tolist() == [[False] * 4, [True] * 4, [False] * 4]


def test_one_tensor_is_kept_for_the_backward():
    logits_GM, kept = draw_of(10, 8).float().requires_grad_(), []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.nbytes) or tensor, lambda it: it):
        subset_sample(logits_GM, draw_of(10, 8).float(), n=4)
    assert kept == [4 * 80]


@pytest.mark.parametrize(("n", "m"), [(2, 4), (8, 16)])
def test_a_layer_is_the_same_whichever_layers_are_beside_it(n, m):
    sizes = [5, 1003, 17, 9001]
    logits_GM, outer_GM = draw_of(sum(sizes), m).float(), draw_of(sum(sizes), m, seed=1).float()
    noise_GM = draw_of(sum(sizes), m, seed=2).float()

    def run(part_GM, noise_GM, outer_GM, layers):
        leaf_GM = part_GM.clone().requires_grad_()
        mask_GM = subset_sample(leaf_GM, noise_GM, lam=0.3, n=n, layers=layers)
        mask_GM.backward(outer_GM)
        return mask_GM.detach(), leaf_GM.grad

    together = run(logits_GM, noise_GM, outer_GM, sizes)
    split = (tensor.split(sizes) for tensor in (logits_GM, noise_GM, outer_GM))
    apart = [run(*parts, [len(parts[0])]) for parts in zip(*split, strict=True)]
    for whole, parts in zip(together, zip(*apart, strict=True), strict=True):
        assert torch.equal(whole, torch.cat(parts))
