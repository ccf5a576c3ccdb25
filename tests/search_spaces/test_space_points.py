"""Configurations of a grid, in order, with conditions; and those of the baselines."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmlab.search_spaces.schema.conditions import settling_order
from nmlab.search_spaces.schema.entries import GridEntry
from nmlab.search_spaces.schema.study import Study
from nmlab.search_spaces.space import baseline_points, configuration_count, grid_points


def test_no_space_is_one_configuration(study_of):
    study = study_of(fixed={"steps": 10})
    assert grid_points(study) == [{"method": "maskpro", "pattern": "2:4", "steps": 10}]
    assert configuration_count(study) == 1


def test_product_in_file_order_the_last_name_fastest(study_of):
    study = study_of(space={"b": {"grid": [2, 1]}, "a": {"choice": ["x", "y"]}}, fixed={"steps": 10})
    points = grid_points(study)
    assert [(point["b"], point["a"]) for point in points] == [(2, "x"), (2, "y"), (1, "x"), (1, "y")]
    assert all(list(point) == ["method", "pattern", "steps", "b", "a"] for point in points)


def test_method_and_pattern_come_first(study_of):
    study = study_of(
        method={"grid": ["maskpro", "susi"]},
        pattern={"grid": ["2:4", "4:8"]},
        space={"steps": {"grid": [1, 2]}},
    )
    found = [(point["method"], point["pattern"], point["steps"]) for point in grid_points(study)]
    assert found == list(itertools.product(["maskpro", "susi"], ["2:4", "4:8"], [1, 2]))


def test_each_method_has_its_own_part_of_the_space(study_of):
    study = study_of(
        method={"choice": ["maskpro", "susi", "wanda"]},
        space={
            "alpha": {"grid": [0.9, 0.99], "when": {"method": "maskpro"}},
            "tau_init": {"grid": [1.0, 2.0, 4.0], "when": {"method": "susi"}},
            "steps": {"grid": [10], "when": {"method": ["maskpro", "susi"]}},
        },
    )
    assert grid_points(study) == [
        *({"method": "maskpro", "pattern": "2:4", "alpha": alpha, "steps": 10} for alpha in (0.9, 0.99)),
        *({"method": "susi", "pattern": "2:4", "tau_init": tau, "steps": 10} for tau in (1.0, 2.0, 4.0)),
        {"method": "wanda", "pattern": "2:4"},
    ]
    assert configuration_count(study) == 6


def test_a_condition_on_the_only_method(study_of):
    space = {"alpha": {"grid": [0.9, 0.99], "when": {"method": "susi"}}}
    assert configuration_count(study_of(space=space)) == 1
    assert configuration_count(study_of(space=space, method="susi")) == 2


def test_conditions_on_conditional_and_later_names(study_of):
    study = study_of(
        space={
            "c": {"grid": [1, 2], "when": {"b": "on"}},
            "b": {"grid": ["on", "off"], "when": {"a": True}},
            "a": {"grid": [True, False]},
        }
    )
    searched = [{key: point[key] for key in point if key in "abc"} for point in grid_points(study)]
    assert searched == [
        {"c": 1, "b": "on", "a": True},
        {"c": 2, "b": "on", "a": True},
        {"b": "off", "a": True},
        {"a": False},
    ]
    assert list(searched[0]) == ["c", "b", "a"]


def test_every_condition_of_an_entry_must_hold(study_of):
    study = study_of(space={"a": {"grid": [0, 1]}, "b": {"grid": [0, 1]}, "c": {"grid": [5], "when": {"a": 1, "b": 1}}})
    assert [("c" in point) for point in grid_points(study)] == [False, False, False, True]


@settings(deadline=None, max_examples=60)
@given(
    parents=st.lists(st.one_of(st.none(), st.integers(0, 10)), min_size=1, max_size=6),
    sizes=st.lists(st.integers(1, 3), min_size=6, max_size=6),
)
def test_points_are_the_distinct_projections_of_the_full_product(parents, sizes):
    """Brute force: take the whole product, drop what is inactive, and compare as sets."""
    names = [f"x{index}" for index in range(len(parents))]
    entries = {}
    for index, parent in enumerate(parents):
        when = {names[parent % index]: 0} if parent is not None and index else {}
        entries[names[index]] = GridEntry(grid=tuple(range(sizes[index])), when=when)
    expected = set()
    for values in itertools.product(*(entry.values for entry in entries.values())):
        kept: dict[str, object] = {}
        for name, value in zip(names, values, strict=True):
            if all(kept.get(other) in wanted for other, wanted in entries[name].when.items()):
                kept[name] = value
        expected.add(tuple(kept.items()))
    data = {"calibration": {"source": "a"}, "evaluation": {"source": "a"}}
    study = Study(name="s", model={"source": "a"}, data=data, pattern="2:4", method="m", space=entries)
    found = [tuple((k, v) for k, v in point.items() if k in entries) for point in grid_points(study)]
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_settling_order_keeps_the_file_order_but_for_conditions():
    plain, after_z = GridEntry(grid=(1,)), GridEntry(grid=(1,), when={"z": 1})
    assert settling_order({"c": plain, "a": after_z, "b": plain, "z": plain}) == ["c", "z", "a", "b"]


def test_a_continuous_space_has_no_grid(study_of):
    study = study_of(space={"alpha": {"uniform": [0, 1]}}, search={"algorithm": "random", "samples": 3})
    assert configuration_count(study) == 3
    with pytest.raises(ValueError) as caught:
        grid_points(study)
    assert str(caught.value) == "space.alpha is uniform; a grid needs listed values (grid or choice)"


def test_baselines_run_at_every_pattern_with_their_own_hyperparameters(study_of):
    study = study_of(
        pattern={"grid": ["2:4", "4:8"]},
        fixed={"steps": 10},
        baselines=["wanda", {"method": "sparsegpt", "damping": 0.1}, {"method": "dense", "pattern": "4:4"}],
    )
    assert baseline_points(study) == [
        {"method": "wanda", "pattern": "2:4"},
        {"method": "wanda", "pattern": "4:8"},
        {"method": "sparsegpt", "pattern": "2:4", "damping": 0.1},
        {"method": "sparsegpt", "pattern": "4:8", "damping": 0.1},
        {"method": "dense", "pattern": "4:4"},
    ]
