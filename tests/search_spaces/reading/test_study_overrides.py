"""Overrides of any key, as `--set` gives them."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmlab.search_spaces import loader
from nmlab.search_spaces.reading.overrides import apply_overrides, split_override
from nmlab.search_spaces.reading.problems import StudyError
from nmlab.search_spaces.schema.entries import ChoiceEntry, GridEntry, IntEntry


def test_values_are_yaml():
    study = loader.load(
        "quickstart",
        overrides=[
            "search.samples=4",
            "seeds=[7]",
            "pattern=2:8",
            "fixed.learning_rate=1e-1",
            "fixed.straight_through=true",
            "space.alpha={grid: [0.9, 0.99]}",
            "data.evaluation.windows=16",
            "title=a=b",
        ],
    )
    assert study.search.samples == 4
    assert study.seeds == (7,)
    assert study.pattern == "2:8"
    assert study.fixed == {**loader.load("quickstart").fixed, "learning_rate": 0.1, "straight_through": True}
    assert study.space["alpha"] == GridEntry(grid=(0.9, 0.99))
    assert study.data.evaluation.windows == 16
    assert study.title == "a=b"


def test_one_key_of_an_entry():
    study = loader.load("quickstart", overrides=["space.alpha.choice=[0.5]", "space.alpha.when.initial_mask=wanda"])
    assert study.space["alpha"] == ChoiceEntry(choice=(0.5,), when={"initial_mask": "wanda"})


def test_the_last_override_wins():
    assert loader.load("quickstart", overrides=["search.samples=4", "search.samples=5"]).search.samples == 5


def test_fixing_a_searched_name_takes_it_out_of_the_space():
    study = loader.load("quickstart", overrides=["fixed.alpha=0.9"])
    assert study.fixed["alpha"] == 0.9
    assert "alpha" not in study.space


def test_searching_a_fixed_name_takes_it_out_of_the_fixed_ones():
    study = loader.load("quickstart", overrides=["space.steps={int: [10, 20]}"])
    assert study.space["steps"] == IntEntry(int=(10, 20))
    assert study.fixed == {}


@pytest.mark.parametrize("override", ["steps", "=3", "a..b=3", ".a=3", "a.=3", ""])
def test_malformed(override):
    with pytest.raises(StudyError) as caught:
        loader.load("quickstart", overrides=[override])
    assert str(caught.value) == f"--set: {override!r}: expected key=value, for example --set search.samples=4"


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("seeds.x=1", "--set seeds.x=1: seeds is [0, 1, 2], without keys below it; expected seeds=..."),
        (
            "pattern.grid=[2:4]",
            "--set pattern.grid=[2:4]: pattern is '2:4', without keys below it; expected pattern=...",
        ),
        (
            "space.alpha={grid",
            "--set space.alpha={grid: { is not closed; write } after its last value",
        ),
        (
            "fixed={steps: 1, steps: 2}",
            "--set fixed={steps: 1, steps: 2}: key 'steps' is given twice; keep one of them",
        ),
    ],
)
def test_paths_and_values_that_cannot_be(override, line):
    with pytest.raises(StudyError) as caught:
        loader.load("quickstart", overrides=[override])
    assert str(caught.value) == line


def test_the_raw_study_is_left_alone():
    data = {"search": {"samples": 8}}
    assert apply_overrides(data, ["search.samples=4", "search.seed=1"]) == {"search": {"samples": 4, "seed": 1}}
    assert data == {"search": {"samples": 8}}


def test_an_empty_section_is_filled():
    assert apply_overrides({"fixed": None}, ["fixed.alpha=0.9"]) == {"fixed": {"alpha": 0.9}}


KEYS = st.lists(st.text(string.ascii_lowercase + "_", min_size=1), min_size=1, max_size=4)


@settings(deadline=None, max_examples=60)
@given(keys=KEYS, value=st.one_of(st.integers(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False)))
def test_path_and_value_survive(keys, value):
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    parsed_keys, parsed = split_override(f"{'.'.join(keys)}={text}")
    assert parsed_keys == keys
    assert parsed == value
    assert type(parsed) is type(value)
