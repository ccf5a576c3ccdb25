"""What an earlier launch's records say of its search: how each configuration came out, and what differs from here."""

import math

import pytest

from nmlab.platform.planning.study_trials import trial_spec
from nmlab.platform.records.events import TrialEnded, TrialSubmitted
from nmlab.platform.search.earlier_search import (
    EarlierSearch,
    best_of,
    differences,
    earlier_configurations,
    known_outcome_of,
)
from nmlab.search_spaces.schema.constraints import Constraint
from nmlab.search_spaces.space import grid_points
from nmlab.trials.contract.sections import MixturePart, NeutralSpec

METRIC = "eval/perplexity"
GRID = ("search={algorithm: grid}", "space={alpha: {grid: [0.9, 0.95, 0.99]}}", "seeds=[0, 1]", "baselines=[random]")

MIXTURE = (MixturePart(source="a.txt"), MixturePart(source="b.txt"))


@pytest.fixture(scope="module")
def plan(plan_of):
    return plan_of(*GRID)


@pytest.fixture(scope="module")
def specs(plan):
    return [[trial_spec(plan.study, point, seed=seed) for seed in (0, 1)] for point in grid_points(plan.study)]


def begun(spec):
    return TrialSubmitted(key=spec.key, spec=spec.model_dump(mode="json"))


def ended(spec, value=None, status="finished", *, step=4, **others):
    metrics = {"memory/peak_bytes": 100.0 + spec.seed, **({} if value is None else {METRIC: value})}
    result = {"key": spec.key, "status": status, "step": step, "metrics": metrics, "reason": "", **others}
    return TrialEnded(key=spec.key, result=result)


def search_of(plan, records, **others):
    given = {"data_digest": plan.facts.data_digest, "model_digest": "weights", **others}
    not_searched = {spec.key for spec in plan.baselines}
    return EarlierSearch("quickstart", "earlier", (METRIC,), ("min",), (0, 1), not_searched, records, **given)


def unlike(search, plan, **here):
    given = {"metrics": (METRIC,), "modes": ("min",), "model_digest": "weights", "spec": plan.examples[0]}
    return differences(search, **{**given, "data_digest": plan.facts.data_digest, **here})


def test_each_is_told_by_the_mean_over_its_seeds(plan, specs):
    (a, b), (c, d), (e, f) = specs
    curves = {a.key: {2: 9.0}, b.key: {2: 7.0}, c.key: {2: 30.0}, d.key: {2: 40.0}}
    stopped = {"status": "stopped", "resumable": False, "step": 2}
    records = [
        *map(begun, (a, b, c, d, e, f, *plan.baselines)),
        *(ended(spec, 0.1) for spec in plan.baselines),
        *(ended(a, 1.0), ended(b, 3.0), ended(c, **stopped), ended(d, **stopped), ended(e, 1.0)),
        ended(f, status="diverged"),
    ]
    found = earlier_configurations(search_of(plan, records, curves=curves), constraints=())
    assert [each.spec.configuration for each in found] == [own[0].configuration for own in specs]
    assert [each.values for each in found] == [[2.0], None, None]
    assert [each.outcome.pruned for each in found] == [False, True, False]
    assert found[0].outcome.intermediate == {2: 8.0, 4: 2.0}
    assert found[1].outcome.intermediate == {2: 35.0}
    assert found[0].outcome.attributes[f"seed 1: {METRIC}"] == 3.0


@pytest.mark.parametrize("last", [None, {"status": "stopped", "resumable": True}])
def test_one_that_has_not_ended_does_not_enter(plan, specs, last):
    (a, b), *_ = specs
    records = [begun(a), begun(b), ended(a, 1.0), *([] if last is None else [ended(b, **last)])]
    search = search_of(plan, records)
    (found,) = earlier_configurations(search, constraints=())
    assert found.outcome is None
    assert known_outcome_of(found, search=search) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_one_without_a_finite_value_enters_as_a_failure(plan, specs, value):
    (a, b), *_ = specs
    search = search_of(plan, [begun(a), begun(b), ended(a, 1.0), ended(b, value)])
    (found,) = earlier_configurations(search, constraints=())
    record = known_outcome_of(found, search=search)
    assert "values" not in record
    assert not record["pruned"]


def test_constraints_are_those_of_the_search_that_it_enters(plan, specs):
    (a, b), *_ = specs
    search = search_of(plan, [begun(a), begun(b), ended(a, 1.0), ended(b, 3.0)])
    (found,) = earlier_configurations(search, constraints=(Constraint("memory/peak_bytes", max=100.5),))
    assert known_outcome_of(found, search=search)["constraints"] == {"memory/peak_bytes": 0.5}
    (found,) = earlier_configurations(search, constraints=(Constraint("cost/seconds", max=1.0),))
    assert "values" not in known_outcome_of(found, search=search), "nobody can say that it keeps the limit"
    assert best_of([found], mode="min", top=3) == []


def test_what_enters_names_its_launch_its_seeds_and_every_value(plan, specs):
    (a, b), *_ = specs
    search = search_of(plan, [begun(a), begun(b), ended(a, 1.0), ended(b, 3.0)])
    (found,) = earlier_configurations(search, constraints=())
    record = known_outcome_of(found, search=search)
    assert (record["launch"], record["configuration"], record["seeds"]) == ("earlier", a.configuration, [0, 1])
    assert record["settings"]["alpha"] == 0.9
    assert record["settings"]["data.calibration.samples"] == a.calibration.samples
    assert a.hyperparameters.items() <= record["settings"].items()


def test_a_method_that_is_not_known_here_enters_nothing(plan, specs):
    gone = [spec.model_copy(update={"method": "gone"}) for spec in specs[0]]
    search = search_of(plan, [*map(begun, gone), *(ended(spec, 1.0) for spec in gone)])
    (found,) = earlier_configurations(search, constraints=())
    assert known_outcome_of(found, search=search) is None


def test_the_best_come_first_and_without_those_that_break_a_constraint(plan, specs):
    records = [record for own in specs for spec in own for record in (begun(spec),)]
    records += [ended(spec, value) for own, value in zip(specs, (5.0, 3.0, 4.0), strict=True) for spec in own]
    found = earlier_configurations(search_of(plan, records), constraints=())
    assert [each.values for each in best_of(found, mode="min", top=2)] == [[3.0], [4.0]]
    assert [each.values for each in best_of(found, mode="max", top=2)] == [[5.0], [4.0]]
    limited = earlier_configurations(search_of(plan, records), constraints=(Constraint("memory/peak_bytes", max=1.0),))
    assert best_of(limited, mode="min", top=2) == []


def test_the_same_weights_texts_objective_and_limits_compare(plan, specs):
    search = search_of(plan, [begun(specs[0][0])])
    assert unlike(search, plan) == []


def changed(spec, section, **settings):
    own = getattr(spec, section)
    return spec.model_copy(update={section: own.model_copy(update=settings)})


@pytest.mark.parametrize(
    ("section", "settings", "line"),
    [
        ("calibration", {"sequence_length": 16}, "its data.calibration is another"),
        (
            "calibration",
            {"source": (MixturePart(source="a"), MixturePart(source="b"))},
            "its data.calibration is another",
        ),
        ("evaluation", {"windows": 2}, "its data.evaluation is another"),
        ("evaluation", {"perplexity": "word"}, "its data.evaluation is another"),
        ("budget", {"forwards": 3}, "its trials had other limits (budget)"),
        ("model", {"leave_dense": ("down_proj",)}, "its masks leave other weights dense (down_proj)"),
        ("calibration", {"samples": 2}, ""),
        ("calibration", {"micro_batch": 1}, ""),
        ("evaluation", {"batch_size": 1}, ""),
        ("evaluation", {"source": "moved.txt"}, ""),
        ("model", {"source": "moved"}, ""),
    ],
)
def test_what_differs_is_named(plan, specs, section, settings, line):
    search = search_of(plan, [begun(changed(specs[0][0], section, **settings))])
    assert unlike(search, plan) == ([line] if line else [])


def test_weights_texts_and_objectives_that_differ_are_named(plan, specs):
    search = search_of(plan, [begun(specs[0][0])])
    assert unlike(search, plan, model_digest="other") == ["its model is another (weights weights, here other)"]
    assert unlike(search, plan, data_digest="other") == ["its text is another"]
    assert unlike(search, plan, metrics=("validation/perplexity",)) == ["its objective is eval/perplexity (min)"]
    assert unlike(search_of(plan, []), plan) == ["it has no trial of a search"]


def test_where_a_text_lies_matters_if_it_recorded_no_digest(plan, specs):
    moved = changed(specs[0][0], "evaluation", source="moved.txt")
    assert unlike(search_of(plan, [begun(moved)], data_digest=""), plan) == ["its data.evaluation is another"]
    assert unlike(search_of(plan, [begun(specs[0][0])], data_digest=""), plan) == []


def test_neutral_texts_make_no_difference_unless_they_are_the_objective(plan, specs):
    """They change no mask and no other metric."""
    spec = specs[0][0]
    text = NeutralSpec(name="news", source="news.txt")
    earlier = spec.model_copy(update={"neutral": (text,)})
    search = search_of(plan, [begun(earlier)])
    assert unlike(search, plan) == []
    assert unlike(search, plan, constrained=["neutral/news/perplexity"]) == ["its data.neutral is another"]
    same = spec.model_copy(update={"neutral": (text,)})
    assert unlike(search, plan, spec=same, constrained=["neutral/news/perplexity"]) == []
