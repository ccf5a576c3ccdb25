"""What is wrong with an algorithm, its first points or its constraints, with the exact line that the user reads."""

import pytest

from nmlab.search_spaces import loader
from nmlab.search_spaces.reading.problems import StudyError

WHEN = "space={estimator: {choice: [vanilla, tracked]}, alpha: {choice: [0.9, 0.99], when: {estimator: tracked}}}"
FLAT = "a Gaussian process needs a value of every name in every configuration; tpe takes conditions"
LINES = [
    (
        [WHEN, "search.algorithm=gp"],
        f"--set search.algorithm=gp: space.alpha has a condition, when; {FLAT}",
    ),
    (
        ["method={choice: [maskpro, susi]}", "space={steps: {int: [1, 9]}}", "fixed={}", "search.algorithm=gp"],
        f"--set search.algorithm=gp: several methods are searched; {FLAT}",
    ),
    (
        ["search.algorithm=random", "search.startup=qmc"],
        "--set search.startup=qmc: expected null, because random is not tpe, gp or nsga2",
    ),
    (["search.startup=sobol"], "--set search.startup=sobol: expected random or qmc"),
    (
        ["search.constraints={memory/peak_byte: {max: 2e9}}"],
        "--set search.constraints={memory/peak_byte: {max: 2e9}}: search.constraints.memory/peak_byte: "
        "unknown metric; did you mean 'memory/peak_bytes'?",
    ),
    (
        ["search.constraints={memory/peak_bytes: {}}"],
        "--set search.constraints={memory/peak_bytes: {}}: search.constraints.memory/peak_bytes {}: "
        "expected max or min, as in {max: 2e9}",
    ),
    (
        ["search.constraints={memory/peak_bytes: {min: 3, max: 2}}"],
        "--set search.constraints={memory/peak_bytes: {min: 3, max: 2}}: search.constraints.memory/peak_bytes "
        "{min: 3, max: 2}: expected min 3 to be at most max 2",
    ),
    (
        ["search.constraints={}"],
        "--set search.constraints={}: expected at least one metric with its limits, as in "
        "{memory/peak_bytes: {max: 2e9}}",
    ),
    (
        ["search.constraints={memory/peak_bytes: {max: 2e9, mix: 1}}"],
        "--set search.constraints={memory/peak_bytes: {max: 2e9, mix: 1}}: search.constraints.memory/peak_bytes.mix: "
        "unknown key; did you mean 'search.constraints.memory/peak_bytes.min'?",
    ),
]


@pytest.mark.parametrize(("overrides", "line"), LINES, ids=[row[0][-1] for row in LINES])
def test_one_wrong_value_gives_one_line(overrides, line):
    with pytest.raises(StudyError) as caught:
        loader.load("quickstart", overrides=overrides)
    assert str(caught.value) == line


def test_a_constraint_is_read():
    study = loader.load("quickstart", overrides=["search.constraints={memory/peak_bytes: {max: 2e9}}"])
    (constraint,) = study.search.all_constraints
    assert (constraint.metric, constraint.max, constraint.min) == ("memory/peak_bytes", 2e9, None)


def test_a_study_without_the_later_keys_is_written_as_before():
    assert not {"startup", "constraints"} & loader.load("quickstart").search.model_dump().keys()
