"""How far apart tried values lie, and when that is too little to answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmlab.reports.analysis.space.tried_range import factor_between, is_narrow


@pytest.mark.parametrize(
    ("values", "factor"),
    [
        ([0.05, 0.06], 1.2),
        ([3.5, 4.2, 7.0], 2.0),
        ([0.9, 0.99], 10.0),  # what they leave of 1: 0.1 and 0.01
        ([0.001, 0.01], 10.0),
        ([1], None),
        ([0, 1], None),
        ([-1.0, 1.0], None),
        (["wanda", "magnitude"], None),
        ([4, "auto"], None),
    ],
)
def test_the_factor_between_the_smallest_and_the_largest_value(values, factor):
    found = factor_between(values)
    assert found == (None if factor is None else pytest.approx(factor))


@pytest.mark.parametrize(
    ("name", "values", "narrow"),
    [
        ("logit_magnitude", [4.0, 4.8], True),
        ("logit_magnitude", [4.0, 5.0], False),
        ("learning_rate", [0.1, 0.14], True),
        ("learning_rate", [0.1, 0.2], False),
        ("alpha", [0.9, 0.99], False),
        ("alpha", [0.97, 0.975], True),
        ("initial_mask", ["wanda", "magnitude"], False),
        ("alpha", [0.9], False),
    ],
)
def test_a_small_factor_is_too_narrow(name, values, narrow):
    assert is_narrow(name, values=values) is narrow


@given(st.lists(st.floats(1e-6, 1e6), min_size=2, unique=True), st.randoms())
def test_it_is_the_same_whatever_the_order(values, random):
    mixed = random.sample(values, len(values))
    assert factor_between(mixed) == factor_between(values) >= 1
