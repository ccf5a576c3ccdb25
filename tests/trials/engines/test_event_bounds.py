"""The inequalities behind the event engine's bounds, one by one, and the windows that follow from them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import GroupLayout
from nmlab.trials.engines.event.blocks import SUPERBLOCK, Blocks
from nmlab.trials.engines.event.drift import DriftHistory, drifted
from nmlab.trials.engines.event.rates import UNIT, rate
from nmlab.trials.engines.event.windows import HOT, REACH, DriftWindows, bounds
from nmlab.trials.masks import deviation
from nmlab.trials.masks.topn import topn
from nmlab.trials.models import PrunableLayer

PATTERNS = ["1:2", "1:4", "2:4", "3:4", "2:8", "4:8", "7:8", "8:16", "5:32"]


def _cases(text, *, groups=400, seed=0):
    """Return logits from flat to far apart, whose kept items lead equally, unequally or not at all, and their modes."""
    pattern, generator = Pattern.parse(text), torch.Generator().manual_seed(seed)
    spread_G1 = 10 ** torch.linspace(-2, 1.3, groups, dtype=torch.float64).unsqueeze(1)
    logits_GM = spread_G1 * torch.randn(groups, pattern.m, generator=generator, dtype=torch.float64)
    logits_GM += torch.arange(groups).remainder(5).unsqueeze(1) * 3.0 * topn(logits_GM, pattern)
    return logits_GM, topn(logits_GM, pattern), pattern.n


def _log_q(logits_GM, mode_GM, *, n):
    """log q by inclusion and exclusion, differentiable twice; precise enough where q is not below 1e-10."""
    top_G1 = logits_GM.masked_fill(mode_GM, -torch.inf).amax(1, keepdim=True)
    weight_GM = (logits_GM - top_G1).exp()
    kept_NG, rest_G = weight_GM[mode_GM].view(-1, n).t(), (weight_GM * ~mode_GM).sum(1)
    total_G = torch.zeros_like(rest_G)
    for subset in range(1, 1 << n):
        members = [i for i in range(n) if subset >> i & 1]
        total_G = total_G - (-1) ** len(members) * rest_G / (rest_G + kept_NG[members].sum(0))
    return total_G.log()


@pytest.mark.parametrize("text", PATTERNS)
def test_the_gradient_of_log_q_has_its_signs_and_its_length(text):
    """Dropped components are >= 0 and add up to at most 1, kept ones are the opposite: so its length is <= sqrt 2."""
    logits_GM, mode_GM, n = _cases(text)
    leaf_GM = logits_GM.clone().requires_grad_()
    (gradient_GM,) = torch.autograd.grad(_log_q(leaf_GM, mode_GM, n=n).sum(), leaf_GM)
    q_G = deviation.probability(logits_GM, mode_GM, n=n)
    sure_G = q_G > 1e-9
    gradient_GM, mode_GM = gradient_GM[sure_G], mode_GM[sure_G]
    assert (gradient_GM.masked_fill(mode_GM, 0.0) >= -1e-6).all()
    assert (gradient_GM.masked_fill(~mode_GM, 0.0) <= 1e-6).all()
    assert (gradient_GM.masked_fill(mode_GM, 0.0).sum(1) <= 1 + 1e-6).all()
    assert (gradient_GM.sum(1).abs() < 1e-6).all()
    assert (gradient_GM.norm(dim=1) <= math.sqrt(2) + 1e-6).all()
    assert gradient_GM.norm(dim=1).max() > (1.0 if n < 7 else 0.5)  # and the bound is tight


@pytest.mark.parametrize("text", ["1:2", "1:4", "2:4", "3:4", "2:8", "4:8", "5:8"])
def test_the_curvature_of_log_p_is_bounded_by_the_trace(text):
    """-H is positive semi-definite (log p is concave), and its trace is at most (2N + 1) x + 2 x^2, x = q / (1 - q)."""
    logits_GM, mode_GM, n = _cases(text, groups=120)
    q_G = deviation.probability(logits_GM, mode_GM, n=n)
    sure_G = (q_G > 1e-7) & (q_G < 0.99)
    x_G, mode_GM = (q_G / (1 - q_G))[sure_G], mode_GM[sure_G]
    leaf_GM = logits_GM[sure_G].requires_grad_()
    log_p_G = torch.log1p(-_log_q(leaf_GM, mode_GM, n=n).exp())
    (score_GM,) = torch.autograd.grad(log_p_G.sum(), leaf_GM, create_graph=True)
    rows = [torch.autograd.grad(score_G.sum(), leaf_GM, retain_graph=True)[0] for score_G in score_GM.unbind(1)]
    hessian_GMM = torch.stack(rows, dim=1)
    assert (torch.linalg.eigvalsh(hessian_GMM)[:, -1] <= 1e-6 * x_G).all()
    trace_G = -hessian_GMM.diagonal(dim1=1, dim2=2).sum(1)
    assert (trace_G <= ((2 * n + 1) * x_G + 2 * x_G.square()) * (1 + 1e-6)).all()
    assert len(x_G) > 40


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_displacement_raises_log_q_by_at_most_sqrt_2_times_its_length(data):
    pattern = Pattern.parse(data.draw(st.sampled_from(PATTERNS)))
    values = st.lists(st.floats(-20, 20), min_size=pattern.m, max_size=pattern.m)
    logits_1M = torch.tensor([data.draw(values)], dtype=torch.float64)
    moved_1M = logits_1M + torch.tensor([data.draw(values)], dtype=torch.float64) * data.draw(st.floats(0, 0.2))
    mode_1M = topn(logits_1M, pattern)
    before, after = (deviation.probability(one, mode_1M, n=pattern.n).item() for one in (logits_1M, moved_1M))
    assert after <= before * math.exp(math.sqrt(2) * (moved_1M - logits_1M).norm().item()) * (1 + 1e-9)


def _walk(history, *, steps, size, seed):
    for sign in torch.randn(steps, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).tolist():
        history.append(size * sign)


@pytest.mark.parametrize("direction", [1.0, -1.0, 0.0])
@pytest.mark.parametrize("text", PATTERNS)
def test_bounds_hold_to_the_edge_of_the_window(text, direction):
    """Cold groups drift until their window ends, straight on either side or in a walk: the bound holds up to there."""
    pattern, n = Pattern.parse(text), Pattern.parse(text).n
    mode_GM = (torch.arange(pattern.m) < n).expand(60, -1)
    lead_G1 = torch.linspace(3.5, 25, 60, dtype=torch.float64).unsqueeze(1)
    noise_GM = torch.rand(60, pattern.m, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    arranged_Mg = (lead_G1 * mode_GM + noise_GM).t().contiguous()
    arranged_Mg = arranged_Mg[:, deviation.Race.of(arranged_Mg, n=n).probability() < HOT]
    q_g = deviation.Race.of(arranged_Mg, n=n).probability()
    # The windows of the ninth superblock are hardly shortened.
    layer = PrunableLayer("a", 0, 9 * SUPERBLOCK, pattern.m)
    blocks = Blocks(GroupLayout([layer], pattern=pattern), device=q_g.device)
    bound_g, reached, largest = bounds(q_g), 0, torch.zeros_like(q_g)
    for group in range(len(q_g)):
        history, windows = DriftHistory(device=q_g.device), DriftWindows(blocks, n=n, device=q_g.device)
        slot_1 = torch.tensor([8 * SUPERBLOCK])
        windows.narrow(slot_1, windows.ends(slot_1, bound_g[group : group + 1], sums=(0.0, 0.0)))
        while windows.expired(history) is None and history.step < 400:
            since = history.since(torch.tensor([0]))
            now_M1 = drifted(arranged_Mg[:, group : group + 1], n=n, since=since)
            length = (now_M1 - arranged_Mg[:, group : group + 1]).norm().item()
            assert length <= REACH * (1 + 1e-4)
            rate_1 = rate(deviation.Race.of(now_M1, n=n).probability())
            assert rate_1.item() <= bound_g[group].item()
            largest[group] = max(largest[group].item(), length)
            kick = 0.02 / q_g[group].item()
            history.append(direction * kick / 10 if direction else kick / 3 * (-1) ** history.step)
        reached += history.step < 400
    assert reached == len(q_g)  # every window did end
    assert direction == 0 or largest.max() > REACH / 4


def test_bounds_are_positive_where_q_is_and_fit_their_type():
    q_g = torch.tensor([0.0, 1e-300, 1e-20, 1e-6, HOT], dtype=torch.float64)
    bound_g = bounds(q_g)
    assert bound_g[0] == 0
    assert (bound_g[1:] > 0).all()
    assert bound_g.max() < 2**31
    assert math.isclose(bound_g[3].item() * UNIT, 1e-6 * math.exp(math.sqrt(2) * REACH), rel_tol=1e-4)
