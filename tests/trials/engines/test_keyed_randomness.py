"""Numbers that belong to their key: the same for every holder, different for every key."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nmlab.trials.masks.randomness import key_bits, keyed_generator

parts = st.lists(st.integers(0, 50) | st.sampled_from(["a", "b", "ab", "layers.1.q"]), min_size=1, max_size=4)


def _draw(*key, count=200):
    return keyed_generator(*key).standard_exponential(count)


def test_one_key_gives_one_sequence():
    assert np.array_equal(_draw(0, 7, "layer", 1), _draw(0, 7, "layer", 1))


@pytest.mark.slow
def test_another_process_draws_the_same_numbers(elsewhere):
    assert elsewhere["draws"] == _draw(3, 7, "layer", 1, count=50).tolist()


@pytest.mark.parametrize("other", [(1, 7, "layer", 1), (0, 8, "layer", 1), (0, 7, "layers", 1), (0, 7, "layer", 2)])
def test_every_part_of_the_key_matters(other):
    assert not np.intersect1d(_draw(0, 7, "layer", 1), _draw(*other)).size


@given(one=parts, other=parts)
@example(one=[1, 23], other=[12, 3])
@example(one=["a", "b"], other=["ab"])
@example(one=[0, "a"], other=["0", "a"])
def test_keys_differ_where_their_parts_do(one, other):
    """(1, 23) is not (12, 3), and ("a", "b") is not ("ab",)."""
    same = [str(part) for part in one] == [str(part) for part in other]
    assert (key_bits(*one) == key_bits(*other)) is same
    assert 0 <= key_bits(*one) < 2**128


def test_neighbouring_keys_are_not_correlated():
    """Streams of a thousand consecutive steps: their mutual correlations are those of independent draws."""
    streams = np.stack([_draw(0, step, "layer", 0, count=400) for step in range(300)])
    correlations = np.corrcoef(streams)[np.triu_indices(300, 1)]
    assert abs(correlations.mean()) < 5 / np.sqrt(400 * len(correlations))
    assert abs(correlations.std() * np.sqrt(400) - 1) < 0.05
    assert streams.mean() == pytest.approx(1, abs=5 / np.sqrt(streams.size))


def test_drawing_in_pieces_is_drawing_at_once():
    """The engine fills a layer's noise piece by piece."""
    generator = keyed_generator("pieces")
    pieces = [generator.standard_exponential(count) for count in (1, 10, 189)]
    assert np.array_equal(np.concatenate(pieces), _draw("pieces"))
