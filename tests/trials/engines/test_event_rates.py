"""Sums of rates: exact after any number of changes, and points fall where they belong."""

import pytest
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import GroupLayout
from nmlab.trials.engines.event.blocks import SUPERBLOCK, Blocks
from nmlab.trials.engines.event.rates import RateSums
from nmlab.trials.models import PrunableLayer

CPU = torch.device("cpu")


@pytest.fixture
def blocks():
    """Layers that fill a superblock, overflow one, and leave one almost empty."""
    layers = [PrunableLayer(str(i), 0, 1, 4 * groups) for i, groups in enumerate([1024, 1500, 3, 5000])]
    return Blocks(GroupLayout(layers, pattern=Pattern(2, 4)), device=CPU)


def test_slots_of_a_layer_begin_a_superblock_and_lead_back_to_their_groups(blocks):
    groups_g = torch.arange(1024 + 1500 + 3 + 5000)
    slots_g = blocks.slots(groups_g)
    assert torch.equal(blocks.groups(slots_g), groups_g)
    assert (slots_g.diff() > 0).all()
    assert (slots_g[blocks.first_group[:-1]] % SUPERBLOCK == 0).all()
    assert slots_g[-1] < blocks.blocks * SUPERBLOCK
    layer_of_block_B = torch.arange(4).repeat_interleave(torch.tensor(blocks.first_block).diff())
    layer_of_group_g = torch.arange(4).repeat_interleave(torch.tensor(blocks.first_group).diff())
    assert torch.equal(layer_of_block_B[slots_g // SUPERBLOCK], layer_of_group_g)


def test_sums_are_exact_after_many_changes_and_points_fall_in_proportion(blocks):
    rates, generator = RateSums(blocks, device=CPU), torch.Generator().manual_seed(0)
    every_g = torch.arange(blocks.first_group[-1])
    for _ in range(50):
        some_g = every_g[torch.rand(len(every_g), generator=generator) < 0.2]
        bound_g = torch.randint(0, 2**31, some_g.shape, generator=generator)
        bound_g[torch.rand(len(some_g), generator=generator) < 0.3] = 0
        rates.set(blocks.slots(some_g), bound_g)
    rates.sum_up()
    bound_S = rates.bound_S.long()
    end_S = bound_S.cumsum(0)
    assert rates.edges[-1] == end_S[-1]
    first_slot = torch.tensor(blocks.first_block[:-1]) * SUPERBLOCK
    assert rates.edges[:-1] == (end_S - bound_S)[first_slot].tolist()
    # The first and last unit of every slot that has any, and units in between.
    filled_S = bound_S > 0
    ends = torch.cat([(end_S - bound_S)[filled_S], end_S[filled_S] - 1])
    units_p = torch.cat([ends, torch.randint(0, rates.edges[-1], (5000,), generator=generator)])
    points = rates.locate(units_p)
    assert torch.equal(points.slots_p, torch.searchsorted(end_S, units_p, right=True))
    assert torch.equal(points.depth_p, units_p - (end_S - bound_S)[points.slots_p])


def test_clearing_a_layer_leaves_the_others(blocks):
    rates = RateSums(blocks, device=CPU)
    every_g = torch.arange(blocks.first_group[-1])
    rates.set(blocks.slots(every_g), every_g + 1)
    rates.clear(blocks.layer_blocks(1))
    rates.sum_up()
    first, second = blocks.first_group[1:3]
    assert rates.edges[1] == rates.edges[2] == (every_g[:first] + 1).sum()
    assert rates.edges[-1] - rates.edges[2] == (every_g[second:] + 1).sum()
