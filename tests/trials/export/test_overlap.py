"""How alike two masks are, counted by hand, and what chance gives."""

import pytest
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.export.overlap import compare
from nmlab.trials.masks.topn import topn


def _masks(pattern, *, seed, rows=64, columns=256):
    draw = torch.Generator().manual_seed(seed)
    return {name: topn(torch.rand(rows, columns, generator=draw), pattern) for name in ("a", "b")}


def test_counts_by_hand():
    first = {"a": torch.tensor([[1, 1, 0, 0, 1, 0, 1, 0]], dtype=torch.bool)}
    second = {"a": torch.tensor([[1, 0, 1, 0, 1, 0, 1, 0]], dtype=torch.bool)}
    compared = compare(first, second, patterns=(Pattern(2, 4), Pattern(2, 4)))
    assert compared.layers[0].agreement == 6 / 8
    assert compared.layers[0].kept_in_common == 3 / 4
    assert compared.layers[0].same_groups == 1 / 2
    assert (compared.total.weights, compared.total.agreement) == (8, 6 / 8)


@pytest.mark.parametrize("patterns", [("2:4", "2:4"), ("1:4", "2:4"), ("2:8", "2:8"), ("2:4", "4:8")])
def test_random_masks_are_as_alike_as_chance_says(patterns):
    first, second = (Pattern.parse(pattern) for pattern in patterns)
    compared = compare(_masks(first, seed=0), _masks(second, seed=1), patterns=(first, second))
    assert compared.total.agreement == pytest.approx(compared.chance.agreement, abs=0.01)
    assert compared.total.kept_in_common == pytest.approx(compared.chance.kept_in_common, abs=0.02)
    if compared.chance.same_groups is None:
        assert compared.total.same_groups is None
    else:
        assert compared.total.same_groups == pytest.approx(compared.chance.same_groups, abs=0.02)


def test_chance_is_that_of_the_pattern():
    pattern = Pattern(2, 8)
    same = compare(_masks(pattern, seed=0), _masks(pattern, seed=0), patterns=(pattern, pattern))
    assert same.chance.agreement == pytest.approx(pattern.chance_overlap)
    assert same.total.agreement == same.total.kept_in_common == same.total.same_groups == 1


def test_masks_of_other_models_are_refused():
    first, second = _masks(Pattern(2, 4), seed=0), _masks(Pattern(2, 4), seed=1)
    with pytest.raises(ValueError, match="layer 'b' is in one of them only"):
        compare(first, {"a": second["a"]}, patterns=(Pattern(2, 4), Pattern(2, 4)))
    with pytest.raises(ValueError, match=r"a has the shapes \(64, 256\) and \(64, 128\)"):
        compare(first, {**second, "a": second["a"][:, :128]}, patterns=(Pattern(2, 4), Pattern(2, 4)))
