"""The account of cost, the same for every method, which continues after a checkpoint; and lack of memory."""

import json
import time

import pytest
import torch

from nmlab.trials.contract.errors import DivergedError
from nmlab.trials.measure.cost import Bill, Cost
from nmlab.trials.measure.out_of_memory import is_out_of_memory

CPU = torch.device("cpu")


def test_phases_add_up_their_wall_time():
    cost = Cost()
    for _ in range(3):
        with cost.phase("forward", device=CPU):
            time.sleep(0.01)
    assert 0.03 <= cost.seconds["forward"] < 1


def test_a_phase_that_fails_is_paid_for():
    cost = Cost()

    def fail():
        with cost.phase("forward", device=CPU):
            time.sleep(0.01)
            raise DivergedError

    with pytest.raises(DivergedError):
        fail()
    assert cost.seconds["forward"] >= 0.01


def test_the_account_has_the_names_of_the_contract():
    cost = Cost(backwards=4, trainable_params=100)
    for _ in range(3):
        cost.count_forward(32)
    cost.seconds.update({"total": 6.0, "sample": 1.0, "forward": 4.0})
    nothing = {f"cost/initial_{name}": 0.0 for name in ("forwards", "backwards", "tokens", "seconds")}
    assert cost.metrics(steps=2) == {
        "cost/forwards": 3.0,
        "cost/backwards": 4.0,
        "cost/tokens": 96.0,
        "cost/seconds": 6.0,
        **nothing,
        "cost/spent_forwards": 3.0,
        "cost/spent_backwards": 4.0,
        "cost/spent_tokens": 96.0,
        "cost/spent_seconds": 6.0,
        "cost/trainable_params": 100.0,
        "time/step_s": 3.0,
        "time/sample_s": 0.5,
        "time/forward_s": 2.0,
    }
    assert cost.metrics(steps=0)["time/step_s"] == 6.0  # a method without steps: all of it


def test_shared_results_are_charged_and_not_spent():
    cost = Cost(forwards=2, tokens=10)
    cost.charge(Bill(5, 1, 50, 3.0), shared=Bill(4, 1, 40, 2.0), initial=True)
    cost.charge(Bill(1, 0, 10, 0.5), shared=Bill(), initial=False)
    assert cost.bill == Bill(8, 1, 70, 3.5)
    assert cost.initial == Bill(5, 1, 50, 3.0)
    assert cost.spent == Bill(4, 0, 30, 1.5)


def test_the_time_of_a_step_excludes_the_start():
    cost = Cost()
    cost.seconds["total"] = 5.0
    cost.start_ended()
    cost.seconds["total"] += 2.0
    assert cost.metrics(steps=4)["time/step_s"] == 0.5
    assert cost.metrics(steps=4)["cost/seconds"] == 7.0


def test_a_pause_is_not_on_the_watch():
    cost = Cost()
    with cost.watch():
        time.sleep(0.01)
        with cost.pause():
            time.sleep(0.2)
    with cost.watch():
        time.sleep(0.01)
    assert 0.02 <= cost.seconds["total"] < 0.15


def test_a_restored_account_goes_on_counting():
    first = Cost(forwards=3, backwards=1, tokens=96)
    first.seconds.update({"total": 2.0, "sample": 0.5})
    first.start_ended()
    first.charge(Bill(1, 0, 4, 1.0), shared=Bill(1, 0, 4, 1.0), initial=True)
    second = Cost(trainable_params=7)
    second.charge(Bill(1, 0, 4, 9.0), shared=Bill(), initial=True)  # spent on getting ready again
    second.restore(json.loads(json.dumps(first.state())))
    assert (second.bill, second.initial, second.spent) == (first.bill, first.initial, first.spent)
    assert second.start_seconds == 2.0
    second.count_forward(4)
    assert (second.forwards, second.backwards, second.tokens, second.trainable_params) == (5, 1, 104, 7)
    assert dict(second.seconds) == {"total": 3.0, "sample": 0.5}


def _exhaust():
    try:
        torch.empty(2**60)
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (_exhaust(), True),
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("shape mismatch"), False),
        (ValueError("memory"), False),
    ],
)
def test_lack_of_memory_is_recognised(error, expected):
    assert is_out_of_memory(error) is expected
