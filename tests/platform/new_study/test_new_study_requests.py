"""What `nmlab new` refuses before it looks at model and text."""

import pytest

from nmlab.platform.new_study.request import NewStudyRequest

GIVEN = {"name": "mine", "model": "builtin:tiny", "texts": ("corpus.txt",)}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"name": "My Study"},
            "name 'My Study': expected lower-case letters and digits, joined by hyphens",
        ),
        ({"name": "quickstart"}, "name 'quickstart': a study that comes with nmlab is called so; expected another"),
        ({"method": "wanda"}, "method 'wanda': it learns nothing to search for; expected maskpro, susi or soft_topn"),
        ({"method": "maskllm"}, "method 'maskllm': the ranges of its hyperparameters are not known here; expected mas"),
        ({"method": "maskpor"}, "unknown method 'maskpor'; did you mean 'maskpro'?"),
        ({"pattern": "5:4"}, "pattern '5:4': "),
        ({"pattern": "4:4"}, "pattern '4:4': expected N below M, for example 2:4"),
        ({"budget": "2 hours"}, "budget '2 hours': expected a duration such as 45s, 30m or 1h30m; write 2h"),
        ({"texts": ()}, "text: 0 are given; expected one, which is cut into three; or one to learn from and one to r"),
        ({"texts": tuple("abcd")}, "text: 4 are given; expected one"),
        ({"texts": ("a", "a")}, "text: one is given twice; expected texts that do not overlap"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_one_line_says_what_was_given_and_what_was_expected(changes, line):
    with pytest.raises(ValueError, match=r".") as refused:
        NewStudyRequest(**{**GIVEN, **changes}).check()
    assert str(refused.value).startswith(line)
    assert "\n" not in str(refused.value)


def test_what_is_asked_well_is_accepted():
    NewStudyRequest(**GIVEN).check()
    assert NewStudyRequest(**GIVEN, budget="1h30m").budget_seconds == 5400
