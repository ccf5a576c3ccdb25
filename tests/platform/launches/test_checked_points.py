"""What of a search is looked at before it starts: all of a finite space, every value and pair of a larger one."""

from itertools import combinations

import pytest

from nmlab.platform.planning import examples
from nmlab.platform.planning.estimate import Estimate
from nmlab.platform.planning.examples import configurations_to_check, configurations_to_plan, covering_configurations
from nmlab.platform.planning.machine import Machine
from nmlab.platform.planning.plan_record import plan_record
from nmlab.platform.planning.study_plan import check_settings
from nmlab.platform.search.initial_points import points
from nmlab.search_spaces import loader
from nmlab.trials.sizing.dry_run import FakeTensorModel

RANDOM = "search={algorithm: random, samples: 5}"


def _study(space, *overrides):
    return loader.load("quickstart", overrides=[f"space={space}", "fixed={}", RANDOM, "baselines=[]", *overrides])


def _keyed(configurations):
    return sorted(tuple(sorted((name, str(value)) for name, value in each.items())) for each in configurations)


NESTED = (
    "{sampler: {choice: [multinomial, gumbel]}, masks_per_step: {int: [1, 6], when: {sampler: gumbel}}, "
    "loss_batches: {int: [1, 3], when: {masks_per_step: 4}}, alpha: {choice: [0.5, 0.9]}}"
)


def test_every_point_of_a_finite_space_is_checked():
    study = _study(NESTED)
    every = list(points(study))
    assert len(every) == 2 * (1 + 5 + 3)
    assert _keyed(configurations_to_check(study)) == _keyed(configurations_to_plan(study)) == _keyed(every)


def test_one_bad_point_of_thousands_is_found():
    """It lies where nothing but the very combination is wrong: a draw of 500 misses it nine times in ten."""
    rare = "loss_batches: {choice: [1, -1], when: {masks_per_step: 37, steps: 41}}"
    study = _study(f"{{masks_per_step: {{int: [1, 60]}}, steps: {{int: [1, 60]}}, {rare}}}")
    assert sum(1 for _ in points(study)) == 60 * 60 + 1
    with pytest.raises(ValueError, match="loss_batches = -1"):
        check_settings(study)


def test_of_a_space_that_is_not_finite_every_value_end_and_pair_is_used():
    space = (
        "{alpha: {uniform: [0.5, 0.9]}, learning_rate: {loguniform: [0.1, 10]}, steps: {int: [2, 1000000]}, "
        "sampler: {choice: [multinomial, gumbel, tied]}}"
    )
    found = configurations_to_check(_study(space))
    options = {
        "alpha": [0.5, 0.9],
        "learning_rate": [0.1, 10.0],
        "steps": [2, 1000000],
        "sampler": ["multinomial", "gumbel", "tied"],
    }
    for first, second in combinations(options, 2):
        for one in options[first]:
            for other in options[second]:
                assert any(each[first] == one and each[second] == other for each in found)
    assert len(found) < 2 * 2 * 2 * 3


def test_values_that_only_meet_under_a_chain_of_conditions_are_used():
    space = (
        "{alpha: {uniform: [0.5, 0.9]}, masks_per_step: {int: [1, 1000000]}, "
        "sampler: {choice: [multinomial, gumbel], when: {masks_per_step: 777}}, "
        "loss_batches: {choice: [1, 2], when: {sampler: gumbel}}}"
    )
    found = covering_configurations(_study(space))
    assert {each.get("loss_batches") for each in found if each.get("sampler") == "gumbel"} == {1, 2}
    assert {each["masks_per_step"] for each in found} == {1, 777, 1000000}
    assert all(("sampler" in each) is (each["masks_per_step"] == 777) for each in found)


def test_a_wrong_value_behind_a_chain_of_conditions_is_found():
    space = (
        "{alpha: {uniform: [0.5, 0.9]}, masks_per_step: {int: [1, 1000000]}, "
        "loss_batches: {choice: [1, -3], when: {masks_per_step: 777}}}"
    )
    with pytest.raises(ValueError, match="loss_batches = -3"):
        check_settings(_study(space))


def test_with_too_many_pairs_every_value_and_condition_is_still_used(monkeypatch):
    monkeypatch.setattr(examples, "MOST_CHECKED", 10)
    found = configurations_to_check(_study(NESTED))
    assert {each["alpha"] for each in found} == {0.5, 0.9}
    assert {each.get("masks_per_step") for each in found} == {None, 1, 4, 6}
    assert {each.get("loss_batches") for each in found} == {None, 1, 3}


def test_methods_with_spaces_of_their_own_are_all_used():
    space = (
        "{alpha: {uniform: [0.5, 0.9], when: {method: maskpro}}, tau_init: {uniform: [1, 2], when: {method: maskllm}}}"
    )
    found = configurations_to_check(
        _study(space, "method={choice: [maskpro, maskllm]}", "pattern={choice: ['2:4', '1:4']}")
    )
    seen = {(each["method"], each["pattern"]) for each in found}
    assert seen == {(method, pattern) for method in ("maskpro", "maskllm") for pattern in ("2:4", "1:4")}
    assert {each.get("tau_init") for each in found} == {None, 1.0, 2.0}


@pytest.mark.parametrize("alpha", ["{uniform: [0.5, 0.99]}", "{choice: [0.5, 0.99]}"])
def test_a_baseline_inside_any_kind_of_space_is_found(alpha):
    """Its default alpha, 0.99, lies in the space, which has as many points as there are numbers, or two."""
    space = f"{{steps: {{int: [1, 1000000]}}, alpha: {alpha}}}"
    with pytest.raises(ValueError, match="maskpro 2:4 is a point of the search too"):
        check_settings(_study(space, "baselines=[maskpro]"))
    check_settings(_study(space, "baselines=[{method: maskpro, alpha: 0.4}]"))


def test_a_search_by_the_loss_of_training_has_one_objective():
    both, by_loss = "{objective: {choice: [next_token, distill]}}", "search.metric=train/loss"
    message = "search.metric = train/loss: trials with objective distill and next_token have losses that do not compare"
    with pytest.raises(ValueError, match=message):
        check_settings(_study(both, by_loss))
    check_settings(_study("{alpha: {choice: [0.5, 0.9]}}", by_loss, "fixed={objective: distill}"))
    check_settings(_study(both))


def test_points_that_are_tried_first_are_checked_as_well():
    space = "{alpha: {uniform: [0.5, 0.9]}, masks_per_step: {int: [1, 4]}}"
    point = "search={algorithm: random, samples: 5, initial_points: [{alpha: 0.7, masks_per_step: 3}]}"
    check_settings(_study(space, point))


def test_where_the_dry_run_fails_the_plan_stands_and_says_what_is_unknown(plan_of, monkeypatch):
    def fail(self, **_):
        raise RuntimeError("Expected inputs of BF16 type.\nmore")

    for name in ("forward", "evaluation"):
        monkeypatch.setattr(FakeTensorModel, name, fail)
    machine = Machine(
        device="cpu", device_count=1, cores=4, free_bytes=2**40, flops_per_second=1e9, copied_bytes_per_second=1e9
    )
    estimate = Estimate(plan_of(), machine)
    estimate.check()
    record = plan_record(estimate)
    (message,) = record["could not tell"]
    assert message.startswith("the activations and the time of a forward and an evaluation, counted as none: ")
    assert "the dry run failed (Expected inputs of BF16 type); --probe measures them" in message
    assert record["memory"]["weights"] > 0
    assert record["trials"] == plan_of().trials


def test_where_it_does_not_there_is_nothing_to_say(plan_of):
    machine = Machine(
        device="cpu", device_count=1, cores=4, free_bytes=2**40, flops_per_second=1e9, copied_bytes_per_second=1e9
    )
    record = plan_record(Estimate(plan_of(), machine))
    assert record["could not tell"] == []
    assert record["coverage"] == "prunes 100% of the decoder blocks' matrix weights"
