"""The number of calibration samples as something that is searched: points, trials, baselines, plans and errors."""

import pytest

from nmlab.platform.planning.study_plan import check_settings, plan_study
from nmlab.platform.planning.study_trials import baseline_specs, example_specs, trial_spec
from nmlab.platform.search.initial_points import configurations_tried, initial_points, points
from nmlab.platform.search.strategies import OptunaStrategy
from nmlab.platform.search.strategy_protocol import Outcome
from nmlab.search_spaces import loader
from nmlab.search_spaces.reading.problems import StudyError
from nmlab.search_spaces.space import baseline_points, grid_points
from nmlab.trials.contract.run_params import CALIBRATION_SAMPLES as SAMPLES

SIZES = "data.calibration.samples={grid: [1, 8, 64]}"
GRID = [
    SIZES,
    "data.calibration.batch_size=8",
    "search={algorithm: grid}",
    "space={}",
    "fixed={steps: 3, learning_rate: 1.0}",
    "baselines=[dense, random, magnitude, wanda]",
    "seeds=[0, 1]",
]


def study(*overrides):
    return loader.load("quickstart", overrides=[*GRID, *overrides])


def test_it_is_a_point_of_the_grid_and_the_text_of_the_trial():
    asked = study("space.learning_rate={grid: [1.0, 2.0]}")
    found = grid_points(asked)
    assert [(point[SAMPLES], point["learning_rate"]) for point in found] == [
        (1, 1.0), (1, 2.0), (8, 1.0), (8, 2.0), (64, 1.0), (64, 2.0),
    ]  # fmt: skip
    specs = [trial_spec(asked, point, seed=0) for point in found]
    assert [spec.calibration.samples for spec in specs] == [1, 1, 8, 8, 64, 64]
    assert all(SAMPLES not in spec.hyperparameters for spec in specs)
    assert specs[0].flat()[SAMPLES] == 1
    assert len({spec.configuration for spec in specs}) == 6
    assert configurations_tried(asked) == len(list(points(asked))) == 6


def test_a_rule_runs_with_each_number_but_not_where_it_reads_no_text():
    specs = baseline_specs(study())
    found = [(spec.method, spec.seed, spec.calibration.samples) for spec in specs]
    assert found == [
        ("dense", 0, 1),
        ("random", 0, 1),
        ("random", 1, 1),
        ("magnitude", 0, 1),
        ("wanda", 0, 1),
        ("wanda", 0, 8),
        ("wanda", 0, 64),
    ]
    assert len(baseline_points(study())) == 4 * 3


def test_a_baseline_may_read_another_number():
    rules = "baselines=[{method: wanda, data.calibration.samples: 4}, {method: magnitude, data.calibration.samples: 8}]"
    for asked in (study(rules), study(rules, "data.calibration.samples=64")):
        specs = baseline_specs(asked)
        assert [(spec.method, spec.calibration.samples) for spec in specs] == [("wanda", 4), ("magnitude", 8)]
        assert loader.loads(loader.dump(asked)) == asked
        check_settings(asked)


@pytest.mark.parametrize("value", ["0", "2.5", "many"])
def test_a_baseline_with_no_number_of_samples(value):
    with pytest.raises(StudyError, match=r"data\.calibration\.samples: expected a whole number, at least 1"):
        study(f"baselines=[{{method: wanda, data.calibration.samples: {value}}}]")


def test_the_text_must_be_long_enough_for_the_largest():
    assert plan_study(study()).trials == 7 + 3 * 2
    with pytest.raises(ValueError, match="1000000 samples were asked"):
        plan_study(study("data.calibration.samples={choice: [1000000, 1]}"))


def test_a_batch_holds_at_most_the_largest_number():
    with pytest.raises(StudyError, match=r"data\.calibration\.batch_size=65: expected at most the 64 samples"):
        study("data.calibration.batch_size=65")


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("{grid: [0]}", "data.calibration.samples.grid[0] 0: expected a whole number, at least 1"),
        ("{choice: [8, 2.5]}", "data.calibration.samples.choice[1] 2.5: expected a whole number, at least 1"),
        ("{uniform: [1, 8]}", "unknown key 'uniform'; known: grid, choice, when"),
        ("many", "expected a whole number, or a mapping with grid or choice"),
        ("true", "expected a whole number, or a mapping with grid or choice"),
        (
            "{grid: [8], when: {pattern: '2:4'}}",
            "data.calibration.samples.when: expected no condition, because every configuration needs a number of "
            "samples",
        ),
    ],
)  # fmt: skip
def test_what_is_no_number_of_samples(value, line):
    with pytest.raises(StudyError) as caught:
        study(f"data.calibration.samples={value}")
    assert str(caught.value) == f"--set data.calibration.samples={value}: {line}"


def test_conditions_may_name_it():
    asked = study("space={alpha: {grid: [0.9, 0.99], when: {data.calibration.samples: [8, 64]}}}")
    assert [(point[SAMPLES], point.get("alpha")) for point in grid_points(asked)] == [
        (1, None), (8, 0.9), (8, 0.99), (64, 0.9), (64, 0.99),
    ]  # fmt: skip
    with pytest.raises(StudyError, match="is never 7"):
        study("space={alpha: {grid: [0.9], when: {data.calibration.samples: 7}}}")


def test_a_sampler_proposes_it_and_a_resumed_one_knows_it(tmp_path):
    asked = loader.load("quickstart", overrides=[SIZES, "search.samples=6", "search.initial_points=[defaults]", *SMALL])
    journal = tmp_path / "optuna.journal"
    strategy = OptunaStrategy(asked, journal=journal)
    first = strategy.next()
    assert first.configuration[SAMPLES] == 1  # `defaults` takes the first
    strategy.tell(first.number, Outcome([2.0]))
    second = strategy.next()
    (known,) = OptunaStrategy(asked, journal=journal).open()
    assert known.configuration == second.configuration
    assert second.configuration[SAMPLES] in (1, 8, 64)


def test_examples_use_every_number():
    asked = loader.load("quickstart", overrides=[SIZES, *SMALL])
    check_settings(asked)
    assert {spec.calibration.samples for spec in example_specs(asked)} == {1, 8, 64}
    given = "search.initial_points=[{alpha: 0.9, learning_rate: 1.0, data.calibration.samples: 8}]"
    assert initial_points(loader.load("quickstart", overrides=[SIZES, *SMALL, given]))[0][SAMPLES] == 8


SMALL = [
    "data.calibration.batch_size=8",
    "space={alpha: {choice: [0.9, 0.99]}, learning_rate: {loguniform: [0.5, 60.0]}}",
]
