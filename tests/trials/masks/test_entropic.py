"""Entropic top-N: probabilities that sum to N, and their derivative, against 40-digit arithmetic and differences."""

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nmlab.trials.masks.entropic import entropic_topn
from nmlab.trials.masks.inclusion import inclusion
from nmlab.trials.masks.topn import keep_largest

PATTERNS = [(1, 2), (1, 4), (2, 4), (3, 4), (2, 8), (4, 8), (7, 8), (8, 16), (1, 32), (16, 32), (28, 32), (31, 32)]


def groups_of(m, groups, *, seed=0, std=1.0, kind="normal"):
    """Keys of some kind: normal, with many ties, of very unequal sizes, or in two clusters; float64 [G, M]."""
    draw = torch.Generator().manual_seed(seed)
    keys_GM = torch.randn(groups, m, generator=draw, dtype=torch.float64)
    if kind == "ties":
        keys_GM = keys_GM.round()
    elif kind == "unequal":
        keys_GM = keys_GM.sign() * keys_GM.abs().exp().square()
    elif kind == "clusters":
        split_G1 = torch.randn(groups, 1, generator=draw, dtype=torch.float64)
        keys_GM = (keys_GM > split_G1).double() + 1e-2 * keys_GM
    return keys_GM * std


def exactly(keys, n):
    """Probabilities of one group and their distances from 1, with 40 digits by 120 halvings."""
    with mpmath.workdps(40):
        exact = [mpmath.mpf(key) for key in keys]
        low, high = min(exact) - 4, max(exact) + 4  # log(M) beyond is enough
        for _ in range(120):
            middle = (low + high) / 2
            if mpmath.fsum(1 / (1 + mpmath.exp(middle - key)) for key in exact) > n:
                low = middle
            else:
                high = middle
        return [(1 / (1 + mpmath.exp(low - key)), 1 / (1 + mpmath.exp(key - low))) for key in exact]


@pytest.mark.parametrize("kind", ["normal", "ties", "unequal", "clusters"])
@pytest.mark.parametrize(("n", "m"), PATTERNS)
def test_small_probabilities_are_as_exact_as_large_ones(n, m, kind):
    """To 1e-11 of the probability, and of its distance from 1; what is below e^-40 may be off by that."""
    for seed, std in enumerate((0.01, 1.0, 6.0)):
        keys_GM = groups_of(m, 1, std=std, kind=kind, seed=seed)
        found = inclusion(keys_GM.T, n)
        for group, keys in enumerate(keys_GM.tolist()):
            for item, (probability, distance) in enumerate(exactly(keys, n)):
                is_kept, deviation = bool(found.kept_Mg[item, group]), float(found.deviation_Mg[item, group])
                expected = -distance if is_kept else probability
                assert deviation == pytest.approx(float(expected), rel=1e-11, abs=1e-16)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(PATTERNS),
    st.sampled_from(["normal", "ties", "unequal", "clusters"]),
    st.floats(-4, 6),
    st.floats(-3, 0),
    st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16]),
    st.integers(0, 10**6),
)
def test_rows_sum_to_n_at_any_scale_in_any_type(pattern, kind, exponent, log_tau, dtype, seed):
    n, m = pattern
    exponent = min(exponent, 3) if dtype == torch.float16 else exponent
    logits_GM = groups_of(m, 40, seed=seed, std=10.0**exponent, kind=kind).clamp(-6e4, 6e4).to(dtype).requires_grad_()
    mask_GM = entropic_topn(logits_GM, tau=10.0**log_tau, lam=0.3, n=n)
    assert mask_GM.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(mask_GM.double().sum(1), torch.full((40,), float(n)).double(), rtol=0, atol=1e-6)
    assert 0 <= float(mask_GM.detach().min()) <= float(mask_GM.detach().max()) <= 1
    mask_GM.backward(torch.linspace(-1, 1, mask_GM.numel(), dtype=mask_GM.dtype).view_as(mask_GM))
    assert logits_GM.grad.dtype == dtype
    assert bool(logits_GM.grad.isfinite().all())


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PATTERNS), st.floats(-3, 2), st.integers(0, 10**6))
def test_larger_logits_have_larger_entries_and_shifts_change_nothing(pattern, exponent, seed):
    n, m = pattern
    logits_GM = groups_of(m, 30, seed=seed, std=10.0**exponent)
    mask_GM = entropic_topn(logits_GM, tau=0.7, n=n)
    order_GM = logits_GM.argsort(1)
    assert float(mask_GM.gather(1, order_GM).diff(dim=1).min()) >= -1e-12
    torch.testing.assert_close(entropic_topn(logits_GM + 3.0, tau=0.7, n=n), mask_GM, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 4), (3, 4), (4, 8), (7, 8), (8, 16), (16, 32)])
def test_the_gradient_is_the_derivative(n, m):
    """Against differences in float64, at temperatures where they mean something."""
    for tau, lam, noise_GM in [(1.0, 1.0, None), (0.3, 0.5, groups_of(m, 1, seed=1))]:
        assert torch.autograd.gradcheck(
            lambda x, t=tau, s=lam, z=noise_GM: entropic_topn(x, tau=t, lam=s, n=n, noise_GM=z),
            groups_of(m, 1).requires_grad_(),
        )


@pytest.mark.parametrize("kind", ["normal", "ties", "clusters"])
@pytest.mark.parametrize(("tau", "lam"), [(1.0, 1.0), (0.3, 0.2), (0.05, 0.2), (0.05, 0.02)])
@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8), (8, 16), (16, 32)])
def test_float32_keeps_value_and_gradient_of_float64(n, m, tau, lam, kind):
    """A gradient is measured against 1 / (tau lam), what the two divisions make of a gradient of 1."""
    logits_GM = groups_of(m, 300, kind=kind).float()
    outer_GM = torch.randn(logits_GM.shape, generator=torch.Generator().manual_seed(1))
    found = []
    for dtype in (torch.float32, torch.float64):
        leaf_GM = logits_GM.to(dtype, copy=True).requires_grad_()
        mask_GM = entropic_topn(leaf_GM, tau=tau, lam=lam, n=n)
        mask_GM.backward(outer_GM.to(dtype))
        found.append((mask_GM.detach().double(), leaf_GM.grad.double()))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=1e-7)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=0, atol=1e-6 / (tau * lam))


def test_the_gradient_of_a_nearly_hard_group_is_not_lost_to_rounding():
    """float32 has no number between 1 - 6e-8 and 1; the gradient of the entries there still sums to zero."""
    logits_GM = torch.tensor([[3.0, 2.5, 0.0, -0.5]], requires_grad=True)
    mask_GM = entropic_topn(logits_GM, tau=0.1, lam=1.0, n=2)
    assert mask_GM.detach()[0, 0] == 1
    mask_GM.backward(torch.tensor([[1.0, -2.0, 0.5, 3.0]]))
    assert float(logits_GM.grad.abs().min()) > 0
    assert float(logits_GM.grad.double().sum()) == pytest.approx(0, abs=1e-6 * float(logits_GM.grad.abs().max()))


@pytest.mark.parametrize(("n", "m"), PATTERNS)
def test_the_limit_is_the_top_n(n, m):
    logits_GM = groups_of(m, 200)
    mask_GM = entropic_topn(logits_GM.float(), tau=1e-9, n=n)
    torch.testing.assert_close(mask_GM, keep_largest(logits_GM.float(), n).float(), rtol=0, atol=1e-16)


def test_equal_logits_share():
    """All equal: N/M each. Two for the last place: a half each, however cold."""
    assert torch.equal(entropic_topn(torch.zeros(3, 8), tau=1e-6, n=2), torch.full((3, 8), 0.25))
    tied_GM = torch.tensor([[5.0, 1.0, 1.0, -4.0]])
    mask_GM = entropic_topn(tied_GM, tau=1e-3, n=2)
    torch.testing.assert_close(mask_GM, torch.tensor([[1.0, 0.5, 0.5, 0.0]]), rtol=0, atol=1e-16)


def test_infinite_and_huge_logits():
    inf, huge = torch.inf, 3e38
    logits_GM = torch.tensor(
        [
            [-inf, 0.0, 1.0, -inf],
            [-inf, -inf, -inf, 2.0],
            [inf, inf, inf, 0.0],
            [huge, -huge, huge, -huge],
            [-inf, -inf, -inf, -inf],
            [huge, inf, 0.0, -inf],
        ]
    ).requires_grad_()
    mask_GM = entropic_topn(logits_GM, tau=0.05, lam=0.002, n=2)
    third, two_thirds = 1 / 3, 2 / 3
    expected = [
        [0, 1, 1, 0],
        [third, third, third, 1],
        [two_thirds, two_thirds, two_thirds, 0],
        [1, 0, 1, 0],
        [0.5] * 4,
        [1, 1, 0, 0],
    ]
    torch.testing.assert_close(mask_GM.detach(), torch.tensor(expected, dtype=torch.float32), rtol=0, atol=1e-7)
    mask_GM.sum().backward()
    assert bool(logits_GM.grad.isfinite().all())


def test_a_nan_stays_in_its_group():
    for place in range(4):
        logits_GM = groups_of(4, 3)
        logits_GM[1, place] = torch.nan
        mask_GM = entropic_topn(logits_GM, tau=0.5, n=2)
        assert mask_GM.isnan().tolist() == [[False] * 4, [True] * 4, [False] * 4]


def test_keeping_all_is_a_mask_of_ones_without_gradient():
    logits_GM = groups_of(4, 3).requires_grad_()
    mask_GM = entropic_topn(logits_GM, tau=0.5, n=4)
    mask_GM.sum().backward()
    assert torch.equal(mask_GM, torch.ones(3, 4))
    assert torch.equal(logits_GM.grad, torch.zeros(3, 4))


def test_one_tensor_is_kept_for_the_backward():
    logits_GM = groups_of(8, 10).float().requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.nbytes) or tensor, lambda it: it):
        entropic_topn(logits_GM, tau=0.5, lam=0.5, n=4, noise_GM=torch.zeros(10, 8))
    assert kept == [4 * 80]


@pytest.mark.parametrize(("n", "m"), [(2, 4), (8, 16)])
def test_a_layer_is_the_same_whichever_layers_are_beside_it(n, m):
    sizes = [5, 1003, 17, 9001]
    logits_GM = groups_of(m, sum(sizes)).float()
    outer_GM = torch.randn(logits_GM.shape, generator=torch.Generator().manual_seed(1))

    def run(part_GM, outer_GM, layers):
        leaf_GM = part_GM.clone().requires_grad_()
        mask_GM = entropic_topn(leaf_GM, tau=0.2, lam=0.3, n=n, layers=layers)
        mask_GM.backward(outer_GM)
        return mask_GM.detach(), leaf_GM.grad

    together = run(logits_GM, outer_GM, sizes)
    apart = [run(*parts, [len(parts[0])]) for parts in zip(logits_GM.split(sizes), outer_GM.split(sizes), strict=True)]
    for whole, parts in zip(together, zip(*apart, strict=True), strict=True):
        assert torch.equal(whole, torch.cat(parts))
