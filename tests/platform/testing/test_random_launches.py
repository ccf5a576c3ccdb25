"""Launches with faults drawn by seeds: whatever is killed, cut off or full, each ends as planned and nothing is twice.

A seed that fails is in the message; `run_with_random_faults` with it gives the same launch again under the same
``PYTHONHASHSEED``: the order of sets of text follows from that.
"""

import pytest

from nmlab.platform.testing.simulation import check_launch, run_with_random_faults

LAUNCHES, PARTS = 80, 4
FURTHER = pytest.mark.thorough


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=FURTHER) for part in range(1, PARTS))])
def test_a_launch_ends_as_planned_whatever_happens(small_plan, in_memory, part):
    plan = small_plan()
    for seed in range(part, LAUNCHES, PARTS):
        check_launch(run_with_random_faults(plan, in_memory / str(seed), seed=seed))


@pytest.mark.slow
def test_so_does_one_whose_slots_share_trials(small_plan, in_memory):
    plan = small_plan("fixed.masks_per_step=4", "replica.mask_parallel=2", "replica.slots=2")
    for seed in range(12):
        check_launch(run_with_random_faults(plan, in_memory / str(seed), seed=seed))


@pytest.mark.slow
def test_so_does_one_of_trials_shorter_than_the_start_of_an_actor(small_plan, in_memory):
    plan = small_plan("fixed.steps=1", "seeds=[0, 1, 2, 3, 4, 5]")
    for seed in range(12):
        check_launch(run_with_random_faults(plan, in_memory / str(seed), seed=seed))
