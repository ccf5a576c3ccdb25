"""Brute force shared by the tests of the distribution and of the samplers."""

import math
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

PARITY = Path(__file__).parents[2] / "parity"


def set_probabilities(logits, n):
    """Every N-subset of one group with its probability: the sum over all orders of its draws, in float64."""
    weights = [math.exp(value - max(logits)) for value in logits]
    probabilities = {}
    for kept in combinations(range(len(weights)), n):
        total = 0.0
        for order in permutations(kept):
            remaining, probability = set(range(len(weights))), 1.0
            for item in order:
                probability *= weights[item] / math.fsum(weights[k] for k in remaining)
                remaining.remove(item)
            total += probability
        probabilities[kept] = total
    return probabilities


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tensors this small lose time to a second thread, and most of it on a shared machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(name="set_probabilities", scope="session")
def fixture_set_probabilities():
    return set_probabilities


@pytest.fixture(scope="session")
def load_parity():
    """Read one golden file as tensors: load_parity("maskpro/trace24_seed0")."""

    def load(name):
        with np.load(PARITY / f"{name}.npz") as arrays:
            return {key: torch.from_numpy(arrays[key]) for key in arrays.files}

    return load


class _Largest(TorchDispatchMode):
    """Sizes of all new tensors that are made while the block lasts."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: set[int] = set()

    def __torch_dispatch__(self, function, types, given=(), named=None):
        result = function(*given, **(named or {}))
        if isinstance(result, torch.Tensor) and function is not torch.ops.aten.detach.default:
            self.sizes.add(result.nbytes)
        return result

    def other_than(self, size: int) -> int:
        """The largest size, that of the result apart."""
        return max(self.sizes - {size})


@pytest.fixture
def largest_new_tensor():
    return _Largest
