"""Constraints: the worst seed counts, and what is not known is not feasible."""

import math

import pytest

from nmlab.search_spaces.schema.constraints import Constraint, excesses, is_feasible

MEMORY = Constraint("memory/peak_bytes", max=10.0)


@pytest.mark.parametrize(
    ("limits", "values", "excess"),
    [
        (Constraint("m", max=10.0), [1.0, 12.0, 3.0], 2.0),
        (Constraint("m", max=10.0), [10.0], 0.0),
        (Constraint("m", min=10.0), [12.0, 9.0], 1.0),
        (Constraint("m", min=1.0, max=10.0), [0.5, 11.0], 1.0),
        (Constraint("m", max=10.0), [1.0, math.nan], math.inf),
        (Constraint("m", max=10.0), [-math.inf], math.inf),
        (Constraint("m", max=10.0), [], math.inf),
    ],
)
def test_the_excess_is_that_of_the_worst_seed(limits, values, excess):
    assert limits.excess(values) == excess


def test_a_configuration_is_feasible_if_every_seed_keeps_every_limit():
    seeds = [{"memory/peak_bytes": 9.0, "cost/seconds": 1.0}, {"memory/peak_bytes": 10.0, "cost/seconds": 5.0}]
    assert is_feasible([], seeds)
    assert is_feasible([MEMORY], seeds)
    assert not is_feasible([MEMORY, Constraint("cost/seconds", max=2.0)], seeds)
    assert excesses([MEMORY], [*seeds, {}]) == {"memory/peak_bytes": math.inf}


def test_limits_in_words():
    assert Constraint("memory/peak_bytes", max=2e9).describe() == "memory/peak_bytes at most 2e+09"
    assert Constraint("m", min=1, max=2).describe() == "m at most 2 and at least 1"
