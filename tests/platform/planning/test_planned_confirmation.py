"""What is known of a confirmation before the search begins: how many trials, on which seeds, and what they take."""

import json

import pytest

from nmlab.platform.api.plan_text import plan_view
from nmlab.platform.api.rendering import text_of
from nmlab.platform.planning.estimate import Estimate
from nmlab.platform.planning.machine import Machine
from nmlab.platform.planning.plan_record import PlanRecord, plan_record
from nmlab.platform.records.events import ConfirmationChosen
from nmlab.platform.search.confirmation import Confirmations, confirmations_of

GRID = ("search.algorithm=grid", "search.samples=null", "space={alpha: {grid: [0.9, 0.95, 0.99]}}", "seeds=[0, 2]")


@pytest.fixture
def confirmed(plan_of):
    """Return a builder of plans of a grid of three configurations with a confirmation."""
    return lambda confirm, *overrides: plan_of(*GRID, f"search.confirm={confirm}", "baselines=[dense]", *overrides)


@pytest.mark.parametrize(
    ("confirm", "overrides", "trials"),
    [
        ("{top: 2, seeds: 3}", (), 2 * 3),
        ("{top: 5, seeds: 3}", (), 3 * 3),
        ("{top: 2, seeds: 3}", ("baselines=[dense, wanda, random]",), (2 + 1) * 3),
        ("{top: 2, seeds: 3}", ("baselines=[random, {method: susi, steps: 3}]",), (2 + 2) * 3),
        (
            "{top: 2, seeds: 3}",
            ("baselines=[first_order, {method: first_order, initial_mask: random}]",),
            (2 + 1) * 3,
        ),
        ("{top: 1, seeds: 1}", ("space={}",), 1),
        ("{top: 2, seeds: 2}", ("pattern={grid: ['2:4', '1:4']}",), 2 * 2 * 2),
        ("{top: 2, seeds: 2}", ("pattern={grid: ['2:4', '1:4']}", "baselines=[random]"), (2 + 1) * 2 * 2),
        ("{top: 2, seeds: 2}", ("search={algorithm: random, samples: 1, confirm: {top: 2, seeds: 2}}",), 2),
        (
            "null",
            (
                "search={algorithm: random, samples: 3, confirm: {top: 2, seeds: 2}}",
                "pattern={grid: ['2:4', '1:4']}",
            ),
            3 * 2,
        ),
    ],
)
def test_trials_are_the_best_of_each_pattern_and_the_random_baselines_on_each_seed(
    confirmed, confirm, overrides, trials
):
    plan = confirmed(confirm, *overrides)
    assert plan.confirmation.trials == trials
    assert plan.trials == plan.search_trials + trials
    assert plan.trials_text == f"{plan.search_trials} trials + {trials} to confirm"


def test_seeds_are_the_smallest_that_the_study_does_not_have(confirmed):
    plan = confirmed("{top: 1, seeds: 3}", "baselines=[random]")
    assert plan.confirmation.seeds == (1, 3, 4)
    assert plan.seeds == (0, 2, 1, 3, 4)
    assert [spec.seed for spec in plan.confirmation.baselines] == [1]


def test_a_study_without_the_section_plans_none(plan_of):
    plan = plan_of(*GRID, "baselines=[random]")
    assert plan.confirmation is None
    assert (plan.trials, plan.trials_text, plan.seeds) == (8, "8 trials", (0, 2))
    record = plan_record(Estimate(plan, CPU))
    assert not [name for name in record if "confirm" in name]


CPU = Machine(
    device="cpu", device_count=1, cores=4, free_bytes=10**10, flops_per_second=1e9, copied_bytes_per_second=1e9
)


def test_time_and_disk_hold_the_confirmation(confirmed):
    plain, more = (
        Estimate(confirmed(asked, "budget.max_concurrent=1"), CPU) for asked in ("null", "{top: 3, seeds: 2}")
    )
    (dense, *searched), again = [plain._seconds(spec) for spec in plain.listing.specs], 3 * 2
    assert more.seconds == pytest.approx(plain.seconds + again * sum(searched) / len(searched))
    assert dense > 0
    assert more.disk["artifacts"] == pytest.approx(plain.disk["artifacts"] * (7 + 6) / 7, rel=1e-6)
    assert more.shared.most >= plain.shared.most


def test_time_holds_the_baselines_that_are_confirmed(confirmed):
    plain, more = (
        Estimate(confirmed(asked, "budget.max_concurrent=1", "baselines=[{method: susi, steps: 300}]"), CPU)
        for asked in ("null", "{top: 1, seeds: 2}")
    )
    susi, *_, maskpro = (plain._seconds(spec) for spec in plain.listing.specs)
    assert more.seconds == pytest.approx(plain.seconds + 2 * susi + 2 * maskpro)


def test_a_plan_says_what_will_be_confirmed(confirmed):
    record = plan_record(Estimate(confirmed("{top: 2, seeds: 3}", "baselines=[random]"), CPU))
    line = "the best 2 of 3 configurations and 1 baseline on the fresh seeds 1, 3, 4: at most 9 trials"
    assert record["confirmation"] == line
    assert (record["trials"], record["confirmation trials"]) == (8 + 9, 9)
    assert json.loads(json.dumps(record)) == record
    text = text_of(plan_view(record))
    assert f"confirmation     {line}" in text
    assert "confirmation trials" not in text
    every = confirmed("{top: 3, seeds: 3}").confirmation.describe()
    assert every == "all 3 configurations on the fresh seeds 1, 3, 4: at most 9 trials"
    alone = confirmed("{top: 2, seeds: 3}", "space={}").confirmation.describe()
    assert alone == "the only configuration on the fresh seeds 1, 3, 4: at most 3 trials"


def choice(plan, *specs):
    chosen = [{"configuration": spec.configuration, "role": "search", "spec": spec.model_dump()} for spec in specs]
    return ConfirmationChosen(seeds=plan.confirmation.seeds, chosen=chosen, metric="m", asked=2, looked_at=3, tags={})


def test_a_launch_is_over_once_what_was_chosen_has_ended(confirmed):
    plan = confirmed("{top: 2, seeds: 3}", "baselines=[random]")
    searched = {str(number) for number in range(plan.search_trials)}
    assert not plan.nothing_left_to_run(searched, Confirmations()), "nothing was chosen yet"
    assert plan.nothing_left_to_run(searched, confirmations_of([choice(plan)])), "nothing could be chosen"
    one = confirmations_of([choice(plan, plan.baselines[0])])
    fresh = set(one.trials)
    assert len(fresh) == 3
    assert not plan.nothing_left_to_run(searched, one)
    assert not plan.nothing_left_to_run({*searched, *sorted(fresh)[:2]}, one)
    assert plan.nothing_left_to_run(searched | fresh, one)
    assert not plan.nothing_left_to_run(sorted(searched)[1:] + sorted(fresh), one), "a trial of the search failed"


@pytest.mark.parametrize("asked", ["null", "{top: 2, seeds: 3}"])
def test_a_record_has_the_names_that_are_declared(confirmed, asked):
    record = plan_record(Estimate(confirmed(asked), CPU))
    assert PlanRecord.__required_keys__ <= set(record) <= set(PlanRecord.__annotations__)
    assert list(record) == [name for name in PlanRecord.__annotations__ if name in record]
