"""Which N:M pattern a weight follows, by looking at its zeros."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.export.sparsity import kept, pattern_of_mask, sparsity
from nmlab.trials.masks.topn import check_mask, topn

PATTERNS = [Pattern(1, 2), Pattern(1, 4), Pattern(2, 4), Pattern(2, 8), Pattern(4, 8), Pattern(8, 16), Pattern(3, 4)]


def _pruned(pattern, *, rows=16, columns=64, seed=0):
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    return weight * topn(torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed + 1)), pattern)


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_the_pattern_that_was_pruned_is_found_with_its_mask(pattern):
    weights = {"a": _pruned(pattern), "b": _pruned(pattern, seed=9)}
    found = sparsity(weights)
    assert found.pattern == pattern
    assert [layer.pattern for layer in found.layers] == [pattern, pattern]
    assert found.density == pytest.approx(pattern.density)
    assert found.others == ()
    masks = {name: kept(weight, pattern) for name, weight in weights.items()}
    assert all(torch.equal(masks[name], weights[name] != 0) for name in weights)
    assert pattern_of_mask(masks) == pattern


def test_one_dense_layer_leaves_a_model_without_a_pattern():
    found = sparsity({"a": _pruned(Pattern(2, 4)), "b": torch.randn(8, 64)})
    assert found.pattern is None
    assert found.others == ("b",)
    assert found.layers[0].pattern == Pattern(2, 4)
    assert found.layers[1].density == 1


def test_layers_of_two_patterns_share_the_looser_one():
    found = sparsity({"a": _pruned(Pattern(1, 4)), "b": _pruned(Pattern(2, 4))})
    assert [layer.pattern for layer in found.layers] == [Pattern(1, 4), Pattern(2, 4)]
    assert found.pattern == Pattern(2, 4)


def test_half_of_the_weights_at_random_follow_no_two_of_four():
    weight = torch.randn(32, 64, generator=torch.Generator().manual_seed(0))
    scattered = weight * (torch.rand(32, 64, generator=torch.Generator().manual_seed(1)) < 0.5)
    assert sparsity({"a": scattered}).layers[0].pattern not in PATTERNS
    with pytest.raises(ValueError, match="a group of 4 has 4 weights that are not zero; pattern 2:4 keeps fewer"):
        kept(scattered, Pattern(2, 4))


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 1000), pattern=st.sampled_from(PATTERNS), zeros=st.integers(0, 20))
def test_more_zeros_than_asked_still_give_an_exact_mask(seed, pattern, zeros):
    weight = _pruned(pattern, rows=4, columns=32, seed=seed)
    weight.view(-1)[torch.randperm(weight.numel(), generator=torch.Generator().manual_seed(seed))[:zeros]] = 0.0
    mask = kept(weight, pattern)
    check_mask(mask, pattern)
    assert torch.equal(weight * mask, weight)


def test_a_mask_of_no_fixed_number_has_no_pattern():
    masks = {"a": topn(torch.rand(4, 64), Pattern(2, 4)), "b": topn(torch.rand(4, 64), Pattern(1, 4))}
    assert pattern_of_mask(masks) is None
    assert pattern_of_mask({"a": torch.ones(2, 33, dtype=torch.bool)}) is None
