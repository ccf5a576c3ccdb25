"""Every search strategy of nmlab passes the conformance suite, which strategies of others can use too."""

from pathlib import Path

import pytest

from nmlab.platform.search.initial_points import initial_points
from nmlab.platform.search.strategies import strategy_of
from nmlab.platform.search.strategy_protocol import SearchStrategy
from nmlab.platform.testing import SearcherConformance, study_of
from nmlab.platform.testing.searcher_conformance import FLAT_RANGES, LISTED, RANGES
from nmlab.search_spaces import loader
from nmlab.search_spaces.schema.study import Study

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


class OwnStrategies(SearcherConformance):
    def make(self, study: Study, journal: Path) -> SearchStrategy:
        return strategy_of(study, journal=journal)


class TestGrid(OwnStrategies):
    algorithm = "grid"
    learns = False


class TestRandom(OwnStrategies):
    algorithm = "random"


class TestTpe(OwnStrategies):
    algorithm = "tpe"


class TestTpeWithTwoObjectives(OwnStrategies):
    algorithm = "tpe"
    has_two_objectives = True


class TestTpeAfterQuasiRandomPoints(OwnStrategies):
    algorithm = "tpe"
    more = "startup: qmc"


class TestTpeWithConstraints(OwnStrategies):
    algorithm = "tpe"
    more = "constraints: {memory/peak_bytes: {max: 2e9}}"


class TestQmc(OwnStrategies):
    algorithm = "qmc"


@pytest.mark.slow
class TestGp(OwnStrategies):
    algorithm = "gp"
    takes_conditions = False

    @pytest.fixture(params=[pytest.param(LISTED, marks=pytest.mark.thorough), FLAT_RANGES], ids=["listed", "ranges"])
    def study(self, request: pytest.FixtureRequest) -> Study:
        return self._study(request.param)


class TestNsga2(OwnStrategies):
    algorithm = "nsga2"


@pytest.mark.thorough
class TestNsga2AfterQuasiRandomPoints(OwnStrategies):
    algorithm = "nsga2"
    more = "startup: qmc"


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ("[{masks_per_step: 2}]", "search.initial_points[0]: lacks 'learning_rate'"),
        ("[{learning_rate: 99, masks_per_step: 2, estimator: vanilla}]", "learning_rate = 99, expected 0.1 to 10"),
        ("[{learning_rate: 1, masks_per_step: 2.5, estimator: vanilla}]", "masks_per_step = 2.5, expected a whole"),
        ("[{learning_rate: 1, masks_per_step: 2, estimator: x}]", "estimator = 'x', expected one of vanilla, tracked"),
        (
            "[{learning_rate: 1, masks_per_step: 2, estimator: vanilla, alpha: 0.9}]",
            "search.initial_points[0]: 'alpha' is not searched there",
        ),
        ("[defaults]", "search.initial_points[0] (maskpro): learning_rate = 50.0, expected 0.1 to 10"),
    ],
)
def test_a_point_outside_of_the_space(points, message):
    with pytest.raises(ValueError) as error:
        initial_points(study_of("tpe", space=RANGES, points=points))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("{algorithm: grid, initial_points: [defaults]}", "a grid visits every point"),
        (
            "{algorithm: tpe, samples: 1, initial_points: [defaults, {alpha: 0.9}]}",
            "2 points, but search.samples 1",
        ),
        ("{algorithm: tpe, samples: 3, initial_points: [default]}", "search.initial_points"),
    ],
)
def test_points_that_a_study_cannot_have(search, message):
    overrides = [f"search={search}", "space={alpha: {choice: [0.9, 0.99]}}"]
    with pytest.raises(ValueError) as error:
        loader.load("quickstart", overrides=overrides)
    assert message in str(error.value)
