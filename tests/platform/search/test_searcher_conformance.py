"""Every search that comes with nmlab keeps to what a search promises; and so would one that is not ours."""

from pathlib import Path

import pytest

from nmlab.platform.search.initial_points import first_points
from nmlab.platform.search.strategies import SearchStrategy, proposals_of
from nmlab.platform.testing import SearcherConformance, study_of
from nmlab.platform.testing.searcher_conformance import RANGES
from nmlab.search_spaces import loader
from nmlab.search_spaces.schema.study import Study

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


class Ours(SearcherConformance):
    def make(self, study: Study, journal: Path) -> SearchStrategy:
        return proposals_of(study, journal=journal)


class TestGrid(Ours):
    algorithm = "grid"
    learns = False


class TestRandom(Ours):
    algorithm = "random"


class TestTpe(Ours):
    algorithm = "tpe"


class TestNsga2(Ours):
    algorithm = "nsga2"


@pytest.mark.parametrize(
    ("points", "told"),
    [
        ("[{masks_per_step: 2}]", "search.points[0]: lacks 'learning_rate'"),
        ("[{learning_rate: 99, masks_per_step: 2, estimator: vanilla}]", "learning_rate = 99, expected 0.1 to 10"),
        ("[{learning_rate: 1, masks_per_step: 2.5, estimator: vanilla}]", "masks_per_step = 2.5, expected a whole"),
        ("[{learning_rate: 1, masks_per_step: 2, estimator: x}]", "estimator = 'x', expected one of vanilla, tracked"),
        (
            "[{learning_rate: 1, masks_per_step: 2, estimator: vanilla, alpha: 0.9}]",
            "search.points[0]: 'alpha' is not searched there",
        ),
        ("[defaults]", "search.points[0] (maskpro): learning_rate = 50.0, expected 0.1 to 10"),
    ],
)
def test_a_point_outside_of_the_space(points, told):
    with pytest.raises(ValueError) as error:
        first_points(study_of("tpe", space=RANGES, points=points))
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("search", "told"),
    [
        ("{algorithm: grid, points: [defaults]}", "a grid visits every point"),
        (
            "{algorithm: tpe, samples: 1, points: [defaults, {alpha: 0.9}]}",
            "2 points, but search.samples 1",
        ),
        ("{algorithm: tpe, samples: 3, points: [default]}", "search.points"),
    ],
)
def test_points_that_a_study_cannot_have(search, told):
    overrides = [f"search={search}", "space={alpha: {choice: [0.9, 0.99]}}"]
    with pytest.raises(ValueError) as error:
        loader.load("quickstart", overrides=overrides)
    assert told in str(error.value)
