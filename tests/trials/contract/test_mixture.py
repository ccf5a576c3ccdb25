"""The windows that each text of a mixture gives: in proportion, exact, and at least one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmlab.trials.contract.mixture import window_counts

WEIGHTS = st.lists(st.floats(min_value=1e-6, max_value=1e6), min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("weights", "samples", "counts"),
    [
        ((1.0,), 7, (7,)),
        ((1.0, 2.0), 128, (43, 85)),
        ((0.1, 0.2), 128, (43, 85)),
        ((1.0, 1.0), 5, (3, 2)),
        ((1.0, 1.0, 1.0), 5, (2, 2, 1)),
        ((1000.0, 1.0, 1.0), 8, (6, 1, 1)),
        ((1.0, 1.0), 2, (1, 1)),
    ],
)
def test_shares_are_rounded_by_the_largest_remainders(weights, samples, counts):
    """Trial keys hold weights and samples alone, so these counts are kept."""
    assert window_counts(weights, samples=samples) == counts


@given(weights=WEIGHTS, more=st.integers(0, 500))
def test_counts_add_up_and_lie_within_one_of_their_share(weights, more):
    samples = len(weights) + more
    counts = window_counts(weights, samples=samples)
    assert sum(counts) == samples
    assert min(counts) >= 1
    shares = [samples * weight / sum(weights) for weight in weights]
    if min(shares) >= 1:
        assert all(abs(count - share) < 1 + 1e-6 for count, share in zip(counts, shares, strict=True))


@given(weights=WEIGHTS, more=st.integers(0, 500), power=st.integers(-8, 8))
def test_only_the_ratio_of_weights_counts(weights, more, power):
    samples = len(weights) + more
    scaled = [weight * 2.0**power for weight in weights]
    assert window_counts(scaled, samples=samples) == window_counts(weights, samples=samples)


def test_fewer_samples_than_texts_are_refused():
    with pytest.raises(ValueError, match="1 samples of 2 texts: expected at least one of each"):
        window_counts([1.0, 1.0], samples=1)
