"""Results that the trials of one replica share are computed once, by one of them, while the others wait."""

import threading
import time

import pytest
import torch

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.sections import CalibrationSpec, EvaluationSpec


@pytest.fixture
def fresh(replica):
    return ReplicaContext(replica.frozen)


def _together(*calls):
    """Run calls in threads at the same time; return their results in order."""
    results = [None] * len(calls)

    def run(place, call):
        results[place] = call()

    threads = [threading.Thread(target=run, args=item, daemon=True) for item in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
        assert not thread.is_alive(), "deadlock"
    return results


def test_threads_that_ask_together_get_one_value(fresh):
    calls = []

    def compute():
        calls.append(threading.get_ident())
        time.sleep(0.05)
        return object()

    results = _together(*[lambda: fresh.get_or_compute("key", compute)] * 8)
    assert len(calls) == 1
    assert all(result is results[0] for result in results)
    assert fresh.get_or_compute("other", compute) is not results[0]


def test_none_is_a_value(fresh):
    calls = []
    for _ in range(3):
        assert fresh.get_or_compute("key", lambda: calls.append(1)) is None
    assert calls == [1]


def test_a_failure_is_raised_to_the_caller_and_not_remembered(fresh):
    def fail():
        raise OSError("disk")

    for _ in range(2):
        with pytest.raises(OSError, match="disk"):
            fresh.get_or_compute("key", fail)
    assert fresh.get_or_compute("key", lambda: 3) == 3


def test_a_thread_that_waited_for_a_failure_tries_again(fresh):
    attempts = []

    def first_fails():
        attempts.append(1)
        time.sleep(0.05)
        if len(attempts) == 1:
            raise OSError("disk")
        return "value"

    def ask():
        try:
            return fresh.get_or_compute("key", first_fails)
        except OSError:
            return "failed"

    assert sorted(_together(*[ask] * 4)) == ["failed", "value", "value", "value"]
    assert len(attempts) == 2


def test_different_keys_do_not_wait_for_each_other(fresh):
    """Each computation ends only after the other has begun."""
    begun = {"a": threading.Event(), "b": threading.Event()}

    def compute(mine, other):
        begun[mine].set()
        assert begun[other].wait(timeout=10)
        return mine

    asked = [
        lambda: fresh.get_or_compute("a", lambda: compute("a", "b")),
        lambda: fresh.get_or_compute("b", lambda: compute("b", "a")),
    ]
    assert _together(*asked) == ["a", "b"]


def test_a_computation_may_ask_for_another(fresh):
    assert fresh.get_or_compute("outer", lambda: fresh.get_or_compute("inner", lambda: 2) + 1) == 3


def test_calibration_text_is_read_once_for_each_way_of_cutting_it(fresh, text_file):
    def spec(**changes):
        return CalibrationSpec(source=str(text_file), samples=4, sequence_length=16, batch_size=2, **changes)

    assert fresh.calibration(spec()) is fresh.calibration(spec())
    assert fresh.calibration(spec(seed=1)) is not fresh.calibration(spec())
    assert [tuple(batch.shape) for batch in fresh.calibration(spec())] == [(2, 16), (2, 16)]


def test_evaluation_text_is_shared_by_all_batch_sizes_and_perplexities(fresh, text_file):
    def spec(**changes):
        return EvaluationSpec(source=str(text_file), sequence_length=16, **changes)

    windows = fresh.held_out(spec())
    assert fresh.held_out(spec(batch_size=7, perplexity="word")) is windows
    few = fresh.held_out(spec(windows=2))
    assert torch.equal(few.tokens, windows.tokens[:2])
    assert windows.tokens.shape[1] == 17
