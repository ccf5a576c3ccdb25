"""Masks of groups as integers."""

import pytest
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.masks.codes import code_dtype, decode, decode_columns, encode, kept_positions
from nmlab.trials.masks.topn import topn

PATTERNS = ["1:1", "1:4", "2:4", "4:8", "8:8", "8:16", "16:16", "3:20", "16:32", "32:32"]


def masks(text, groups=300):
    pattern = Pattern.parse(text)
    return topn(torch.rand(groups, pattern.m, generator=torch.Generator().manual_seed(0)), pattern), pattern


@pytest.mark.parametrize("text", PATTERNS)
def test_codes_are_masks(text):
    mask_GM, pattern = masks(text)
    code_G = encode(mask_GM)
    assert code_G.dtype == code_dtype(pattern.m)
    assert torch.equal(decode(code_G, pattern.m), mask_GM)
    columns_MG = decode_columns(code_G, pattern.m)
    assert columns_MG.dtype == torch.float32
    assert torch.equal(columns_MG, mask_GM.t().float())
    whole = (mask_GM.long() << torch.arange(pattern.m)).sum(1)
    assert torch.equal(code_G.long() & ((1 << pattern.m) - 1), whole)


@pytest.mark.parametrize("text", PATTERNS)
def test_positions_are_where_the_mask_keeps(text):
    mask_GM, pattern = masks(text)
    expected = mask_GM.nonzero()[:, 1].view(-1, pattern.n).t()
    assert torch.equal(kept_positions(encode(mask_GM), pattern), expected)


@pytest.mark.parametrize("text", ["2:4", "16:32"])
def test_no_groups(text):
    pattern = Pattern.parse(text)
    code_G = encode(torch.empty(0, pattern.m, dtype=torch.bool))
    assert decode(code_G, pattern.m).shape == (0, pattern.m)
    assert kept_positions(code_G, pattern).shape == (pattern.n, 0)


def test_what_is_no_mask_or_code_is_refused():
    with pytest.raises(ValueError, match=r"float32 of shape \(2, 4\), expected torch.bool \[G, M\]"):
        encode(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="expected 1 to 32"):
        encode(torch.zeros(2, 33, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"int64 .* expected torch.uint8"):
        decode(torch.zeros(2, dtype=torch.int64), 4)
