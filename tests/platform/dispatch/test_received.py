"""Which records the driver takes as new, when dispatchers and replicas may send each twice."""

from nmlab.platform.dispatch.messages import Drained, LoggedRecord, RecordSource, ReplicaProcess
from nmlab.platform.dispatch.received import ReceivedRecords, ResultCheck
from nmlab.platform.records.events import (
    ReplicaLost,
    ReplicaStarted,
    ResultRefused,
    TrialActorLost,
    TrialEnded,
    TrialLeased,
    TrialMetrics,
    TrialSubmitted,
)


def numbered(*records, start=1):
    """Number records, each given alone or with its source."""
    pairs = [record if isinstance(record, tuple) else (record, None) for record in records]
    logged = [LoggedRecord(start + index, record, source) for index, (record, source) in enumerate(pairs)]
    return Drained(1, start + len(records) - 1, logged)


def metrics(number, *, replica="a", incarnation=1):
    source = RecordSource(ReplicaProcess(replica, incarnation), number, epoch=1)
    return TrialMetrics(key="x", step=number, time=0, values={}), source


def steps(records):
    return [record.step for record in records if isinstance(record, TrialMetrics)]


def test_an_answer_that_comes_twice_is_taken_once():
    received, answer = ReceivedRecords(), numbered(TrialActorLost(key="x", error="died"), metrics(1))
    assert len(received.accept(answer)) == 2
    assert received.accept(answer) == []
    assert received.acknowledged == 2


def test_a_new_dispatcher_counts_from_the_beginning_and_messages_go_on():
    received = ReceivedRecords()
    received.accept(numbered(metrics(1), metrics(2)))
    assert received.is_from_new_dispatcher(Drained(7, upto=0))
    received.begin_generation(7)
    assert (received.generation, received.acknowledged) == (7, 0)
    assert steps(received.accept(numbered(metrics(2), metrics(3)))) == [3]


def test_messages_differ_by_replica_and_process():
    received = ReceivedRecords()
    answer = numbered(metrics(1), metrics(1, replica="b"), metrics(1, incarnation=2), metrics(1))
    assert len(received.accept(answer)) == 3


def test_a_trial_begins_again_only_after_it_has_ended():
    received, trial = ReceivedRecords(), TrialSubmitted(key="x", spec={})
    ended = TrialEnded(key="x", result={"status": "stopped"})
    assert [r.event for r in received.accept(numbered(trial, trial, ended, trial))] == ["trial", "ended", "trial"]
    assert received.unended() == ["x"]
    assert received.ended == {"x": {"status": "stopped"}}


def test_loads_are_counted_by_process_whatever_a_restarted_dispatcher_sends():
    received = ReceivedRecords()
    first, again = (ReplicaStarted(host="a", incarnation=number) for number in (1, 2))
    (record,) = received.accept(numbered(first, first))
    assert record.loads == 1
    (record,) = received.accept(numbered(again, start=3))
    assert record.loads == 2
    assert received.loads == {"a": 2}


def test_only_a_replica_that_is_up_is_lost():
    received, lost = ReceivedRecords(), ReplicaLost(host="a", reason="died")
    up = ReplicaStarted(host="a", incarnation=1)
    records = received.accept(numbered(lost, up, lost, lost))
    assert [record.event for record in records] == ["replica", "replica lost"]
    assert received.replicas == {}


def test_the_same_lease_is_taken_once():
    received = ReceivedRecords()
    leases = [TrialLeased(key="x", host="a", attempt=1, epoch=epoch) for epoch in (5, 5, 6)]
    assert [record.epoch for record in received.accept(numbered(*leases))] == [5, 6]


def test_an_end_whose_artifacts_cannot_be_read_is_refused_and_rejected_with_the_next_drain():
    asked = []
    accepted = ResultCheck(lambda end: asked.append(end.key) or "its file is gone")
    source = RecordSource(ReplicaProcess("a", 1), 7, epoch=5)
    drained = numbered((TrialEnded(key="x", result={"status": "finished"}, host="a"), source))
    for _ in range(2):  # the same message again, through a restarted dispatcher, is not checked again
        (logged,) = accepted.check(drained, ended=()).records
        assert logged.record == ResultRefused(host="a", key="x", reason="its file is gone")
        (end,) = accepted.refused
        assert (end.process, end.key, end.epoch, end.reason) == (source.process, "x", 5, "its file is gone")
    assert asked == ["x"]
    assert accepted.check(numbered(), ended=()).records == []
    assert accepted.refused == []


def test_ends_that_can_be_read_are_journaled_or_come_from_no_replica_are_accepted():
    end = TrialEnded(key="x", result={"status": "finished"})
    from_replica = numbered((end, RecordSource(ReplicaProcess("a", 1), 1, epoch=5)))
    assert ResultCheck(lambda end: "").check(from_replica, ended=()) == from_replica
    unreadable = ResultCheck(lambda end: "its file is gone")
    assert unreadable.check(from_replica, ended={"x"}) == from_replica
    assert unreadable.check(numbered(end), ended=()) == numbered(end)
    assert unreadable.refused == []
