"""The gradient of a draw order: by autograd, and as the noisy version of the set score."""

from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nmlab.trials.masks import plackett_luce
from nmlab.trials.masks.samplers import race_order


def order_log_prob(logits_GM, order_GN):
    """Draw by draw from the definition, in the domain of the logits."""
    left_GM, total_G = logits_GM, 0.0
    for position_G in order_GN.unbind(1):
        total_G = total_G + left_GM.log_softmax(1).gather(1, position_G.unsqueeze(1)).squeeze(1)
        drawn_GM = torch.nn.functional.one_hot(position_G, logits_GM.shape[1]).bool()
        left_GM = left_GM.masked_fill(drawn_GM, -1e30)
    return total_G


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([(1, 4), (2, 4), (3, 4), (4, 8), (8, 16), (4, 4)]),
    st.floats(0.1, 30),
    st.integers(0, 2**20),
)
def test_matches_autograd_of_the_definition(pattern, spread, seed):
    (n, m), generator = pattern, torch.Generator().manual_seed(seed)
    logits_GM = spread * torch.randn(6, m, generator=generator, dtype=torch.float64)
    order_GN = race_order(logits_GM, torch.empty(6, m, dtype=torch.float64).exponential_(generator=generator), n)
    leaf_GM = logits_GM.clone().requires_grad_()
    (expected_GM,) = torch.autograd.grad(order_log_prob(leaf_GM, order_GN).sum(), leaf_GM)
    ours_GM = plackett_luce.ordered_score(logits_GM, order_GN)
    torch.testing.assert_close(ours_GM, expected_GM, rtol=0, atol=1e-10)
    torch.testing.assert_close(ours_GM.sum(1), torch.zeros(6, dtype=torch.float64), rtol=0, atol=1e-11)


@pytest.mark.parametrize("kept", [(0, 2), (1, 2, 3)])
def test_its_mean_over_the_orders_of_a_set_is_the_set_score(kept):
    logits_M = torch.tensor([0.4, -1.0, 3.0, 0.1, 2.0], dtype=torch.float64)
    order_GN = torch.tensor(list(permutations(kept)))
    logits_GM = logits_M.expand(len(order_GN), -1)
    share_G = order_log_prob(logits_GM, order_GN).softmax(0)
    mean_M = (share_G.unsqueeze(1) * plackett_luce.ordered_score(logits_GM, order_GN)).sum(0)
    mask_1M = torch.zeros(1, 5, dtype=torch.bool).index_fill_(1, torch.tensor(kept), True)
    torch.testing.assert_close(mean_M, plackett_luce.score(logits_M.unsqueeze(0), mask_1M)[0], rtol=0, atol=1e-13)


def test_order_among_enormous_leads_still_counts():
    logits_1M = torch.tensor([[1000.0, 1000.0, 0.0, 0.0]])
    score_1M = plackett_luce.ordered_score(logits_1M, torch.tensor([[1, 0]]))
    torch.testing.assert_close(score_1M, torch.tensor([[-0.5, 0.5, 0.0, 0.0]]))
