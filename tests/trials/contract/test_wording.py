"""The words of what is wrong with settings that were given one by one."""

import pytest
from pydantic import ValidationError

from nmlab.trials.contract.sections import EvaluationSpec, ModelSource
from nmlab.trials.contract.wording import expectation, first_problem


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"few_shot": -1}, "--few_shot -1: expected at least 0"),
        ({"sequence_length": 1}, "--sequence_length 1: expected at least 2"),
        ({"windows": "3"}, "--windows '3': expected a whole number; write 3 without quotes"),
        ({"windows": True}, "--windows true: expected a whole number"),
        ({"source": ""}, "--source '': expected text that is not empty"),
        ({"source": 3}, "--source 3: expected text, in quotes where it looks like something else"),
        ({"tasks": ("a", "a")}, "--tasks ['a', 'a']: 'a' is given twice"),
        ({"windowing": "roling"}, "unknown --windowing 'roling'; did you mean 'rolling'? known: joined, rolling"),
        ({"perplexity": "letter"}, "unknown --perplexity 'letter'; known: token, word"),
    ],
)
def test_the_first_problem_names_the_setting_what_was_given_and_what_was_expected(wrong, told):
    with pytest.raises(ValidationError) as raised:
        EvaluationSpec.model_validate({"source": "a.txt", **wrong})
    assert first_problem(raised.value, name=lambda context: f"--{context}") == told


def test_a_choice_is_told_with_the_nearest_of_its_values():
    with pytest.raises(ValidationError) as raised:
        ModelSource.model_validate({"source": "a", "dtype": "bfloat"})
    told = expectation(raised.value.errors()[0])
    assert told == "expected float32, bfloat16 or float16; did you mean 'bfloat16'?"


def test_of_an_error_that_has_no_words_here_pydantics_own_are_told():
    with pytest.raises(ValidationError) as raised:
        ModelSource.model_validate({"source": "a", "novel": 1})
    assert expectation(raised.value.errors()[0]) == "Extra inputs are not permitted"
