"""The rule of ``search.stop.no_improvement``: what counts as an improvement, and how many configurations have none."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmlab.platform.search.no_improvement import EndedConfiguration, standard_error, without_improvement

numbers = st.integers(-1000, 1000).map(float)
"""Whole numbers, whose sums are exact: shifting and scaling them must not change a comparison by rounding."""


def configurations(*, seeds=st.just(3), patterns=("2:4",)):
    values = seeds.flatmap(lambda count: st.lists(numbers, min_size=count, max_size=count).map(tuple))
    each = st.builds(EndedConfiguration, st.sampled_from(patterns), st.one_of(st.none(), values))
    return st.lists(each, max_size=12)


def ended(*values, pattern="2:4"):
    return [EndedConfiguration(pattern, None if each is None else tuple(map(float, each))) for each in values]


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ([], 0),
        ([None, None], 0),
        ([(5, 5)], 0),
        ([(5, 5), (4, 4)], 0),
        ([(5, 5), (5, 5)], 1),
        ([(5, 5), None, None], 2),
        ([(9, 11), (9, 11), (9.8, 9.8)], 2),
        ([(9, 11), (8.9, 8.9)], 0),
        ([(9, 11), (8.9, 8.9), (8, 9.7)], 1),
        ([(5,), (4.999,)], 0),
    ],
    ids=str,
)
def test_configurations_count_until_one_is_better_by_more_than_the_standard_error(values, count):
    assert without_improvement(ended(*values), mode="min") == count


def test_gains_within_noise_add_up():
    """Each is within noise of the one before; the third is beyond noise of the first."""
    spread = [(mean - 1, mean + 1) for mean in (10, 9.3, 8.5)]
    assert [without_improvement(ended(*spread[:k]), mode="min") for k in (1, 2, 3)] == [0, 1, 0]


def test_the_standard_error_is_that_of_the_difference_of_two_means():
    assert standard_error([1, 2, 3], [4, 4, 4]) == pytest.approx(math.sqrt(1 / 3))
    assert standard_error([1, 3], [2, 6]) == pytest.approx(math.sqrt(2 / 2 + 8 / 2))
    assert standard_error([1], [4]) == 0


def test_patterns_have_references_of_their_own_and_either_improvement_counts():
    first = ended((5, 5), (4, 4))
    assert without_improvement([*first, *ended((9, 9), pattern="4:8")], mode="min") == 0
    assert without_improvement([*first, *ended((9, 9), (9, 9), pattern="4:8"), *ended((6, 6))], mode="min") == 2


@given(configurations())
def test_more_is_better_where_the_mode_says_so(found):
    turned = [EndedConfiguration(e.pattern, e.values and tuple(-value for value in e.values)) for e in found]
    assert without_improvement(found, mode="min") == without_improvement(turned, mode="max")


@given(configurations(), st.integers(1, 50), st.integers(-50, 50))
def test_neither_unit_nor_offset_matters(found, unit, offset):
    other = [
        EndedConfiguration(e.pattern, e.values and tuple(unit * value + offset for value in e.values)) for e in found
    ]
    assert without_improvement(found, mode="min") == without_improvement(other, mode="min")


@given(configurations(seeds=st.just(1)))
def test_with_one_seed_it_is_the_distance_to_the_last_record(found):
    values = [math.inf if each.values is None else each.values[0] for each in found]
    records = [place for place, value in enumerate(values) if value < min(values[:place], default=math.inf)]
    assert without_improvement(found, mode="min") == (len(found) - 1 - records[-1] if records else 0)


@given(configurations(patterns=("2:4", "4:8")))
def test_one_more_configuration_counts_one_more_or_begins_anew(found):
    counts = [without_improvement(found[:k], mode="min") for k in range(len(found) + 1)]
    assert all(after in (0, before + 1) for before, after in pairwise(counts))
    has_best = [any(each.values for each in found[:k]) for k in range(len(found) + 1)]
    assert all(count == 0 for count, known in zip(counts, has_best, strict=True) if not known)
