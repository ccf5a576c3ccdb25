"""Anything under any key of a study file is a study, or a list of lines that a person can read."""

import re

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nmlab.search_spaces import loader
from nmlab.search_spaces.reading.problems import StudyError


def paths(data, prefix=()):
    """Yield the path of every key of nested mappings."""
    for key, value in data.items():
        yield (*prefix, key)
        if isinstance(value, dict):
            yield from paths(value, prefix=(*prefix, key))


def read(text):
    """Return the study that `text` holds, or the error; any other error is the test's failure."""
    try:
        return loader.loads(text, source="my.yaml"), None
    except StudyError as error:
        return None, error


QUICKSTART = loader.dump(loader.load("quickstart"))
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("2:4")
KEYS = st.sampled_from(["grid", "choice", "int", "uniform", "when", "method", "source", "samples", "x"])
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=5
)


@settings(deadline=None, max_examples=60)
@given(path=st.sampled_from(sorted(paths(yaml.safe_load(QUICKSTART)))), extra=st.none() | KEYS, value=ANYTHING)
def test_whatever_is_given_there_is_a_study_or_readable_lines(path, extra, value):
    data = yaml.safe_load(QUICKSTART)
    section = data
    for key in path[:-1]:
        section = section[key]
    section[extra or path[-1]] = value
    study, error = read(yaml.safe_dump(data))
    if error is None:
        assert loader.loads(loader.dump(study)) == study
    else:
        assert error.problems
        assert all(len(line) < 400 and re.match(r"my\.yaml(, line \d+)?: ", line) for line in error.problems)
        assert str(error).splitlines() == list(error.problems)
