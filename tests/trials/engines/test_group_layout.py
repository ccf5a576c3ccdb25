"""Layers as rows of one tensor and back."""

import pytest
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import GroupLayout
from nmlab.trials.models import PrunableLayer

LAYERS = [PrunableLayer("a", 0, 3, 16), PrunableLayer("b", 0, 5, 32), PrunableLayer("c", 1, 1, 16)]
NUMEL = 3 * 16 + 5 * 32 + 16


@pytest.mark.parametrize("pattern", ["1:4", "4:8", "8:16"])
def test_split_is_the_inverse_of_join(pattern):
    layout = GroupLayout(LAYERS, pattern=Pattern.parse(pattern))
    assert layout.groups == NUMEL // layout.pattern.m
    tensors = {layer.name: torch.randn(layer.out_features, layer.in_features) for layer in LAYERS}
    joined_GM = layout.join(tensors)
    assert joined_GM.shape == (layout.groups, layout.pattern.m)
    assert layout.split(joined_GM).keys() == tensors.keys()
    assert all(torch.equal(part, tensors[name]) for name, part in layout.split(joined_GM).items())
    assert torch.equal(layout.join(layout.split(joined_GM)), joined_GM)


def test_a_group_is_m_neighbours_of_one_output_row():
    layout = GroupLayout(LAYERS, pattern=Pattern(2, 4))
    weight = torch.arange(48.0).view(3, 16)
    joined_GM = layout.join({"a": weight, "b": torch.zeros(5, 32), "c": torch.zeros(1, 16)})
    assert joined_GM[5].tolist() == weight[1, 4:8].tolist()


def test_split_gives_views_and_not_copies():
    layout = GroupLayout(LAYERS, pattern=Pattern(2, 4))
    joined_GM = torch.zeros(layout.groups, 4)
    layout.split(joined_GM)["b"][2, 7] = 1.0
    assert joined_GM[3 * 4 + 2 * 8 + 1].tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("size", [1, 5, 12, 13, 55, 56, 57, 1000])
def test_pieces_cover_every_row_of_every_layer_once_and_in_order(size):
    layout = GroupLayout(LAYERS, pattern=Pattern(2, 4))
    row_names = ["a"] * 12 + ["b"] * 40 + ["c"] * 4
    covered = []
    for rows, layers in layout.pieces(size):
        assert rows.stop - rows.start <= size
        names = [None] * (rows.stop - rows.start)
        for name, within in layers:
            names[within] = [name] * (within.stop - within.start)
        covered += names
    assert covered == row_names
