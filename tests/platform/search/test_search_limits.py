"""When a search proposes nothing more, told by hand-made journals: no improvement, and budgets of the launch."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmlab.platform.planning.study_plan import LaunchPlan
from nmlab.platform.planning.study_trials import trial_spec
from nmlab.platform.records.events import ConfirmationChosen, ReplicaStarted, TrialEnded, TrialLeased, TrialSubmitted
from nmlab.trials.contract.run_status import TrialStatus

METRIC = "eval/perplexity"
SPACE = "space={alpha: {choice: [0.5, 0.6, 0.7, 0.8, 0.9, 0.95]}}"
STOP = "search={algorithm: random, samples: 6, stop: {no_improvement: 2}}"
BUDGET = ("search={algorithm: random, samples: 6}", "budget={total: {forwards: 100}}")
ALPHAS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
BASELINES = 3


@pytest.fixture
def plan(plan_of):
    """Return a builder of plans of a search of six configurations with two seeds and three baselines."""
    return lambda *overrides: plan_of(SPACE, *overrides)


def point(plan, alpha, seed=0):
    settings = {"method": "maskpro", "pattern": "2:4", "alpha": alpha, "initial_mask": "magnitude"}
    return trial_spec(plan.study, settings, seed=seed)


def submitted(spec):
    return TrialSubmitted(key=spec.key, spec=spec.model_dump(mode="json"))


def ended(spec, status=TrialStatus.FINISHED, *, host=None, resumable=False, **metrics):
    result = {"key": spec.key, "status": status, "step": 4, "metrics": metrics, "reason": "", "resumable": resumable}
    return TrialEnded(key=spec.key, result=result, host=host)


def run(plan, alpha, *values, status=TrialStatus.FINISHED, forwards=0):
    """Return the records of a configuration with a value for each seed."""
    specs = [point(plan, alpha, seed) for seed in range(2)]
    ends = [
        ended(spec, status, **{METRIC: float(value), "cost/forwards": float(forwards)})
        for spec, value in zip(specs, values or (9.0, 9.0), strict=True)
    ]
    return [*map(submitted, specs), *ends]


def test_a_study_without_limits_follows_nothing(plan):
    limits = plan("search={algorithm: random, samples: 6}").search_limits(run(plan(STOP), 0.5))
    assert (limits.is_set, limits.reason, limits.withheld, limits.line, limits.describe()) == (False, "", 0, "", [])
    assert not limits.has_begun(point(plan(STOP), 0.5).configuration)


def test_it_stops_where_the_last_configurations_do_not_improve(plan):
    study = plan(STOP)
    journal = [*run(study, 0.5, 9, 9), *run(study, 0.6, 8, 8)]
    limits = study.search_limits(journal)
    assert limits.reason == ""
    limits.follow(run(study, 0.7, 8, 8))
    assert (limits.reason, limits.withheld) == ("", 0)
    limits.follow(run(study, 0.8, 8.5, 8.5))
    assert limits.line == (
        "search stopped after 4 of 6 configurations: none of the last 2 is better than the best before them, beyond "
        "noise (search.stop); 4 trials were not run"
    )


@pytest.mark.parametrize("status", [TrialStatus.STOPPED, TrialStatus.DIVERGED, TrialStatus.OOM])
def test_configurations_that_cannot_be_the_best_do_not_improve(plan, status):
    study = plan(STOP)
    journal = [*run(study, 0.5, 9, 9), *run(study, 0.6, 1, 1, status=status), *run(study, 0.7, 1, 1, status=status)]
    assert study.search_limits(journal).withheld == 3 * 2


def test_configurations_that_failed_tell_nothing_and_those_that_wait_neither(plan):
    study = plan(STOP)
    failed = [record for alpha in (0.6, 0.7, 0.8) for record in run(study, alpha, 10, 10, status=TrialStatus.FAILED)]
    journal = [*run(study, 0.5, 9, 9), *failed, *map(submitted, [point(study, 0.9, seed) for seed in (0, 1)])]
    assert study.search_limits(journal).reason == ""
    again = [ended(point(study, 0.6, seed), **{METRIC: 10.0}) for seed in (0, 1)]
    limits = study.search_limits([*journal, *again])
    assert limits.reason == ""
    limits.follow(run(study, 0.95, 10, 10))
    assert limits.reason, "two that finished are not better"


def test_one_that_breaks_a_constraint_does_not_improve(plan):
    study = plan(STOP, "search.constraints={memory/peak_bytes: {max: 10}}")

    def of(alpha, value, peak):
        specs = [point(study, alpha, seed) for seed in (0, 1)]
        return [
            *map(submitted, specs),
            *(ended(spec, **{METRIC: value, "memory/peak_bytes": peak}) for spec in specs),
        ]

    journal = [*of(0.5, 9.0, 5.0), *of(0.6, 2.0, 50.0), *of(0.7, 1.0, 50.0)]
    assert study.search_limits(journal).reason
    assert not study.search_limits([*journal, *of(0.8, 8.0, 5.0)]).reason


def test_it_goes_on_where_a_configuration_that_ran_meanwhile_improves(plan):
    study = plan(STOP)
    late = run(study, 0.9, 1, 1)
    journal = [*late[:2], *run(study, 0.5), *run(study, 0.6), *run(study, 0.7)]
    limits = study.search_limits(journal)
    assert limits.reason
    limits.follow(late[2:])
    assert limits.reason == ""


def test_the_budget_counts_every_trial_however_it_ended(plan):
    study = plan(*BUDGET)
    baseline = ended(study.baselines[0], **{"cost/forwards": 30.0})
    failed = run(study, 0.5, status=TrialStatus.FAILED, forwards=15)
    lost = [submitted(point(study, 0.6)), ended(point(study, 0.6), TrialStatus.STOPPED, **{"cost/forwards": 39.0})]
    limits = study.search_limits([baseline, *failed, *lost])
    assert limits.reason == ""
    limits.follow([submitted(point(study, 0.6, 1)), ended(point(study, 0.6, 1), **{"cost/forwards": 1.0})])
    assert limits.line == (
        "search stopped after 2 of 6 configurations: 100 of 100 forwards are used (budget.total); 8 trials were not run"
    )


def test_a_trial_that_goes_on_counts_once(plan):
    study, spec = plan(*BUDGET), None
    spec = point(study, 0.5)
    first = ended(spec, TrialStatus.STOPPED, resumable=True, **{"cost/forwards": 60.0})
    limits = study.search_limits([submitted(spec), first])
    limits.follow([submitted(spec), ended(spec, TrialStatus.DIVERGED, **{"cost/forwards": 80.0})])
    assert limits.reason == ""
    limits.follow([ended(point(study, 0.6), **{"cost/forwards": 20.0})])
    assert limits.reason


def test_what_trials_share_counts_once(plan):
    """What was computed for a trial is less than what it would cost alone."""
    study = plan(*BUDGET)
    costs = {"cost/forwards": 90.0, "cost/spent_forwards": 10.0}
    journal = [ended(point(study, alpha), **costs) for alpha in ALPHAS]
    assert study.search_limits(journal).reason == ""


def test_what_runs_is_expected_to_cost_as_much_as_what_has_finished(plan):
    study = plan(*BUDGET)
    waiting = [submitted(point(study, 0.6, 0))]
    journal = [*run(study, 0.5, forwards=24), *waiting]
    assert study.search_limits(journal).reason == ""
    limits = study.search_limits([*journal, submitted(point(study, 0.7, 0))])
    assert limits.reason == (
        "48 of 100 forwards are used, and 96 more are expected of what runs and of the confirmation (budget.total)"
    )


def test_the_confirmation_is_kept_for(plan):
    """Two configurations and a baseline on three fresh seeds: 6 trials of 8 forwards, and 3 of 2."""
    confirm = "search.confirm={top: 2, seeds: 3}"
    study = plan(*BUDGET, confirm, "baselines=[dense, random]")
    random = [spec for spec in study.baselines if spec.method == "random"]
    journal = [ended(spec, **{"cost/forwards": 2.0}) for spec in random]
    limits = study.search_limits([*journal, *run(study, 0.5, forwards=8), *run(study, 0.6, forwards=8)])
    assert limits.reason == ""  # 4 + 32 + 48 + 6
    limits.follow(run(study, 0.7, forwards=8))
    assert limits.withheld == 3 * 2
    line, used = limits.line, "54 more are expected of what runs and of the confirmation"
    assert used in line
    choice = ConfirmationChosen(seeds=[2, 3, 4], chosen=[], metric=METRIC, asked=2, looked_at=3, tags={})
    limits.follow([choice])
    cheap = [ended(spec.model_copy(update={"seed": 2}), **{"cost/forwards": 0.0}) for spec in random]
    limits.follow([*cheap, ended(point(study, 0.5, 2), **{"cost/forwards": 900.0})])
    assert limits.line == line, "what the confirmation costs changes nothing"


def test_gpu_hours_are_those_of_the_replicas_gpus_shared_by_its_slots(plan):
    study = plan("search={algorithm: random, samples: 6}", "budget={total: {gpu_hours: 4}}")
    spec, other = point(study, 0.5), point(study, 0.6)
    gpu = ReplicaStarted(host="a", device="NVIDIA H200", slots=4, shards=[{}, {}])
    cpu = ReplicaStarted(host="b", device="cpu", slots=1, shards=[{}])
    hours = {"cost/seconds": 8 * 3600.0}
    limits = study.search_limits([gpu, cpu, ended(spec, host="b", **hours), ended(other, host="a", **hours)])
    assert limits.reason.startswith("4 of 4 GPU hours are used")
    leased = TrialLeased(key=other.key, host="a", attempt=1)
    lost = study.search_limits([gpu, leased, ended(other, **hours)])
    assert lost.reason.startswith("4 of 4 GPU hours are used")
    assert study.search_limits([cpu, ended(spec, host="b", **hours)]).reason == ""


def test_a_larger_budget_and_a_looser_rule_go_on(plan, plan_of):
    for first, second in (
        (BUDGET, (BUDGET[0], "budget={total: {forwards: 1000}}")),
        ((STOP,), (STOP.replace("no_improvement: 2", "no_improvement: 5"),)),
    ):
        study = plan(*first)
        journal = [record for alpha in ALPHAS[:3] for record in run(study, alpha, 9, 9, forwards=20)]
        assert study.search_limits(journal).reason
        later = plan(*second)
        extended = LaunchPlan.unchecked(later.study, facts=later.facts, earlier=(study.study,))
        assert extended.search_version == 2
        assert extended.search_limits(journal).reason == ""
        assert extended.withheld(journal) == 0


def test_the_plan_counts_what_is_left_out(plan):
    study = plan(STOP)
    journal = [record for alpha in ALPHAS[:3] for record in run(study, alpha, 9, 9)]
    ends = {record.key for record in journal if isinstance(record, TrialEnded)} | {s.key for s in study.baselines}
    assert study.withheld(journal) == 3 * 2
    assert study.nothing_left_after(journal, ends)
    assert not study.nothing_left_after(journal, list(ends)[1:])


def test_what_stops_the_search_is_described(plan):
    budget = "budget={total: {tokens: 1000000, gpu_hours: 1.5}}"
    confirmed = plan(STOP, budget, "search.confirm={top: 1, seeds: 2}")
    assert confirmed.search_limits().describe() == [
        "after 2 configurations without an improvement beyond noise",
        "before 1,000,000 tokens, 1.5 GPU hours are used (what confirms the search is kept for)",
    ]


@settings(max_examples=30)
@given(data=st.data())
def test_the_decision_depends_on_the_journal_and_not_on_how_it_was_read(plan_of, data):
    study = plan_of(SPACE, STOP, "budget={total: {forwards: 400}}")
    values = data.draw(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=2, max_size=6))
    costs = data.draw(st.lists(st.integers(0, 60), min_size=6, max_size=6))
    runs = [run(study, alpha, *pair, forwards=cost) for alpha, pair, cost in zip(ALPHAS, values, costs, strict=False)]
    journal = [record for records in runs for record in records]
    cut = data.draw(st.integers(0, len(journal)))
    at_once, in_parts, one_by_one = (study.search_limits() for _ in range(3))
    at_once.follow(journal)
    in_parts.follow(journal[:cut])
    in_parts.follow(iter(journal[cut:]))
    for record in journal:
        one_by_one.follow([record])
    assert at_once.line == in_parts.line == one_by_one.line
    assert at_once.reason == in_parts.reason == one_by_one.reason
