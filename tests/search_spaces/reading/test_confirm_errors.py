"""What is wrong with `search.confirm`, with the exact line that the user reads."""

import pytest

from nmlab.search_spaces import loader
from nmlab.search_spaces.reading.problems import StudyError

SINGLE = "because search.metric names 2 objectives, which have no single best"
LINES = [
    ("search.confirm=3", "expected a mapping with top, seeds"),
    ("search.confirm.top=0", "expected at least 1"),
    ("search.confirm.seeds=0", "expected at least 1"),
    ("search.confirm.seeds=[3, 4]", "expected a whole number"),
    ("search.confirm={top: -1}", "search.confirm.top -1: expected at least 1"),
    ("search.confirm.seed=5", "unknown key; did you mean 'search.confirm.seeds'?"),
    ("search.confirn={}", "unknown key; did you mean 'search.confirm'?"),
]


@pytest.mark.parametrize(("override", "line"), LINES, ids=[row[0] for row in LINES])
def test_one_wrong_value_gives_one_line(override, line):
    with pytest.raises(StudyError) as caught:
        loader.load("quickstart", overrides=[override])
    assert str(caught.value) == f"--set {override}: {line}"


def test_a_search_with_several_objectives_chooses_no_best_to_confirm():
    several = "search={algorithm: nsga2, samples: 4, metric: [validation/perplexity, cost/seconds]}"
    with pytest.raises(StudyError, match=rf"^[^\n]*search\.confirm=\{{\}}: expected null, {SINGLE}$"):
        loader.load("quickstart", overrides=[several, "search.confirm={}"])
