"""What is said of a name that is not known, in every package."""

import pytest

from nmlab.trials.contract.near_names import MOST_LISTED, hint, nearest, unknown_name


@pytest.mark.parametrize(
    ("given", "known", "near"),
    [
        ("quickstrat", ["other", "quickstart"], "quickstart"),
        ("WANDA", ["wanda", "dense"], "wanda"),
        ("wanda", ["wanda", "dense"], None),
        ("wanda", ["wanda", "wandb"], "wandb"),
        ("xyz", ["wanda", "dense"], None),
        ("xyz", [], None),
        (3, ["3.0", "30"], "30"),
    ],
)
def test_the_nearest_name_is_like_the_one_given_and_never_that_one_itself(given, known, near):
    assert nearest(given, known) == near


def test_a_sentence_says_what_was_given_what_is_nearest_and_what_is_known():
    told = unknown_name("wnada", kind="method", known={"wanda": 1, "dense": 2})
    assert told == "unknown method 'wnada'; did you mean 'wanda'? known: dense, wanda"
    assert unknown_name("xyz", kind="method", known=["wanda", "dense"]) == "unknown method 'xyz'; known: dense, wanda"
    assert unknown_name("xyz", kind="launch", known=[]) == "unknown launch 'xyz'; known: none"


def test_what_is_expected_stands_in_place_of_names_that_are_too_many():
    told = unknown_name("arc_eazy", kind="task", known=["arc_easy"], expected="expected a task or a file")
    assert told == "unknown task 'arc_eazy'; did you mean 'arc_easy'? expected a task or a file"


def test_a_hint_lists_names_in_their_own_order_and_only_where_none_is_near():
    assert hint("smal", ["small", "full"]) == "; did you mean 'small'?"
    assert hint("zzz", ["small", "full"]) == "; known: small, full"
    assert hint("zzz", []) == "; known: none"


def test_a_long_list_of_names_is_cut():
    names = [f"name-{number}" for number in range(MOST_LISTED + 2)]
    assert hint("zzz", names).endswith(f"name-{MOST_LISTED - 1} and 2 more")
    assert hint("zzz", names[:MOST_LISTED]).endswith(f"name-{MOST_LISTED - 1}")
