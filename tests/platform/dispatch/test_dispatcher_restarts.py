"""A restarted dispatcher, by plain calls: what others report to it, and what it does then."""

import pytest
from dispatchers import DONE, SPEC, Replica, dispatcher_with, drained, drained_events, new_dispatcher, point

from nmlab.platform.dispatch.messages import Claim, Lease, MustIntroduce, ReplicaProcess
from nmlab.platform.dispatch.state import RETURN_SECONDS, DispatchState
from nmlab.platform.records.events import TrialMetrics


def claim(job, *evaluations):
    return Claim(job, tuple(TrialMetrics(key=job.key, **point) for point in evaluations))


def test_a_restarted_dispatcher_leaves_a_trial_with_the_replica_that_runs_it():
    _, old = dispatcher_with("x")
    job = old.take()
    dispatcher = new_dispatcher(generation=200, replicas={"a": 1})
    dispatcher.submit("x", SPEC)
    assert old.dispatcher.generation != dispatcher.generation
    late = {"generation": 100, "running": [], "messages": []}
    assert dispatcher.receive(ReplicaProcess("a", 1), **late, now=0.0) == MustIntroduce()
    a = Replica(dispatcher, "a", claims=[claim(job, point(2, "eval/perplexity"))])
    assert a.push(job, point(3)) is True
    assert a.take() is None, "it is not leased again"
    assert [p.step for p in dispatcher.pull("x", -1).points] == [2]
    a.finish(job)
    assert drained_events(dispatcher) == ["trial", "replica", "leased", "metrics", "ended"]


def test_a_restarted_dispatcher_learns_of_a_trial_from_its_replica_too():
    _, old = dispatcher_with("x")
    job = old.take()
    dispatcher = new_dispatcher(generation=200)
    assert dispatcher.pull("x", -1) is None
    a = Replica(dispatcher, "a", claims=[claim(job)])
    dispatcher.submit("x", SPEC)
    a.finish(job)
    drained(dispatcher)
    assert dispatcher.pull("x", -1).ended["status"] == "finished"


def test_a_restarted_dispatcher_waits_for_the_replicas_that_the_driver_knows():
    dispatcher = new_dispatcher(generation=200, replicas={"a": 1, "b": 1})
    dispatcher.submit("x", SPEC)
    a = Replica(dispatcher, "a")
    assert a.take() is None, "b may be running it"
    Replica(dispatcher, "b")
    assert a.take().key == "x"


def test_a_restarted_dispatcher_does_not_wait_for_ever():
    dispatcher = new_dispatcher(generation=200, replicas={"a": 1, "b": 1})
    dispatcher.submit("x", SPEC)
    a = Replica(dispatcher, "a")
    assert a.take(now=RETURN_SECONDS) is None
    assert a.take(now=RETURN_SECONDS + 0.1).key == "x"
    (lost,) = drained(dispatcher, "replica lost")
    assert (lost.host, lost.reason) == ("b", "did not come back to a restarted dispatcher")


def test_a_dispatcher_leases_nothing_before_it_was_opened():
    dispatcher = DispatchState(max_failures=0, generation=1)
    dispatcher.submit("x", SPEC)
    a = Replica(dispatcher, "a")
    assert a.take() is None
    dispatcher.open({}, {}, [], now=0.0)
    assert a.take().key == "x"


def test_a_claim_that_comes_too_late_is_refused():
    """Its trial went to another replica; messages of the late one about it are dropped."""
    _, old = dispatcher_with("x")
    job = old.take()
    dispatcher = new_dispatcher(generation=200)
    b = Replica(dispatcher, "b")
    dispatcher.submit("x", SPEC)
    new = b.take()
    drained(dispatcher)
    a = Replica(dispatcher, "a", claims=[claim(job)])
    assert a.push(job, point(1)) is False
    a.finish(job)
    assert b.push(new, point(1)) is True
    assert new.epoch != job.epoch
    assert [(r.event, r.host) for r in drained(dispatcher)] == [("replica", "a"), ("metrics", "b")]


def test_an_older_claim_is_refused_though_the_newer_holder_is_lost():
    """What the newer one reported stands, so the older one must not go on from before it."""
    _, old = dispatcher_with("x")
    job = old.take()
    dispatcher = new_dispatcher(generation=200)
    b = Replica(dispatcher, "b")
    dispatcher.submit("x", SPEC)
    new = b.take()
    b.push(new, point(1))
    dispatcher.lose(b.process, "died", now=0.0)
    a = Replica(dispatcher, "a", claims=[claim(job)])
    assert a.push(job, point(1)) is False
    again = a.take(now=60.0)
    assert (again.key, again.epoch > new.epoch) == ("x", True)
    assert [record.epoch for record in drained(dispatcher, "leased")] == [new.epoch, again.epoch]


def test_a_claim_is_compared_with_leases_of_dispatchers_in_between():
    """The driver tells the third dispatcher which lease of the second was the newest."""
    _, old = dispatcher_with("x")
    job = old.take()
    second = new_dispatcher(generation=200)
    b = Replica(second, "b")
    second.submit("x", SPEC)
    new = b.take()
    third = new_dispatcher(generation=300, leased={"x": new.epoch})
    a = Replica(third, "a", claims=[claim(job)])
    assert a.push(job, point(1)) is False
    b = Replica(third, "b", claims=[claim(new)])
    assert b.push(new, point(1)) is True


def test_epochs_grow_though_the_clock_was_set_back():
    dispatcher = new_dispatcher(generation=200, leased={"x": 900})
    a = Replica(dispatcher, "a")
    dispatcher.submit("x", SPEC)
    assert a.take().epoch > 900


def test_a_restarted_dispatcher_runs_nothing_again_that_the_driver_knows_as_ended():
    _, old = dispatcher_with("x")
    job = old.take()
    dispatcher = new_dispatcher(generation=200, ended={"x": {**DONE, "key": "x"}})
    dispatcher.submit("x", SPEC)
    a = Replica(dispatcher, "a", claims=[claim(job)])
    assert a.take() is None
    a.finish(job)
    assert drained_events(dispatcher) == ["replica"]
    assert dispatcher.pull("x", -1).ended["status"] == "finished"


@pytest.mark.parametrize("when", ["before the dispatcher died", "since"])
def test_a_trial_cancelled_before_its_replica_is_back_is_stopped(when):
    _, old = dispatcher_with("x")
    job = old.take()
    dispatcher = new_dispatcher(generation=200, cancelled=["x"] if when == "before the dispatcher died" else [])
    if when == "since":
        dispatcher.cancel("x")
    a = Replica(dispatcher, "a", claims=[claim(job)])
    assert a.push(job, point(1)) is False


def test_attempts_are_counted_on_under_a_restarted_dispatcher():
    """A trial that kills its replicas must not be run for ever because the dispatcher dies too."""
    dispatcher = new_dispatcher(generation=200, max_failures=2)
    dispatcher.submit("x", SPEC, 2)
    a = Replica(dispatcher, "a")
    assert a.take().times_leased == 3
    dispatcher.lose(ReplicaProcess("a", 1), "died", now=0.0)
    assert [record.result["status"] for record in drained(dispatcher, "ended")] == ["failed"]


def test_epochs_of_a_restarted_dispatcher_are_above_those_of_all_claims():
    """Whatever the clocks of two machines show."""
    dispatcher = new_dispatcher(generation=200)
    a = Replica(dispatcher, "a", claims=[Claim(Lease("x", 900, SPEC, times_leased=1))])
    dispatcher.submit("y", SPEC)
    assert a.take().epoch > 900
