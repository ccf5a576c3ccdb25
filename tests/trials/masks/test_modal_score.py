"""The score of the mode and the bound of its deviations, against the forms for any mask."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.masks import deviation
from nmlab.trials.masks.codes import decode_columns, encode, kept_positions
from nmlab.trials.masks.plackett_luce import score
from nmlab.trials.masks.plackett_luce.modal import deviation_bound, may_have_changed, modal_score
from nmlab.trials.masks.topn import topn

PATTERNS = ["1:2", "1:4", "2:4", "3:4", "2:8", "4:8", "7:8", "8:16", "8:32"]
# Spread of the logits, and how far the kept ones lead.
FAMILIES = {"flat": (0.0, 0.0), "generic": (3.0, 0.0), "cold": (1.0, 10.0), "even": (0.0, 14.0), "far": (30.0, 0.0)}


def case(text, spread, lead, *, groups=200):
    pattern, draw = Pattern.parse(text), torch.Generator().manual_seed(0)
    leading_GM = topn(torch.rand(groups, pattern.m, generator=draw), pattern)
    logits_GM = spread * torch.randn(groups, pattern.m, generator=draw) + lead * leading_GM
    return logits_GM, topn(logits_GM, pattern), pattern


def score_of(logits_GM, mode_GM, pattern):
    code_G = encode(mode_GM)
    columns = logits_GM.t().contiguous(), decode_columns(code_G, pattern.m)
    return modal_score(*columns, n=pattern.n, positions_Ng=kept_positions(code_G, pattern)).t()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("text", PATTERNS)
def test_the_score_is_that_of_any_mask(text, family):
    logits_GM, mode_GM, pattern = case(text, *FAMILIES[family])
    exact_GM = score(logits_GM.double(), mode_GM, n=pattern.n)
    found_GM = score_of(logits_GM, mode_GM, pattern)
    assert found_GM.dtype == torch.float32
    # Within a few units of the largest component of the group, however small that is.
    largest_G1 = exact_GM.abs().amax(1, keepdim=True)
    assert bool(((found_GM - exact_GM).abs() <= 4e-6 * largest_G1 + 1e-12).all())


@pytest.mark.parametrize("text", PATTERNS)
def test_a_group_has_the_same_score_and_bound_wherever_it_stands(text):
    logits_GM, mode_GM, pattern = case(text, 2.0, 3.0)
    whole_GM = score_of(logits_GM, mode_GM, pattern)
    bound_G = deviation_bound(logits_GM.t().contiguous(), mode_GM.t().float(), n=pattern.n)
    for rows in (slice(0, 1), slice(1, 9), slice(3, 20), slice(77, 200)):
        assert torch.equal(score_of(logits_GM[rows], mode_GM[rows], pattern), whole_GM[rows])
        part_g = deviation_bound(logits_GM[rows].t().contiguous(), mode_GM[rows].t().float(), n=pattern.n)
        assert torch.equal(part_g, bound_G[rows])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("text", PATTERNS)
def test_the_bound_is_never_below_the_probability(text, family):
    logits_GM, mode_GM, pattern = case(text, *FAMILIES[family], groups=2000)
    bound_G = deviation_bound(logits_GM.t().contiguous(), mode_GM.t().float(), n=pattern.n).double()
    exact_G = deviation.probability(logits_GM, mode_GM, n=pattern.n)
    assert bool((bound_G >= exact_G).all())
    if family == "even":  # and equal to first order for equal kept weights
        assert bool((bound_G <= exact_G * (1 + 1e-3)).all())


@settings(max_examples=200, deadline=None)
@given(values=st.lists(st.floats(-1e4, 1e4, width=32), min_size=4, max_size=4), n=st.integers(1, 3))
def test_a_bound_below_its_limit_proves_the_mode(values, n):
    """Whatever three or fewer items one takes for the mode: if another is as large, the bound says so."""
    logits_4 = torch.tensor(values)
    for kept_G4 in torch.tensor([[k >> i & 1 for i in range(4)] for k in range(16)]).split(1):
        if int(kept_G4.sum()) == n:
            bound = deviation_bound(logits_4.unsqueeze(1), kept_G4.t().float(), n=n)
            is_mode = logits_4[kept_G4[0] == 1].min() > logits_4[kept_G4[0] == 0].max()
            assert bool(is_mode) or bool(may_have_changed(bound, n=n))
            assert torch.isfinite(bound).all()
