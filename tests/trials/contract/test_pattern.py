"""The N:M pattern: reading, refusing, arithmetic."""

import math
import pickle

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nmlab.trials.contract.pattern import Pattern

patterns = st.integers(1, 32).flatmap(lambda m: st.builds(Pattern, st.integers(1, m), st.just(m)))


@given(patterns)
def test_text_and_pickle_round_trip(pattern):
    assert Pattern.parse(str(pattern)) == pattern
    assert Pattern.parse(pattern) is pattern
    assert pickle.loads(pickle.dumps(pattern)) == pattern


@given(patterns)
def test_counts_fit_each_other(pattern):
    assert pattern.groups(pattern.m * 7) == 7
    assert pattern.density == pattern.n / pattern.m
    assert pattern.mask_count * pattern.n == pattern.m * math.comb(pattern.m - 1, pattern.n - 1)
    assert 0.5 <= pattern.chance_overlap <= 1


@pytest.mark.parametrize(
    ("text", "masks", "overlap"),
    [("1:4", 4, 0.625), ("2:4", 6, 0.5), ("2:8", 28, 0.625), ("8:16", 12870, 0.5), ("4:4", 1, 1)],
)
def test_known_values(text, masks, overlap):
    assert (Pattern.parse(text).mask_count, Pattern.parse(text).chance_overlap) == (masks, overlap)


@pytest.mark.parametrize("text", ["3:2", "0:4", "2/4", "a:b", "", "2:4:8", "2:33", "-1:4", "2.0:4", None, True, 2.4])
def test_refusal_says_what_was_given_and_expected(text):
    with pytest.raises(ValueError) as error:
        Pattern.parse(text)
    message = str(error.value)
    assert repr(text) in message
    assert '"N:M"' in message
    assert "\n" not in message


@pytest.mark.parametrize(("text", "meant"), [("2/4", "2:4"), ("3:2", "2:3"), ("4 of 8", "4:8")])
def test_refusal_guesses_what_was_meant(text, meant):
    with pytest.raises(ValueError, match=f'did you mean "{meant}"'):
        Pattern.parse(text)


@pytest.mark.parametrize("text", ["2:4", "8:16"])
def test_unquoted_pattern_in_yaml_is_explained(text):
    number = yaml.safe_load(text)
    assert isinstance(number, int)
    with pytest.raises(ValueError, match=f"unquoted {text} as the number {number}"):
        Pattern.parse(number)


def test_constructor_checks_too():
    with pytest.raises(ValueError, match="'5:4'"):
        Pattern(5, 4)


def test_hash_and_order():
    assert len({Pattern(2, 4), Pattern.parse("2:4"), Pattern(2, 8)}) == 2
    assert sorted([Pattern(4, 8), Pattern(2, 8), Pattern(2, 4)]) == [
        Pattern(2, 4),
        Pattern(2, 8),
        Pattern(4, 8),
    ]


def test_groups_refuses_a_remainder():
    with pytest.raises(ValueError, match="10 weights do not split into groups of 4"):
        Pattern(2, 4).groups(10)
