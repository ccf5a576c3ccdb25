"""Which configurations run with seeds that were added to a study, and how many trials that leaves out."""

import pytest

from nmlab.platform.planning.study_plan import LaunchPlan
from nmlab.platform.planning.study_trials import trial_spec
from nmlab.platform.records.events import TrialEnded, TrialSubmitted
from nmlab.trials.contract.run_status import TrialStatus

METRIC = "eval/perplexity"


@pytest.fixture
def plan(plan_of):
    """A study that began with the seeds 0 and 1, and got 2 and 3."""
    first = plan_of("seeds=[0, 1]").study
    second = plan_of("seeds=[0, 1, 2, 3]")
    return LaunchPlan.unchecked(second.study, facts=second.facts, earlier=(first,))


def point(plan, alpha, seed):
    settings = {"method": "maskpro", "pattern": "2:4", "alpha": alpha, "initial_mask": "magnitude"}
    return trial_spec(plan.study, settings, seed=seed)


def submitted(spec):
    return TrialSubmitted(key=spec.key, spec=spec.model_dump(mode="json"))


def ended(spec, status=TrialStatus.FINISHED, *, value=5.0, **more):
    result = {"key": spec.key, "status": status, "step": 4, "metrics": {METRIC: value}, "reason": "", **more}
    return TrialEnded(key=spec.key, result=result)


def records(plan, *second_ends):
    """Return the journal of configurations whose first seed finished and whose second ended as given."""
    found = []
    for number, end in enumerate(second_ends):
        one, other = (point(plan, 0.9 + number / 100, seed) for seed in (0, 1))
        found += [submitted(one), submitted(other), ended(one)]
        found += [] if end is None else [ended(other, **end)]
    return found


def seeds(later):
    return [(round(spec.hyperparameters["alpha"], 2), spec.seed) for spec in later.trials]


def test_a_complete_configuration_runs_with_added_seeds_and_others_do_not(plan):
    ends = ({}, {"status": TrialStatus.STOPPED}, {"status": TrialStatus.FAILED}, {"value": float("nan")}, None)
    later = plan.later_seeds(records(plan, *ends))
    assert seeds(later) == [(0.9, 2), (0.9, 3)]
    assert later.withheld == 3 * 2, "the last one has not ended"


def test_one_that_was_stopped_to_go_on_later_is_not_left_out(plan):
    later = plan.later_seeds(records(plan, {"status": TrialStatus.STOPPED, "resumable": True}))
    assert (later.trials, later.withheld) == ([], 0)


def test_one_that_is_tried_again_and_finishes_gets_them_after_all(plan):
    later = plan.later_seeds(records(plan, {"status": TrialStatus.FAILED}))
    assert later.withheld == 2
    later.follow([ended(point(plan, 0.9, 1))])
    assert (seeds(later), later.withheld) == ([(0.9, 2), (0.9, 3)], 0)


def test_an_end_gives_the_trials_that_follow_from_it_once(plan):
    one, other = point(plan, 0.9, 0), point(plan, 0.9, 1)
    later = plan.later_seeds([submitted(one), submitted(other)])
    assert later.end(one.key, ended(one).result) == []
    assert [spec.seed for spec in later.end(other.key, ended(other).result)] == [2, 3]
    assert later.end(other.key, ended(other).result) == []


def test_trials_with_other_seeds_and_baselines_are_left_out(plan):
    baseline, added = plan.baselines[0], point(plan, 0.9, 3)
    later = plan.later_seeds([submitted(baseline), ended(baseline), submitted(added), ended(added)])
    assert (later.trials, later.withheld) == ([], 0)


def test_without_added_seeds_there_is_nothing(plan_of):
    plain = plan_of("seeds=[0, 1]")
    later = plain.later_seeds(records(plain, {}, {"status": TrialStatus.FAILED}))
    assert (later.trials, later.withheld) == ([], 0)
