"""The hub's book-keeping by plain calls: leases, epochs, lost replicas, cancellation."""

import pytest

from nmlab.platform.hub import HubState

FACTS = {"slots": 1}
SPEC = {"method": "maskpro"}
DONE = {"status": "finished", "step": 5, "metrics": {"eval/perplexity": 2.0}, "reason": ""}


def hub_with(*jobs, hosts=("a",), max_failures=3):
    """Return a hub with replicas registered at time 0 and jobs queued, its stream drained."""
    hub = HubState(max_failures=max_failures)
    for host in hosts:
        hub.register(host, f"{host}1", FACTS, now=0.0)
    for key in jobs:
        hub.submit(key, {**SPEC, "key": key})
    hub.drain()
    return hub


def point(step, name="train/loss"):
    return {"step": step, "time": 0, "values": {name: 1.0}}


def finish(hub, job, status="finished"):
    hub.finish(job["key"], job["epoch"], {**DONE, "key": job["key"], "status": status})


def events(hub, *names):
    """Drain the hub and return its records of the given kinds."""
    return [record for record in hub.drain() if not names or record["event"] in names]


def test_jobs_are_taken_in_the_order_of_their_submission():
    hub = hub_with("x", "y")
    assert [hub.take("a", "a1")["key"] for _ in range(2)] == ["x", "y"]
    assert hub.take("a", "a1") is None


def test_a_lease_carries_the_specification():
    hub = hub_with("x")
    assert hub.take("a", "a1")["spec"] == {**SPEC, "key": "x"}


@pytest.mark.parametrize(("host", "incarnation"), [("a", "a0"), ("b", "b1")])
def test_a_replica_that_is_not_registered_gets_nothing(host, incarnation):
    hub = hub_with("x")
    assert hub.take(host, incarnation) is None
    assert hub.take("a", "a1")["key"] == "x"


def test_the_stream_tells_everything_in_order():
    hub = HubState(max_failures=0)
    hub.register("a", "a1", FACTS, now=0.0)
    hub.submit("x", SPEC)
    job = hub.take("a", "a1")
    hub.push("x", job["epoch"], [point(1), point(2)])
    finish(hub, job)
    hub.leave("a", "a1")
    told = hub.drain()
    assert [record["event"] for record in told] == [
        "replica",
        "trial",
        "leased",
        "metrics",
        "metrics",
        "ended",
        "replica left",
    ]
    assert [record["step"] for record in told if record["event"] == "metrics"] == [1, 2]
    assert hub.drain() == []


def test_evaluations_and_result_go_to_the_trials_mailbox():
    """Tune hears of evaluations only; losses of every step would wake it for nothing."""
    hub = hub_with("x")
    job = hub.take("a", "a1")
    hub.push("x", job["epoch"], [point(1), point(1, "eval/perplexity")])
    first = hub.pull("x")
    assert [p["values"] for p in first["points"]] == [{"eval/perplexity": 1.0}]
    assert first["ended"] is None
    finish(hub, job)
    assert hub.pull("x") == {"points": [], "ended": {**DONE, "key": "x"}}


def test_the_last_evaluation_is_left_to_the_result():
    """A scheduler that saw it before the trial has ended would stop a trial that is complete."""
    hub = hub_with("x")
    job = hub.take("a", "a1")
    last = {"step": 5, "time": 0, "values": {"eval/perplexity": 1.0, "cost/forwards": 5.0}}
    hub.push("x", job["epoch"], [last])
    assert hub.pull("x")["points"] == []
    assert [record["values"] for record in events(hub, "metrics")] == [last["values"]]


def test_words_of_an_older_epoch_are_dropped():
    hub = hub_with("x", hosts=("a", "b"))
    old = hub.take("a", "a1")
    hub.leave("a", "a1")
    new = hub.take("b", "b1")
    assert new["epoch"] > old["epoch"]
    hub.drain()
    assert hub.push("x", old["epoch"], [point(3)]) is False
    finish(hub, old)
    assert hub.drain() == []
    assert hub.push("x", new["epoch"], [point(3)]) is True
    finish(hub, new)
    assert [record["event"] for record in hub.drain()] == ["metrics", "ended"]


def test_words_after_the_end_are_dropped():
    hub = hub_with("x")
    job = hub.take("a", "a1")
    finish(hub, job)
    hub.drain()
    assert hub.push("x", job["epoch"], [point(9)]) is False
    finish(hub, job, status="failed")
    assert hub.drain() == []


def test_a_job_of_a_lost_replica_goes_to_the_front_of_the_queue():
    hub = hub_with("x", "y", "z", hosts=("a", "b"))
    hub.take("a", "a1")
    hub.leave("a", "a1")
    assert [hub.take("b", "b1")["key"] for _ in range(3)] == ["x", "y", "z"]


def test_a_replica_that_comes_back_takes_up_what_its_predecessor_left():
    hub = hub_with("x")
    old = hub.take("a", "a1")
    hub.register("a", "a2", FACTS, now=1.0)
    assert hub.heartbeat("a", "a1", now=1.0) is None
    assert hub.heartbeat("a", "a2", now=1.0) == []
    assert hub.take("a", "a1") is None
    assert hub.push("x", old["epoch"], [point(1)]) is False
    again = hub.take("a", "a2")
    assert again["key"] == "x"
    assert [record["attempt"] for record in events(hub, "leased")] == [1, 2]


def test_a_late_goodbye_of_a_predecessor_changes_nothing():
    hub = hub_with("x")
    hub.register("a", "a2", FACTS, now=1.0)
    job = hub.take("a", "a2")
    hub.leave("a", "a1")
    assert hub.push("x", job["epoch"], [point(1)]) is True


def test_loads_are_counted_over_incarnations():
    hub = hub_with(hosts=("a", "b"))
    hub.register("a", "a2", FACTS, now=1.0)
    assert hub.loads == {"a": 2, "b": 1}
    assert [(record["host"], record["loads"]) for record in events(hub, "replica")] == [("a", 2)]
    assert hub.snapshot()["loads"] == {"a": 2, "b": 1}


def test_a_silent_replica_is_given_up_and_one_that_speaks_is_not():
    hub = hub_with("x", "y", hosts=("a", "b"))
    silent, alive = hub.take("a", "a1"), hub.take("b", "b1")
    hub.heartbeat("b", "b1", now=15.0)
    hub.expire(now=15.0)
    assert events(hub, "replica lost") == []
    hub.expire(now=16.0)
    assert [record["host"] for record in events(hub, "replica lost")] == ["a"]
    assert hub.push("x", silent["epoch"], [point(1)]) is False
    assert hub.push("y", alive["epoch"], [point(1)]) is True
    assert hub.heartbeat("a", "a1", now=17.0) is None


def test_a_job_that_loses_its_replica_too_often_fails_with_a_reason():
    hub = hub_with("x", max_failures=2)
    for incarnation in range(2, 5):
        assert hub.take("a", f"a{incarnation - 1}")["key"] == "x"
        hub.register("a", f"a{incarnation}", FACTS, now=0.0)
    (ended,) = events(hub, "ended")
    assert ended["result"]["status"] == "failed"
    assert ended["result"]["reason"] == "its replica was lost 3 times"
    assert hub.take("a", "a4") is None


def test_a_cancelled_job_in_the_queue_ends_at_once():
    hub = hub_with("x", "y")
    hub.cancel("x")
    (ended,) = events(hub, "ended")
    assert (ended["key"], ended["result"]["status"]) == ("x", "stopped")
    assert hub.take("a", "a1")["key"] == "y"
    hub.cancel("x")
    assert events(hub, "ended") == []


def test_a_cancelled_job_that_runs_is_told_to_stop_and_ends_with_its_own_words():
    hub = hub_with("x")
    job = hub.take("a", "a1")
    hub.cancel("x")
    assert events(hub, "ended") == []
    assert hub.heartbeat("a", "a1", now=1.0) == ["x"]
    assert hub.push("x", job["epoch"], [point(4)]) is False
    finish(hub, job, status="stopped")
    assert [record["event"] for record in hub.drain()] == ["metrics", "ended"]
    assert hub.heartbeat("a", "a1", now=2.0) == []


def test_a_cancelled_job_whose_replica_is_lost_is_stopped_rather_than_run_again():
    hub = hub_with("x")
    hub.take("a", "a1")
    hub.cancel("x")
    hub.register("a", "a2", FACTS, now=1.0)
    assert [record["result"]["status"] for record in events(hub, "ended")] == ["stopped"]
    assert hub.take("a", "a2") is None


def test_cancelling_an_unknown_or_ended_job_changes_nothing():
    hub = hub_with("x")
    finish(hub, hub.take("a", "a1"))
    hub.drain()
    hub.cancel("x")
    hub.cancel("unheard of")
    assert hub.drain() == []
    assert hub.pull("x")["ended"]["status"] == "finished"


@pytest.mark.parametrize("taken", [False, True])
def test_submitting_a_job_again_before_it_has_ended_changes_nothing(taken):
    hub = hub_with("x")
    job = hub.take("a", "a1") if taken else None
    hub.submit("x", SPEC)
    assert events(hub, "trial") == []
    if job is not None:
        assert hub.push("x", job["epoch"], [point(1)]) is True
    else:
        assert hub.take("a", "a1")["key"] == "x"
    assert hub.take("a", "a1") is None


@pytest.mark.parametrize("status", ["finished", "diverged", "failed"])
def test_a_lost_trial_actor_that_submits_again_finds_the_result(status):
    """Tune starts another actor for the same trial; the work is not done twice."""
    hub = hub_with("x")
    finish(hub, hub.take("a", "a1"), status=status)
    hub.drain()
    hub.submit("x", SPEC)
    assert hub.drain() == []
    assert hub.take("a", "a1") is None
    assert hub.pull("x")["ended"]["status"] == status


def test_a_job_that_was_stopped_may_be_submitted_again():
    hub = hub_with("x")
    job = hub.take("a", "a1")
    hub.cancel("x")
    finish(hub, job, status="stopped")
    hub.submit("x", SPEC)
    assert hub.pull("x")["ended"] is None
    finish(hub, hub.take("a", "a1"))
    assert [record["result"]["status"] for record in events(hub, "ended")] == ["stopped", "finished"]


def test_a_job_submitted_again_while_it_is_being_stopped_belongs_to_its_new_replica_alone():
    """The loss of the replica that was stopping it must not take it from the one that runs it now."""
    hub = hub_with("x", hosts=("a", "b"))
    old = hub.take("a", "a1")
    hub.cancel("x")
    hub.submit("x", SPEC)
    new = hub.take("b", "b1")
    assert hub.push("x", old["epoch"], [point(1)]) is False
    hub.leave("a", "a1")
    assert hub.push("x", new["epoch"], [point(1)]) is True
    finish(hub, new)
    assert [record["event"] for record in events(hub, "ended", "replica left")] == ["replica left", "ended"]


def test_what_nobody_is_left_to_run_is_stopped_and_what_has_ended_stays():
    hub = hub_with("done", "running", "waiting")
    finish(hub, hub.take("a", "a1"))
    running = hub.take("a", "a1")
    hub.drain()
    hub.abandon()
    ended = {record["key"]: record["result"]["status"] for record in events(hub, "ended")}
    assert ended == {"running": "stopped", "waiting": "stopped"}
    assert hub.snapshot()["running"] == 0
    assert hub.push("running", running["epoch"], [point(1)]) is False
    assert hub.take("a", "a1") is None


def test_replicas_say_whether_their_weights_are_unchanged():
    hub = hub_with(hosts=("a", "b"))
    for host, unchanged in (("a", True), ("b", False), ("a", True), ("b", True)):
        hub.verified(host, unchanged)
    assert hub.checks == {"a": True, "b": False}


def test_the_snapshot_shows_who_runs_what():
    hub = hub_with("x", "y")
    hub.take("a", "a1")
    snapshot = hub.snapshot()
    assert snapshot["hosts"] == [{"name": "a", "jobs": ["x"], "loads": 1, **FACTS}]
    assert snapshot["running"] == 2
