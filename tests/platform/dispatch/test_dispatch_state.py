"""The dispatcher's state by plain calls: leases, epochs, lost replicas, cancellation."""

import pytest
from dispatchers import DONE, FACTS, SPEC, Replica, dispatcher_with, drained, drained_events, new_dispatcher, point

from nmlab.platform.dispatch.messages import GivenUp, Message, Receipt, ReplicaProcess, TrialUpdate
from nmlab.platform.records.events import TrialMetrics, WeightsChecked

LATER = 100.0  # when every back-off is over


def test_jobs_are_taken_in_the_order_of_their_submission():
    _, a = dispatcher_with("x", "y")
    assert [a.take().key for _ in range(2)] == ["x", "y"]
    assert a.take() is None


def test_a_lease_carries_the_specification():
    _, a = dispatcher_with("x")
    assert a.take().spec == {**SPEC, "key": "x"}


@pytest.mark.parametrize(("replica", "incarnation"), [("a", 0), ("b", 1)])
def test_a_replica_that_is_not_introduced_gets_nothing(replica, incarnation):
    dispatcher, a = dispatcher_with("x")
    process = ReplicaProcess(replica, incarnation)
    nothing = {"generation": dispatcher.generation, "running": [], "messages": []}
    assert dispatcher.take(process, slot=0, last_epoch=0, now=0.0) is None
    assert dispatcher.receive(process, **nothing, now=0.0) == GivenUp()
    assert a.take().key == "x"


def test_a_slot_that_never_got_its_lease_is_given_the_same_one_again():
    _, a = dispatcher_with("x", "y")
    lost = a.take(slot=0)
    again = a.take(slot=0)
    assert (again.key, again.epoch) == (lost.key, lost.epoch) == ("x", lost.epoch)
    assert a.take(slot=0, last_epoch=again.epoch).key == "y", "a slot that has done its lease wants another"


def test_the_stream_holds_everything_in_order_until_it_is_acknowledged():
    dispatcher = new_dispatcher(max_failures=0)
    a = Replica(dispatcher, "a")
    dispatcher.submit("x", SPEC)
    job = a.take()
    a.push(job, point(1), point(2))
    a.finish(job)
    a.leave()
    everything = ["replica", "trial", "leased", "metrics", "metrics", "ended", "replica left"]
    for _ in range(2):
        records = dispatcher.drain(0).records
        assert [logged.record.event for logged in records] == everything
    assert [logged.record.step for logged in records if logged.record.event == "metrics"] == [1, 2]
    assert [logged.record.event for logged in dispatcher.drain(records[3].sequence).records] == everything[4:]
    assert dispatcher.drain(records[-1].sequence) is None


def test_a_message_is_confirmed_once_the_driver_has_journaled_it():
    dispatcher, a = dispatcher_with("x")
    job = a.take()
    drained(dispatcher)
    a.push(job, point(1), point(2))
    assert a.send().confirmed == 0
    first = dispatcher.drain(0).records[0].sequence
    dispatcher.drain(first)
    assert (a.send().received, a.send().confirmed) == (2, 1)
    dispatcher.drain(first + 1)
    assert a.send().confirmed == 2


def test_a_message_that_comes_twice_is_received_once():
    dispatcher, a = dispatcher_with("x")
    job = a.take()
    message = a.message(job, TrialMetrics, **point(1))
    for _ in range(2):
        a.send(message)
    assert drained_events(dispatcher, "metrics") == ["metrics"]


def test_a_message_of_a_lease_that_is_over_is_confirmed_and_dropped():
    dispatcher, a = dispatcher_with("x")
    job = a.take()
    a.finish(job)
    drained(dispatcher)
    a.push(job, point(9))
    assert drained(dispatcher) == []
    assert a.send().confirmed == a.number


def test_a_trial_actor_gets_evaluations_and_the_result():
    """Tune receives evaluations only; losses of every step would wake it for nothing."""
    dispatcher, a = dispatcher_with("x")
    job = a.take()
    a.push(job, point(1), point(1, "eval/perplexity"))
    first = dispatcher.pull("x", -1)
    assert [p.values for p in first.points] == [{"eval/perplexity": 1.0}]
    assert first.ended is None
    a.finish(job)
    drained(dispatcher)
    assert dispatcher.pull("x", 1) == TrialUpdate([], {**DONE, "key": "x"}, times_leased=1)


def test_evaluations_are_read_from_any_step_and_hold_each_step_once():
    """A trial actor that was lost reads from the first step; a trial that was moved repeats its points."""
    dispatcher, a = dispatcher_with("x")
    job = a.take()
    a.push(job, *(point(step, "eval/perplexity") for step in (1, 2, 1, 2, 3)))
    assert [p.step for p in dispatcher.pull("x", -1).points] == [1, 2, 3]
    assert [p.step for p in dispatcher.pull("x", 2).points] == [3]


def test_tune_receives_an_end_only_when_it_is_journaled():
    """Otherwise it could be lost with the dispatcher, and the trial would never run again."""
    dispatcher, a = dispatcher_with("x")
    a.finish(a.take())
    assert dispatcher.pull("x", -1).ended is None
    drained(dispatcher)
    assert dispatcher.pull("x", -1).ended["status"] == "finished"


def test_tune_does_not_receive_the_evaluation_at_the_start():
    dispatcher, a = dispatcher_with("x")
    a.push(a.take(), point(0, "initial/perplexity"), point(4, "eval/perplexity"))
    assert [p.step for p in dispatcher.pull("x", -1).points] == [4]
    assert [record.step for record in drained(dispatcher, "metrics")] == [0, 4]


def test_the_last_evaluation_is_left_to_the_result():
    """A scheduler that saw it before the trial has ended would stop a trial that is complete."""
    dispatcher, a = dispatcher_with("x")
    job = a.take()
    last = {"step": 5, "time": 0, "values": {"eval/perplexity": 1.0, "cost/forwards": 5.0}}
    a.push(job, last)
    assert dispatcher.pull("x", -1).points == []
    assert [record.values for record in drained(dispatcher, "metrics")] == [last["values"]]


def test_messages_of_an_older_epoch_are_dropped():
    dispatcher, a, b = dispatcher_with("x", replicas=("a", "b"))
    old = a.take()
    a = Replica(dispatcher, "a", 2, now=1.0)
    new = b.take(now=2.0)
    assert new.epoch > old.epoch
    drained(dispatcher)
    assert a.push(old, point(3)) is False
    a.finish(old)
    assert drained(dispatcher) == []
    assert b.push(new, point(3)) is True
    b.finish(new)
    assert drained_events(dispatcher) == ["metrics", "ended"]


def test_messages_after_the_end_are_dropped():
    dispatcher, a = dispatcher_with("x")
    job = a.take()
    a.finish(job)
    drained(dispatcher)
    assert a.push(job, point(9)) is False
    a.finish(job, status="failed")
    assert drained(dispatcher) == []


def test_a_job_of_a_lost_replica_goes_to_the_front_of_the_queue():
    dispatcher, a, b = dispatcher_with("x", "y", "z", replicas=("a", "b"))
    a.take()
    a.leave()
    assert [b.take(now=10.0).key for _ in range(3)] == ["x", "y", "z"]
    assert drained_events(dispatcher, "replica left", "replica lost") == ["replica left"]


def test_a_job_waits_longer_with_each_replica_it_loses():
    dispatcher, *_ = dispatcher_with("x", max_failures=10)
    waited, now = [], 0.0
    for incarnation in range(1, 9):
        a = Replica(dispatcher, "a", incarnation + 1, now=now)
        start = now
        while (job := a.take(now=now)) is None:
            now += 0.25
            a.send(now=now)
        assert job.key == "x"
        waited.append(now - start)
    assert waited == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]


def test_a_job_that_waits_out_its_back_off_lets_others_pass():
    _, a, b = dispatcher_with("x", "y", replicas=("a", "b"))
    a.take()
    a.leave()
    assert b.take(now=0.1).key == "y"
    assert b.take(now=0.1) is None
    assert b.take(now=0.5).key == "x"


def test_a_replica_that_comes_back_runs_the_trials_of_its_predecessor():
    dispatcher, old = dispatcher_with("x")
    job = old.take()
    new = Replica(dispatcher, "a", 2, now=1.0)
    assert old.send() == GivenUp()
    assert isinstance(new.send(), Receipt)
    assert old.take(now=5.0) is None
    assert new.push(job, point(1)) is False
    assert new.take(now=5.0).key == "x"
    assert [record.attempt for record in drained(dispatcher, "leased")] == [1, 2]


def test_a_predecessor_that_comes_late_changes_nothing():
    dispatcher, old = dispatcher_with("x")
    new = Replica(dispatcher, "a", 2, now=1.0)
    job = new.take(now=1.0)
    old.leave()
    dispatcher.lose(ReplicaProcess("a", 1), "died", now=1.0)
    dispatcher.introduce(ReplicaProcess("a", 1), FACTS, [], now=1.0)
    assert old.send(now=1.0) == GivenUp()
    assert new.push(job, point(1), now=1.0) is True


def test_a_replica_that_introduces_itself_twice_keeps_its_lease():
    """The dispatcher's first answer may be lost."""
    dispatcher, a = dispatcher_with("x")
    job = a.take()
    dispatcher.introduce(ReplicaProcess("a", 1), FACTS, [], now=0.0)
    assert a.push(job, point(1)) is True
    assert drained_events(dispatcher, "replica", "replica lost") == []


def test_a_silent_replica_is_given_up_and_one_that_sends_heartbeats_is_not():
    dispatcher, a, b = dispatcher_with("x", "y", replicas=("a", "b"))
    silent, alive = a.take(), b.take()
    b.send(now=15.0)
    dispatcher.expire(now=15.0)
    assert drained_events(dispatcher, "replica lost") == []
    dispatcher.expire(now=16.0)
    assert [(r.host, r.reason) for r in drained(dispatcher, "replica lost")] == [("a", "was silent for 15 s")]
    assert a.push(silent, point(1), now=17.0) is False
    assert b.push(alive, point(1), now=17.0) is True
    assert a.send(now=17.0) == GivenUp()


def test_a_job_that_loses_its_replica_too_often_fails_with_the_last_reason():
    dispatcher, a = dispatcher_with("x", max_failures=2)
    for incarnation in range(2, 5):
        assert a.take(now=LATER * incarnation).key == "x"
        dispatcher.lose(ReplicaProcess("a", incarnation - 1), "died", now=LATER * incarnation)
        a = Replica(dispatcher, "a", incarnation, now=LATER * (incarnation + 1))
    (ended,) = drained(dispatcher, "ended")
    assert ended.result["status"] == "failed"
    assert ended.result["reason"] == "its replica was lost 3 times; the last one, a, died"
    assert a.take(now=LATER * 6) is None


def test_a_cancelled_job_in_the_queue_ends_at_once():
    dispatcher, a = dispatcher_with("x", "y")
    dispatcher.cancel("x")
    (ended,) = drained(dispatcher, "ended")
    assert (ended.key, ended.result["status"]) == ("x", "stopped")
    assert a.take().key == "y"
    dispatcher.cancel("x")
    assert drained_events(dispatcher, "ended") == []


def test_a_cancelled_job_that_runs_is_stopped_and_ends_with_its_own_result():
    dispatcher, a = dispatcher_with("x")
    job = a.take()
    running = [("x", job.epoch)]
    assert a.send(running=running).cancelled == []
    dispatcher.cancel("x")
    assert drained_events(dispatcher, "ended") == []
    assert a.send(running=running).cancelled == [job.epoch]
    assert a.push(job, point(4)) is False
    a.finish(job, status="stopped")
    assert drained_events(dispatcher, "metrics", "ended") == ["metrics", "ended"]


def test_a_cancelled_job_whose_replica_is_lost_is_stopped_rather_than_run_again():
    dispatcher, a = dispatcher_with("x")
    a.take()
    dispatcher.cancel("x")
    a = Replica(dispatcher, "a", 2, now=1.0)
    assert [record.result["status"] for record in drained(dispatcher, "ended")] == ["stopped"]
    assert a.take(now=9.0) is None


def test_cancelling_an_unknown_or_ended_job_changes_nothing():
    dispatcher, a = dispatcher_with("x")
    a.finish(a.take())
    drained(dispatcher)
    dispatcher.cancel("x")
    dispatcher.cancel("unknown")
    assert drained(dispatcher) == []
    assert dispatcher.pull("x", -1).ended["status"] == "finished"


@pytest.mark.parametrize("taken", [False, True])
def test_submitting_a_job_again_before_it_has_ended_changes_nothing(taken):
    dispatcher, a = dispatcher_with("x")
    job = a.take() if taken else None
    dispatcher.submit("x", SPEC)
    assert drained_events(dispatcher, "trial") == []
    if job is not None:
        assert a.push(job, point(1)) is True
    else:
        assert a.take().key == "x"
    assert a.take() is None


@pytest.mark.parametrize("status", ["finished", "diverged", "failed"])
def test_a_lost_trial_actor_that_submits_again_finds_the_result(status):
    """Tune starts another actor for the same trial; the work is not done twice."""
    dispatcher, a = dispatcher_with("x")
    a.finish(a.take(), status=status)
    drained(dispatcher)
    dispatcher.submit("x", SPEC)
    assert drained(dispatcher) == []
    assert a.take() is None
    assert dispatcher.pull("x", -1).ended["status"] == status


def test_a_job_that_was_stopped_is_not_run_again_for_an_actor_that_comes_late():
    """Tune may start an actor for a trial that another runs to its end before the first is up."""
    dispatcher, a = dispatcher_with("x")
    job = a.take()
    dispatcher.cancel("x")
    a.finish(job, status="stopped")
    dispatcher.submit("x", SPEC)
    assert a.take() is None
    assert [record.result["status"] for record in drained(dispatcher, "ended")] == ["stopped"]


def test_a_job_that_was_cancelled_before_it_is_known_ends_at_once():
    dispatcher, a = dispatcher_with()
    dispatcher.cancel("x")
    dispatcher.submit("x", SPEC)
    (ended,) = drained(dispatcher, "ended")
    assert ended.result["status"] == "stopped"
    assert a.take() is None


def test_a_message_of_a_replica_itself_is_passed_on():
    dispatcher, a = dispatcher_with()
    a.send(Message(1, WeightsChecked(unchanged=False, host="a")))
    (record,) = drained(dispatcher)
    assert (record.event, record.host, record.unchanged) == ("verified", "a", False)


def test_a_dispatcher_that_stops_leases_nothing_and_says_so():
    dispatcher, a = dispatcher_with("x")
    assert a.send().stopping is False
    dispatcher.stopping = True
    assert a.send().stopping is True
    assert a.take() is None
