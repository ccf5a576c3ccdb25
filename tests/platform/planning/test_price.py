"""What a study costs by its file: counted by hand where every trial is known, on average where points are drawn."""

import pytest

from nmlab.platform.planning.price import Price, price_of
from nmlab.search_spaces import loader

GRID = ["fixed={}", "search={algorithm: grid}", "seeds=[0, 1]", "data.calibration.batch_size=8"]


def priced(*overrides):
    return price_of(loader.load("quickstart", overrides=[*GRID, *overrides]))


def test_trials_steps_and_tokens_of_a_grid():
    overrides = ["space={steps: {grid: [10, 30]}}", "baselines=[dense, random, {method: susi, steps: 5}]"]
    steps = 2 * (10 + 30) + 2 * 5
    assert priced(*overrides) == Price(1 + 2 + 2 + 2 * 2, steps, steps * 8 * 64)


def test_a_batch_holds_what_there_is_and_every_mask_reads_it():
    overrides = ["space={}", "baselines=[]", "fixed={steps: 10, masks_per_step: 3}"]
    assert priced(*overrides, "data.calibration.samples={grid: [1, 4, 64]}").tokens == 2 * 10 * 3 * (1 + 4 + 8) * 64
    assert priced("method=wanda", "space={}", "fixed={}", "baselines=[]") == Price(1 * 2, 0, 0)


def test_masks_of_single_sequences_read_the_batch_once():
    overrides = ["space={}", "baselines=[]", "fixed={steps: 10, mask_per: sequence}"]
    assert priced(*overrides, "data.calibration.samples=16").tokens == 2 * 10 * 8 * 64


def test_a_search_is_priced_by_points_of_its_space():
    overrides = ["space={steps: {int: [100, 300]}}", "baselines=[]", "search={algorithm: random, samples: 50}"]
    found = priced(*overrides)
    assert found.trials == 50 * 2
    assert found.steps == pytest.approx(50 * 2 * 200, rel=0.1)
    assert found == priced(*overrides)


def test_trials_that_confirm_a_search_are_priced_as_many_as_there_may_be():
    overrides = ["space={steps: {grid: [10, 30]}}", "baselines=[dense, random, {method: susi, steps: 5}]"]
    confirmed = priced(*overrides, "search={algorithm: grid, confirm: {top: 1, seeds: 4}}")
    without = priced(*overrides)
    assert confirmed.trials == without.trials + (1 + 2) * 4
    assert confirmed.steps == without.steps + 4 * (10 + 30) // 2 + 4 * 5
