"""The YAML dialect: values read as version 1.2 reads them, round trips, and errors with line and column."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nmlab.search_spaces import loader
from nmlab.search_spaces.reading import study_yaml
from nmlab.search_spaces.reading.problems import StudyError
from nmlab.search_spaces.schema.study import Study

MINIMAL = {
    "name": "small",
    "model": {"source": "builtin:tiny"},
    "data": {"calibration": {"source": "a.txt"}, "evaluation": {"source": "b.txt"}},
    "pattern": "2:4",
    "method": "maskpro",
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2:4", "2:4"),
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-1.5e+2", -150.0),
        ("3", 3),
        ("-3", -3),
        ("007", "007"),
        ("0x1f", "0x1f"),
        ("1_000", "1_000"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("2024-01-02", "2024-01-02"),
        ("<<", "<<"),
        ("'3'", "3"),
        ("1.2.3", "1.2.3"),
        ("e5", "e5"),
    ],
)
def test_plain_scalars(text, value):
    parsed = study_yaml.parse(text, source="x")
    assert parsed == value
    assert type(parsed) is type(value)


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()
)
LOOKALIKES = [
    "2:4",
    "1e-3",
    "no",
    "null",
    "~",
    "",
    " ",
    "<<",
    "=",
    "0o7",
    "1_0",
    ".inf",
    "2024-01-01",
    "*a",
    "!b",
    "- x",
    "#",
    "a: b",
    "a\x85b",
    "a\u2028b",
    "two\n\nlines \n",
]


@settings(deadline=None, max_examples=60)
@given(values=st.lists(st.one_of(SCALARS, st.sampled_from(LOOKALIKES)), max_size=6))
def test_what_is_written_reads_back_equal(values):
    text = study_yaml.dump({"values": values})
    back = study_yaml.parse(text, source="x")["values"]
    assert back == values
    assert [type(value) for value in back] == [type(value) for value in values]


@pytest.mark.parametrize("value", LOOKALIKES)
def test_what_is_written_means_the_same_to_an_older_reader(value):
    assert yaml.safe_load(study_yaml.dump({"value": value})) == {"value": value}


@settings(deadline=None, max_examples=60)
@given(
    fixed=st.dictionaries(st.from_regex(r"hp_[a-z0-9_]{1,8}", fullmatch=True), SCALARS, max_size=4),
    seeds=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3, unique=True),
    high=st.floats(1.5, 1e6),
)
def test_a_study_survives_dump_and_load(fixed, seeds, high):
    space = {
        "lr": {"loguniform": [1e-7, high]},
        "alpha": {"choice": [0.9, 0.99], "when": {"method": ["a", "b"], "pattern": "2:4"}},
        "steps": {"int": [1, 10]},
    }
    search = {"algorithm": "tpe", "samples": 3}
    baselines = ["dense", {"method": "wanda", "block_size": 128}]
    changes = {"fixed": fixed, "space": space, "seeds": seeds, "search": search, "baselines": baselines}
    study = Study.model_validate({**MINIMAL, **changes})
    assert loader.loads(loader.dump(study)) == study


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: b: c", "my.yaml, line 1, column 5: a second colon; text that holds a colon and a space goes in quotes"),
        (
            "name: [",
            "my.yaml, line 1, column 8: the text ends within brackets; close them with ] or }",
        ),
        (
            "a: 1\nb:\n  c: 1\n  c: 2",
            "my.yaml, line 4, column 3: key 'c' is given twice, first on line 3; keep one of them",
        ),
        (
            "a: 1\n'a': 2",
            "my.yaml, line 2, column 1: key 'a' is given twice, first on line 1; keep one of them",
        ),
        ("1: 2", "my.yaml, line 1, column 1: expected text as a key, in quotes where it looks like something else"),
        (
            "? [1]\n: 2",
            "my.yaml, line 1, column 3: expected text as a key, in quotes where it looks like something else",
        ),
        (
            "a: &x 1\nb: *x",
            "my.yaml, line 2, column 4: "
            "aliases (*name) and tags (!name) are not allowed; text that begins with * or ! goes in quotes",
        ),
        (
            "a: !!python/name:os.system ''",
            "my.yaml, line 1, column 4: "
            "aliases (*name) and tags (!name) are not allowed; text that begins with * or ! goes in quotes",
        ),
        ("", "my.yaml, line 1: the file is empty; expected a mapping with name, model, data, pattern and method"),
        ("[1, 2]", "my.yaml: [1, 2]: expected a mapping with name, model, data, pattern and method"),
    ],
)
def test_not_a_study(text, line):
    with pytest.raises(StudyError) as caught:
        loader.loads(text, source="my.yaml")
    assert str(caught.value) == line


def test_control_characters_are_refused_in_one_line():
    with pytest.raises(StudyError, match=r"^my\.yaml, line 2: the character #x0001, which no text"):
        loader.loads("a: 1\nb: \x01", source="my.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: " + "[" * 5000 + "]" * 5000, "more than 50 deep"),
        ("\n".join(f"{' ' * depth}a:" for depth in range(5000)), "more than 50 deep"),
        ("- " * 5000 + "a", "more than 50 deep"),
        ("a: " + "{a: " * 5000, "more than 50 deep"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]", "aliases"),
        ("a: " + "9" * 5000, "a whole number of 5000 digits; expected at most 1000"),
        ("a: [-" + "1" * 1001 + "]", "a whole number of 1001 digits; expected at most 1000"),
    ],
)
def test_what_would_exhaust_a_reader_is_refused_in_one_line(text, message):
    with pytest.raises(StudyError) as raised:
        loader.loads(text)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_large_whole_numbers_are_read_exactly():
    assert study_yaml.parse("a: [9223372036854775808, -9223372036854775809, +1]", source="x") == {
        "a": [2**63, -(2**63) - 1, 1]
    }


@pytest.mark.parametrize(
    "override", ["fixed.alpha=" + "[" * 5000, "fixed." + "a." * 5000 + "b=1", "seeds=[" + "1" * 5000]
)
def test_overrides_that_would_exhaust_a_reader_are_refused_in_one_line(override):
    with pytest.raises(StudyError) as raised:
        loader.load("quickstart", overrides=[override])
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300
