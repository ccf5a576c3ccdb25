"""Launches in the simulated backend, with their files in memory where the system has a place for them."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nmlab.platform.planning.study_plan import Plan

GRID = (
    "search={algorithm: grid}",
    "space={alpha: {grid: [0.9, 0.99]}}",
    "fixed={steps: 6, learning_rate: 2.0, logit_magnitude: 4.0}",
    "seeds=[0, 1]",
    "baselines=[dense]",
    "replica={count: 2, slots: 1}",
    "intervals={log_every: 1, checkpoint_every: 2}",
)


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """An empty folder, in memory if it can be: a launch writes to its journal often, and waits for the disk."""
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="nmlab-test-", dir=place) as folder:
        yield Path(folder)


@pytest.fixture
def small_plan(plan_of: Callable[..., Plan]) -> Callable[..., Plan]:
    """Return a builder of plans of a grid of two configurations with two seeds and a baseline, in six steps each."""
    return lambda *overrides: plan_of(*GRID, *overrides)
