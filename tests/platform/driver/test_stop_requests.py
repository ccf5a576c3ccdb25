"""What ends a sweep early is noted, whichever thread says it, and the sweep's thread reads it."""

import os
import signal

import pytest

from nmlab.platform.driver.stop_requests import StopRequests


@pytest.fixture
def stop():
    return StopRequests(resume="nmlab resume x", exits=False)


def test_nothing_is_asked_for_at_first(stop):
    assert not stop.is_interrupted()
    assert not stop.is_shutting_down
    assert stop.head_loss == ""
    assert not stop.is_saving()


def test_a_signal_is_noted_and_passed_on_before_it_interrupts(stop):
    called = []
    stop.connect(on_interrupt=lambda: called.append(stop.is_interrupted()), is_saving=lambda: True)
    with pytest.raises(KeyboardInterrupt), stop.shutdown:
        os.kill(os.getpid(), signal.SIGTERM)
    assert called == [True]
    assert stop.is_interrupted()
    assert stop.is_shutting_down
    assert stop.is_saving()


def test_a_signal_before_anything_runs_reaches_what_runs_later(stop):
    called = []
    with pytest.raises(KeyboardInterrupt), stop.shutdown:
        os.kill(os.getpid(), signal.SIGINT)
    stop.connect(on_interrupt=lambda: called.append(1), is_saving=lambda: False)
    assert called == [1]


def test_a_lost_head_says_what_to_do_and_leaves_nothing_to_wait_for(stop):
    stop.connect(on_interrupt=lambda: None, is_saving=lambda: True)
    stop.lose_head("the head is gone")
    assert stop.head_loss == "the head is gone; nothing that is recorded is lost, go on with: nmlab resume x"
    assert stop.is_shutting_down
    assert not stop.is_saving()
    assert not stop.is_interrupted()
