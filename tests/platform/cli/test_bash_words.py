"""What bash takes for several words is one word of ours, of which bash replaces the last part only."""

import pytest

from nmlab.platform.cli.bash_words import join_words, joined


@pytest.mark.parametrize(
    ("typed", "words", "current", "begun"),
    [
        ("nmlab plan quick|", ["nmlab", "plan", "quick"], 2, ""),
        ("nmlab plan q --set a.b = x|", ["nmlab", "plan", "q", "--set", "a.b=x"], 4, "a.b="),
        ("nmlab plan q --set a.b =|", ["nmlab", "plan", "q", "--set", "a.b="], 4, "a.b="),
        ("nmlab plan q --set a.b = x --se|", ["nmlab", "plan", "q", "--set", "a.b=x", "--se"], 5, ""),
        ("nmlab plan q --set a.b = builtin : t|", ["nmlab", "plan", "q", "--set", "a.b=builtin:t"], 4, "a.b=builtin:"),
        ("nmlab plan q --set a.b = 2 : 4 |", ["nmlab", "plan", "q", "--set", "a.b=2:4", ""], 5, ""),
        ("nmlab plan q --preset = f|", ["nmlab", "plan", "q", "--preset=f"], 3, "--preset="),
        ("nmlab plan q --set x = -1|", ["nmlab", "plan", "q", "--set", "x=-1"], 4, "x="),
        ("nmlab plan q --set x = --set y|", ["nmlab", "plan", "q", "--set", "x=", "--set", "y"], 6, ""),
        ("nmlab plan q| --set a.b = x", ["nmlab", "plan", "q", "--set", "a.b=x"], 2, ""),
    ],
)
def test_words_are_joined(typed, words, current, begun):
    split = typed.replace("|", "").split(" ")
    place = next(number for number, word in enumerate(typed.split(" ")) if word.endswith("|"))
    assert joined(split, place) == (words, current, begun)


def test_the_variables_of_bash_are_changed():
    environ = {"COMP_WORDS": "nmlab\nplan\nq\n--set\na.b\n=\nx", "COMP_CWORD": "6"}
    assert join_words(environ) == "a.b="
    assert environ == {"COMP_WORDS": "nmlab\nplan\nq\n--set\na.b=x", "COMP_CWORD": "4"}
