"""The studies that compare all methods: who is in them, on what terms, and how many trials they are."""

import pytest

from nmlab.platform.planning.study_plan import plan_study
from nmlab.platform.planning.study_trials import trial_spec
from nmlab.search_spaces import loader
from nmlab.search_spaces.space import baseline_points, grid_points
from nmlab.trials.methods import registry

STUDIES = ["methods-2-4", "methods-patterns"]


def _points(name):
    study = loader.load(name)
    return [*grid_points(study), *baseline_points(study)]


def test_every_method_is_in_the_table():
    assert {point["method"] for point in _points("methods-2-4")} == set(registry.names())


@pytest.mark.parametrize(
    ("pattern", "missing"),
    [("2:4", set()), ("2:8", {"proxsparse"}), ("4:8", {"proxsparse"}), ("8:16", {"proxsparse", "maskllm"})],
)
def test_every_method_that_can_is_in_the_table_of_a_pattern(pattern, missing):
    there = {point["method"] for point in _points("methods-patterns") if point["pattern"] == pattern}
    assert there == set(registry.names()) - missing


# 1 dense; a run for each of the 3 seeds where something is drawn at random, and one where nothing is.
@pytest.mark.parametrize(
    ("name", "searched", "baselines"),
    [
        ("methods-2-4", 3, 1 + 3 + 7 + 1 + 3 + 3 + 3 + 3),
        ("methods-patterns", 4 * 3, 1 + 4 * 3 + 4 * 7 + 1 + 3 * 3 + 3 * 4 * 3),
    ],
)
def test_size_of_the_plan(name, searched, baselines):
    plan = plan_study(loader.load(name))
    assert len(plan.baselines) == baselines
    assert plan.trials == searched + baselines


@pytest.mark.parametrize("name", STUDIES)
def test_learned_methods_get_equal_compute(name):
    """A backward is counted as two forwards."""
    compute = {
        point["method"]: point["steps"] * (1 if point["method"] == "maskpro" else 3)
        for point in _points(name)
        if "steps" in point
    }
    assert compute.keys() == {"maskpro", "susi", "soft_topn", "simple", "maskllm", "proxsparse"}
    assert len(set(compute.values())) == 1


@pytest.mark.parametrize("name", STUDIES)
def test_all_methods_read_the_same_text(name):
    study = loader.load(name)
    specs = [trial_spec(study, point, seed=0) for point in _points(name)]
    assert len({(spec.calibration, spec.evaluation, spec.model) for spec in specs}) == 1


def test_both_studies_give_a_method_the_same_hyperparameters():
    at_2_4 = [point for point in _points("methods-patterns") if point["pattern"] == "2:4"]
    assert {str(sorted(point.items())) for point in at_2_4} == {
        str(sorted(point.items())) for point in _points("methods-2-4")
    }


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("2:8", "proxsparse: its regulariser and proximal step are those of 2:4 and are not known for 2:8"),
        ("8:16", "proxsparse: its regulariser and proximal step are those of 2:4 and are not known for 8:16"),
    ],
)
def test_a_pattern_that_a_method_has_not_is_refused_before_anything_runs(pattern, reason):
    with pytest.raises(ValueError) as refused:
        plan_study(loader.load("methods-2-4", overrides=[f"pattern={pattern}"]))
    assert str(refused.value) == f"--set pattern={pattern}: {reason}"


def test_a_pattern_with_too_many_masks_is_refused_with_their_price():
    overrides = ["pattern=8:16", "baselines=[{method: maskllm, steps: 600}]"]
    with pytest.raises(
        ValueError,
        match=r"^--set pattern=8:16: maskllm: 8:16 has 12870 masks a group, .* bytes .* every million weights$",
    ):
        plan_study(loader.load("methods-patterns", overrides=overrides))
