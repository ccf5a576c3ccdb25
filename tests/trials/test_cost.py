"""One account for every method, which goes on after a checkpoint; and what counts as lack of memory."""

import time

import pytest
import torch

from nmlab.trials.cost import Cost
from nmlab.trials.errors import DivergedError, is_out_of_memory

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


def test_the_account_bears_the_names_of_the_contract():
    cost = Cost(backwards=4, trainable_params=100)
    for _ in range(3):
        cost.count_forward(32)
    cost.seconds.update({"total": 6.0, "sample": 1.0, "forward": 4.0})
    assert cost.metrics(steps=2) == {
        "cost/forwards": 3.0,
        "cost/backwards": 4.0,
        "cost/tokens": 96.0,
        "cost/seconds": 6.0,
        "cost/trainable_params": 100.0,
        "time/step_s": 3.0,
        "time/sample_s": 0.5,
        "time/forward_s": 2.0,
    }
    assert cost.metrics(steps=0)["time/step_s"] == 6.0  # a method without steps: all of it


def test_a_restored_account_goes_on_counting():
    first = Cost(forwards=3, backwards=1, tokens=96)
    first.seconds.update({"total": 2.0, "sample": 0.5})
    second = Cost(trainable_params=7)
    second.seconds["total"] = 0.1  # spent on getting ready again
    second.restore(first.state())
    second.count_forward(4)
    assert (second.forwards, second.backwards, second.tokens, second.trainable_params) == (4, 1, 100, 7)
    assert dict(second.seconds) == {"total": 2.0, "sample": 0.5}


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
