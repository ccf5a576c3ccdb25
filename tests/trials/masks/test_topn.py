"""Top-N selection, the ranking under it, and the mask check."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.masks import check_mask, topn
from nmlab.trials.masks.topn import keep_largest

patterns = st.sampled_from([Pattern.parse(text) for text in ["1:1", "1:4", "2:4", "3:4", "4:4", "2:8", "5:16"]])


def keep_by_sorting(scores, pattern):
    """One group at a time, by Python's stable sort: the meaning of top-N with ties to the lower index."""
    kept = []
    for group in scores.reshape(-1, pattern.m).tolist():
        best = sorted(range(pattern.m), key=lambda k: -group[k])[: pattern.n]
        kept.append([k in best for k in range(pattern.m)])
    return torch.tensor(kept).view(scores.shape)


@given(patterns, st.integers(1, 3), st.integers(1, 5), st.data())
def test_matches_stable_sort_with_many_ties(pattern, rows, groups, data):
    entries = st.sampled_from([-torch.inf, -1.0, -0.0, 0.0, 0.5, 2.0, torch.inf])
    count = rows * groups * pattern.m
    scores = torch.tensor(data.draw(st.lists(entries, min_size=count, max_size=count)))
    scores = scores.view(rows, groups * pattern.m)
    mask = topn(scores, pattern)
    assert torch.equal(mask, keep_by_sorting(scores, pattern))
    check_mask(mask, pattern)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64])
def test_every_dtype_and_leading_shape(dtype):
    scores = torch.randint(-50, 50, (3, 2, 24), generator=torch.Generator().manual_seed(0)).to(dtype)
    assert torch.equal(topn(scores, Pattern(2, 8)), keep_by_sorting(scores, Pattern(2, 8)))


def test_non_contiguous_scores():
    scores = torch.randn(16, 6, generator=torch.Generator().manual_seed(0)).t()
    assert torch.equal(topn(scores, Pattern(2, 4)), topn(scores.contiguous(), Pattern(2, 4)))


def test_more_groups_than_one_chunk():
    keys_GM = torch.randn(40_001, 4, generator=torch.Generator().manual_seed(0))
    expected = torch.zeros_like(keys_GM, dtype=torch.bool).scatter_(1, keys_GM.topk(2, dim=1).indices, True)
    assert torch.equal(keep_largest(keys_GM, 2), expected)


def test_empty():
    assert topn(torch.empty(0, 8), Pattern(2, 4)).shape == (0, 8)
    assert keep_largest(torch.empty(0, 4), 2).shape == (0, 4)


def test_nan_is_refused():
    scores = torch.zeros(2, 8)
    scores[1, 3] = torch.nan
    with pytest.raises(ValueError, match="NaN at flat index 11"):
        topn(scores, Pattern(2, 4))


@pytest.mark.parametrize("shape", [(), (6,), (4, 10)])
def test_axis_that_is_no_multiple_is_refused(shape):
    with pytest.raises(ValueError, match="multiple of 4"):
        topn(torch.zeros(shape), Pattern(2, 4))
    with pytest.raises(ValueError, match=r"q_proj.*multiple of 4"):
        check_mask(torch.zeros(shape, dtype=torch.bool), Pattern(2, 4), name="q_proj")


@given(st.integers(0, 2), st.integers(0, 2), st.integers(0, 4).filter(lambda kept: kept != 2))
def test_check_names_the_first_wrong_group(row, group, kept):
    mask = topn(torch.randn(3, 12, generator=torch.Generator().manual_seed(0)), Pattern(2, 4))
    mask[row, 4 * group : 4 * group + 4] = torch.arange(4) < kept
    with pytest.raises(ValueError, match=f"up_proj: row {row}, group {group} keeps {kept} of 4, expected 2"):
        check_mask(mask, Pattern(2, 4), name="up_proj")


def test_check_counts_the_wrong_groups():
    with pytest.raises(ValueError, match=r"row 0, group 0 keeps 4 of 4.*6 of 6 groups are wrong"):
        check_mask(torch.ones(3, 8, dtype=torch.bool), Pattern(2, 4))


def test_check_refuses_other_dtypes():
    with pytest.raises(ValueError, match=r"mask: dtype torch.float32, expected torch.bool"):
        check_mask(torch.ones(3, 4), Pattern(4, 4))
