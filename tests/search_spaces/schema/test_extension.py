"""What an extension may change: what grows, what is free, and what is refused by name."""

import pytest

from nmlab.search_spaces.schema.extension import change_lines, changed_settings, extension_problems
from nmlab.search_spaces.schema.study import Study


@pytest.fixture
def before(minimal):
    """The settings of a study that a launch was started with."""
    return {
        **minimal,
        "fixed": {"steps": 100},
        "space": {"alpha": {"choice": [0.9, 0.99]}, "learning_rate": {"loguniform": [0.5, 4]}},
        "baselines": ["dense", {"method": "susi", "steps": 10}],
        "search": {"algorithm": "tpe", "samples": 4, "confirm": {"top": 2, "seeds": 3}},
        "seeds": [0, 1],
        "budget": {"forwards": 5000, "time_limit": "1h"},
    }


def problems(before, **changes):
    after = {
        **before,
        **{
            name: {**before.get(name, {}), **value} if isinstance(value, dict) and name != "space" else value
            for name, value in changes.items()
        },
    }
    return list(extension_problems(Study.model_validate(before), Study.model_validate(after)))


@pytest.mark.parametrize(
    "changes",
    [
        {"search": {"samples": 12}},
        {"seeds": [0, 1, 7]},
        {"seeds": [5, 1, 0]},
        {"baselines": ["wanda", {"method": "susi", "steps": 10}, "dense"]},
        {"search": {"confirm": {"top": 1, "seeds": 3}}},
        {"search": {"confirm": {"top": 5, "seeds": 8}}},
        {"search": {"initial_points": ["defaults"]}},
        {"budget": {"time_limit": "8h", "max_concurrent": 1}},
        {"search": {"stop": {"no_improvement": 4}}},
        {"budget": {"total": {"forwards": 100, "gpu_hours": 2.5}}},
        {"replica": {"count": 4}},
        {"intervals": {"evaluate_every": 10}},
        {"space": {"alpha": {"choice": [0.9, 0.95, 0.99]}, "learning_rate": {"loguniform": [0.1, 4]}}},
        {"question": "Another one?", "title": "Another", "description": "More."},
    ],
)  # fmt: skip
def test_a_study_may_grow(before, changes):
    assert problems(before, **changes) == []


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"model": {"source": "other"}}, "model.source 'other': expected 'builtin:tiny', as in the launch; all trials"),
        ({"pattern": "4:8"}, "pattern '4:8': expected '2:4', as in the launch"),
        ({"method": "susi", "space": {"learning_rate": {"grid": [0.1, 1.0]}}}, "method 'susi': expected 'maskpro'"),
        ({"fixed": {"steps": 200}}, "fixed.steps 200: expected 100"),
        (
            {"search": {"algorithm": "random"}},
            "search.algorithm 'random': expected 'tpe', as in the launch; what the s",
        ),
        ({"search": {"metric": "train/loss"}}, "search.metric 'train/loss': expected 'eval/perplexity'"),
        ({"search": {"samples": 3}}, "search.samples 3: expected 4 or more; configurations that were tried stay"),
        (
            {"search": {"confirm": {"top": 2, "seeds": 2}}},
            "search.confirm {top: 2, seeds: 2}: expected {seeds: 3} or m",
        ),
        ({"search": {"confirm": None}}, "search.confirm null: expected {seeds: 3} or more"),
        ({"seeds": [1, 2]}, "seeds [1, 2]: 0 is missing, which trials have run with; expected all of [0, 1] and more"),
        ({"baselines": ["dense"]}, "baselines ['dense']: {method: 'susi', steps: 10} is missing, which belongs"),
        (
            {"search": {"constraints": {"memory/peak_bytes": {"max": 2e9}}}},
            "search.constraints {memory/peak_bytes: {max: 2000000000.0, min: null}}: expected null, as in the launch; "
            "configurations were told by them; nmlab sweep --warm-start evaluates them anew",
        ),
        ({"budget": {"forwards": 9000}}, "budget.forwards 9000: expected 5000, as in the launch; it is part"),
        ({"name": "other"}, "name 'other': expected 'small', as in the launch; it names the MLflow experiment"),
    ],
)
def test_what_would_make_trials_incomparable_is_refused_by_name(before, changes, line):
    (found,) = problems(before, **changes)[:1]
    assert found.startswith(line), found


def test_texts_are_refused_by_name(before):
    data = {**before["data"], "evaluation": {"source": "builtin:python-docs", "windows": 3}}
    assert problems(before, data=data) == [
        "data.evaluation.windows 3: expected null, as in the launch; all trials of a launch must have the same; "
        "start a new launch with nmlab sweep"
    ]
    with_validation = {**before["data"], "validation": {"source": "held-out.txt"}}
    assert any(line.startswith("data.validation.source 'held-out.txt': expected null") for line in
               problems(before, data=with_validation, search={"metric": "validation/perplexity"}))  # fmt: skip


def test_rungs_of_early_stopping_stay_where_they_were(before):
    before["search"] |= {"scheduler": "asha"}
    before["intervals"] = {"evaluate_every": 10}
    (line,) = problems(before, intervals={"evaluate_every": 5})
    assert line.startswith("intervals.evaluate_every 5: expected 10, as in the launch; early stopping compares")
    assert problems(before, intervals={"checkpoint_every": 5}) == []
    before["space"]["steps"] = {"choice": [40, 80]}
    del before["fixed"]
    longer = {**before["space"], "steps": {"choice": [40, 80, 160]}}
    (line,) = problems(before, space=longer)
    assert line.startswith("space.steps {choice: [40, 80, 160]}: expected {choice: [40, 80]}, as in the launch; early")


def test_what_changed_is_named_with_both_values(before):
    after = {**before, "seeds": [0, 1, 2], "search": {**before["search"], "samples": 6}}
    assert changed_settings(Study.model_validate(before), Study.model_validate(after)) == {
        "search.samples": (4, 6),
        "seeds": ([0, 1], [0, 1, 2]),
    }


def test_a_fixed_hyperparameter_may_be_searched_from_now_on_and_the_other_way_round(before):
    fixed = Study.model_validate(before)
    searched = Study.model_validate(
        {**before, "fixed": {}, "space": {**before["space"], "steps": {"choice": [100, 200]}}}
    )
    assert list(extension_problems(fixed, searched)) == []
    assert list(extension_problems(searched, fixed)) == []
    gone = Study.model_validate({**before, "fixed": {}})
    assert [line.partition(":")[0] for line in extension_problems(fixed, gone)] == ["fixed.steps null"]


def test_of_a_long_list_the_entries_that_come_and_go_are_named():
    """Its beginning alone would be the same before and after."""
    base = {"name": "s", "model": {"source": "builtin:tiny"}, "pattern": "2:4", "method": "maskpro"}
    base["data"] = {"calibration": {"source": "builtin:python-docs"}, "evaluation": {"source": "builtin:python-docs"}}
    rules = ["dense", "random", "magnitude", "wanda", "gblm", "pruner_zero", "sparsegpt", "sparsegpt_mask"]

    def changes(*baselines):
        old, new = (Study.model_validate({**base, "baselines": list(own)}) for own in (rules, baselines))
        return change_lines(old, new)

    assert changes(*rules, "susi") == ["baselines: with 'susi'"]
    assert changes(*rules[:-1]) == ["baselines: without 'sparsegpt_mask'"]
    assert changes(*rules[:-1], "susi") == ["baselines: with 'susi' and without 'sparsegpt_mask'"]
    assert changes(*rules[:-2], *reversed(rules[-2:])) == ["baselines: in another order"]
