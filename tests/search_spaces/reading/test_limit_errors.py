"""What is wrong with `search.stop` and `budget.total`, with the exact line that the user reads."""

import pytest

from nmlab.search_spaces import loader
from nmlab.search_spaces.reading.problems import StudyError

SINGLE = "because search.metric names 2 objectives, which have no single best"
LINES = [
    ("search.stop=3", "expected a mapping with no_improvement"),
    ("search.stop.no_improvement=0", "expected at least 1"),
    ("search.stop={}", "search.stop.no_improvement: missing; expected the number of configurations"),
    ("search.stopp={no_improvement: 3}", "unknown key; did you mean 'search.stop'?"),
    ("budget.total=3", "expected a mapping with seconds, tokens, forwards, gpu_hours"),
    ("budget.total={}", "expected seconds, tokens, forwards or gpu_hours, as in {gpu_hours: 12}"),
    ("budget.total.seconds=-1", "expected"),
    ("budget.total.tokens=1.5", "expected a whole number"),
    ("budget.total.gpu_hour=3", "unknown key; did you mean 'budget.total.gpu_hours'?"),
]


@pytest.mark.parametrize(("override", "line"), LINES, ids=[row[0] for row in LINES])
def test_one_wrong_value_gives_one_line(override, line):
    with pytest.raises(StudyError) as caught:
        loader.load("quickstart", overrides=[override])
    (problem,) = str(caught.value).splitlines()
    assert problem.startswith(f"--set {override}: {line}")


def test_a_rule_needs_a_single_objective_and_a_search_that_chooses():
    several = (
        "search={algorithm: nsga2, samples: 4, metric: [eval/perplexity, cost/seconds], stop: {no_improvement: 2}}"
    )
    with pytest.raises(StudyError, match=rf"search\.stop: expected null, {SINGLE}$"):
        loader.load("quickstart", overrides=[several])
    grid = ["search={algorithm: grid, stop: {no_improvement: 2}}", "space={alpha: {grid: [0.9, 0.99]}}"]
    with pytest.raises(StudyError, match=r"search\.stop: expected null, because a grid visits every point; budget"):
        loader.load("quickstart", overrides=grid)


def test_gpu_hours_need_gpus():
    with pytest.raises(StudyError, match=r"budget\.total\.gpu_hours 3: expected null, because replica\.resources\.gpu"):
        loader.load("quickstart", overrides=["budget.total={gpu_hours: 3}", "replica.resources={gpus: 0}"])


def test_a_study_without_them_is_written_as_before():
    written = loader.dump(loader.load("quickstart"))
    assert "stop" not in written
    assert "total" not in written
    both = loader.load("quickstart", overrides=["search.stop={no_improvement: 3}", "budget.total={tokens: 5}"])
    assert loader.loads(loader.dump(both)) == both
