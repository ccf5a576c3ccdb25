"""What confirms a search: the best by their means over its seeds, on the smallest seeds that took no part in it."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmlab.platform.planning.study_trials import trial_spec
from nmlab.platform.records.events import (
    ConfirmationChosen,
    TrialEnded,
    TrialMetrics,
    TrialSubmitted,
    record_from_json,
)
from nmlab.platform.search.confirmation import (
    Searched,
    best_of_each_pattern,
    confirmations_of,
    ends_of_dropped,
    fresh_seeds,
    number_asked,
    searched_configurations,
    trials_of,
)
from nmlab.search_spaces.space import grid_points

METRIC = "eval/perplexity"
SEEDS = (0, 1)
GRID = (
    "search={algorithm: grid}",
    "space={alpha: {grid: [0.9, 0.95, 0.99]}}",
    "fixed={steps: 4}",
    "seeds=[0, 1]",
    "baselines=[random]",
)
seed_sets = st.sets(st.integers(0, 12), max_size=8)


@given(taken=seed_sets, number=st.integers(1, 8))
def test_fresh_seeds_are_the_smallest_that_are_not_taken(taken, number):
    found = fresh_seeds(taken, number=number)
    assert len(set(found)) == len(found) == number
    assert not set(found) & taken
    assert list(found) == sorted(found)
    assert set(range(max(found) + 1)) <= set(found) | taken


@given(taken=seed_sets, first=st.integers(1, 6), second=st.integers(1, 8), more=seed_sets)
def test_a_later_confirmation_keeps_the_seeds_of_the_earlier_one(taken, first, second, more):
    """Those that the study has not taken by then."""
    earlier = fresh_seeds(taken, number=first)
    found = fresh_seeds(taken | more, number=second, earlier=earlier)
    assert len(set(found)) == len(found) == second
    assert not set(found) & (taken | more)
    kept = [seed for seed in earlier if seed not in more][:second]
    assert list(found[: len(kept)]) == kept
    rest = found[len(kept) :]
    assert list(rest) == sorted(rest)
    assert set(range(max(rest, default=0))) <= set(rest) | set(earlier) | taken | more


means = st.one_of(st.none(), st.sampled_from([1.0, 2.0, 2.5, 3.0]), st.floats(-1e6, 1e6))
searches = st.lists(st.tuples(means, st.sampled_from(["2:4", "4:8"])), max_size=12).map(
    lambda items: [Searched(f"c{n}", pattern, {}, mean, True) for n, (mean, pattern) in enumerate(items)]
)


@given(found=searches, top=st.integers(1, 5), mode=st.sampled_from(["min", "max"]))
def test_the_best_of_each_pattern_are_chosen_and_of_equal_means_the_first(found, top, mode):
    chosen = best_of_each_pattern(found, top=top, mode=mode)
    assert len({item.key for item in chosen}) == len(chosen) <= number_asked(found, top=top)
    for pattern in ("2:4", "4:8"):
        complete = [item for item in found if item.pattern == pattern and item.mean is not None]
        own = [item for item in chosen if item.pattern == pattern]
        assert len(own) == min(top, len(complete))
        ranked = [(item.mean if mode == "min" else -item.mean, found.index(item)) for item in own]
        left = [(item.mean if mode == "min" else -item.mean, found.index(item)) for item in complete if item not in own]
        assert ranked == sorted(ranked)
        assert all(one < other for one in ranked for other in left)


@given(found=searches, top=st.integers(1, 5), mode=st.sampled_from(["min", "max"]))
def test_a_search_of_which_all_is_complete_gives_as_many_as_are_asked(found, top, mode):
    complete = [item for item in found if item.mean is not None]
    assert len(best_of_each_pattern(complete, top=top, mode=mode)) == number_asked(complete, top=top)


# --- from a journal ---------------------------------------------------------------------------------------------------


@pytest.fixture
def plan(plan_of):
    return plan_of(*GRID)


@pytest.fixture
def specs(plan):
    """The trials of the grid, by configuration (0 to 2) and seed."""
    return [[trial_spec(plan.study, point, seed=seed) for seed in SEEDS] for point in grid_points(plan.study)]


def begun(spec):
    return TrialSubmitted(key=spec.key, spec=spec.model_dump(mode="json"))


def ended(spec, value=None, *, status="finished", **more):
    metrics = {} if value is None else {METRIC: value}
    result = {"key": spec.key, "status": status, "step": 4, "metrics": metrics, "reason": "", **more}
    return TrialEnded(key=spec.key, result=result)


def found_in(plan, records):
    not_searched = {spec.key for spec in plan.baselines}
    return searched_configurations(records, metric=METRIC, seeds=SEEDS, not_searched=not_searched)


def test_means_are_over_the_seeds_of_the_search_in_the_order_in_which_configurations_began(plan, specs):
    (a, b), (c, d), _ = specs
    records = [begun(c), begun(a), begun(d), ended(c, 4.0), ended(a, 1.0), begun(b), ended(b, 3.0), ended(d, 5.0)]
    found = found_in(plan, records)
    assert [(item.key, item.mean, item.has_ended) for item in found] == [
        (c.configuration, 4.5, True),
        (a.configuration, 2.0, True),
    ]
    assert found[0].spec == c.model_dump(mode="json")
    assert found[0].pattern == "2:4"


@pytest.mark.parametrize(
    ("end", "has_ended"),
    [
        ({"status": "diverged"}, True),
        ({"status": "failed"}, True),
        ({"status": "oom"}, True),
        ({"status": "stopped", "resumable": False}, True),
        ({"status": "stopped", "resumable": True}, False),
        ({"value": math.nan}, True),
        ({"value": math.inf}, True),
        ({"value": None}, True),
    ],
)
def test_a_configuration_is_complete_if_every_seed_finished_with_a_finite_value(plan, specs, end, has_ended):
    (a, b), *_ = specs
    (item,) = found_in(plan, [begun(a), begun(b), ended(a, 1.0), ended(b, **end)])
    assert (item.mean, item.has_ended) == (None, has_ended)


def test_a_seed_that_has_not_ended_leaves_its_configuration_open(plan, specs):
    (a, b), *_ = specs
    for records in ([begun(a), begun(b), ended(a, 1.0)], [begun(a), ended(a, 1.0)]):
        (item,) = found_in(plan, records)
        assert (item.mean, item.has_ended) == (None, False)


def test_the_last_end_of_a_trial_counts(plan, specs):
    (a, b), *_ = specs
    again = [ended(b, status="failed"), begun(b), ended(b, 3.0)]
    (item,) = found_in(plan, [begun(a), begun(b), ended(a, 1.0), *again])
    assert (item.mean, item.has_ended) == (2.0, True)


def test_values_on_the_way_baselines_and_other_seeds_are_no_part_of_it(plan, specs):
    """Not even where a damaged line with the choice was removed from the journal."""
    (a, b), *_ = specs
    (random, *_), fresh = plan.baselines, [spec.model_copy(update={"seed": 2}) for spec in (a, plan.baselines[0])]
    others = [record for spec in (random, *fresh) for record in (begun(spec), ended(spec, 0.1))]
    on_the_way = TrialMetrics(key=a.key, step=1, time=0, values={METRIC: 0.1})
    found = found_in(plan, [*others, begun(a), on_the_way, begun(b), ended(a, 1.0), ended(b, 3.0)])
    assert [(item.key, item.mean) for item in found] == [(a.configuration, 2.0)]


def chosen(spec, role="search"):
    return {"configuration": spec.configuration, "role": role, "spec": spec.model_dump(mode="json")}


def choice(seeds, *specs, role="search"):
    own = [chosen(spec, role) for spec in specs]
    return ConfirmationChosen(seeds=seeds, chosen=own, metric=METRIC, asked=2, looked_at=3, tags={})


def test_the_trials_are_ordinary_ones_all_seeds_of_the_best_first_and_a_journal_gives_them_again(plan, specs):
    (a, _), (c, _), _ = specs
    record = choice([2, 3], c, a)
    wanted = [trial_spec(plan.study, grid_points(plan.study)[n], seed=seed) for n in (1, 0) for seed in (2, 3)]
    assert [trial.spec for trial in trials_of(record)] == wanted
    read = record_from_json(json.loads(json.dumps(record.to_json())))
    assert list(confirmations_of([read]).trials) == [spec.key for spec in wanted]
    assert {trial.role for trial in trials_of(choice([2], a, role="baseline"))} == {"baseline"}


def test_of_an_earlier_choice_stays_what_has_ended(specs):
    """Two choices share trials, and run them once; what had not ended is none of the newer one."""
    (a, _), (b, _), (c, _) = specs
    b2, b3 = (b.model_copy(update={"seed": seed}) for seed in (2, 3))
    first, second = choice((2, 3), a, b), replace(choice((2, 3), c, a), version=2)
    stopped = ended(b3, status="stopped", resumable=True)
    found = confirmations_of([first, begun(b2), begun(b3), ended(b2, 5.0), stopped, second])
    assert (len(found.choices), found.seeds, found.is_chosen) == (2, (2, 3), True)
    kept = [b2.key, *(each.model_copy(update={"seed": seed}).key for each in (c, a) for seed in (2, 3))]
    assert list(found.trials) == kept
    assert [spec.key for spec in found.to_run_since(2)] == kept[1:]
    assert found.to_run_since(3) == []


def test_what_an_earlier_choice_began_and_a_new_one_leaves_out_is_closed(specs):
    (a, _), (b, _), (c, _) = specs
    own = {seed: b.model_copy(update={"seed": seed}) for seed in (2, 3, 4, 5)}
    first, second = choice((2, 3, 4, 5, 6), a, b), choice((2, 3, 4, 5, 6), c, a)
    again = a.model_copy(update={"seed": 2})
    records = [
        first,
        *map(begun, (*own.values(), again)),
        ended(own[2], 5.0),
        ended(own[3], status="stopped", resumable=True),
        ended(own[4], status="failed"),
    ]
    ends = ends_of_dropped(records, second, ordinary=(0, 1))
    assert [end.key for end in ends] == [own[seed].key for seed in (3, 4, 5)], (
        "not those that ended, stay or never began"
    )
    assert {(end.result["status"], end.result["resumable"]) for end in ends} == {("stopped", False)}
    assert {end.result["reason"] for end in ends} == {"what is confirmed was chosen anew, without it"}
    assert ends_of_dropped([*records, *ends], second, ordinary=(0, 1)) == []
    assert [end.key for end in ends_of_dropped(records, second, ordinary=(0, 1, 5))] == [own[3].key, own[4].key]


def test_a_choice_of_nothing_is_none(specs):
    empty = choice((2, 3))
    assert not confirmations_of([empty]).is_chosen
    assert not confirmations_of([]).is_chosen
    assert confirmations_of([]).seeds == ()
    assert confirmations_of([empty, choice((2, 3), specs[0][0])]).is_chosen
