"""Which records the driver takes as new, when dispatchers and replicas may send each twice."""

from nmlab.platform.dispatch.received import ReceivedRecords


def numbered(*records, start=1):
    numbered = [{"sequence": start + index, **record} for index, record in enumerate(records)]
    return {"generation": 1, "upto": start + len(records) - 1, "records": numbered}


def metrics(number, *, replica="a", incarnation=1):
    return {"event": "metrics", "key": "x", "step": number, "source": [replica, incarnation, number]}


def steps(records):
    return [record["step"] for record in records if record["event"] == "metrics"]


def test_an_answer_that_comes_twice_is_taken_once():
    received, answer = ReceivedRecords(), numbered({"event": "trial actor lost"}, metrics(1))
    assert len(received.take(answer)) == 2
    assert received.take(answer) == []
    assert received.acknowledged == 2


def test_a_new_dispatcher_counts_from_the_beginning_and_messages_go_on():
    received = ReceivedRecords()
    received.take(numbered(metrics(1), metrics(2)))
    assert received.is_new({"generation": 7})
    received.opened(7)
    assert (received.generation, received.acknowledged) == (7, 0)
    assert steps(received.take(numbered(metrics(2), metrics(3)))) == [3]


def test_messages_differ_by_replica_and_process():
    received = ReceivedRecords()
    answer = numbered(metrics(1), metrics(1, replica="b"), metrics(1, incarnation=2), metrics(1))
    assert len(received.take(answer)) == 3


def test_a_trial_begins_again_only_after_it_has_ended():
    received, trial = ReceivedRecords(), {"event": "trial", "key": "x"}
    ended = {"event": "ended", "key": "x", "result": {"status": "stopped"}}
    assert [r["event"] for r in received.take(numbered(trial, trial, ended, trial))] == ["trial", "ended", "trial"]
    assert received.unended() == ["x"]
    assert received.ended == {"x": {"status": "stopped"}}


def test_loads_are_counted_by_process_whatever_a_restarted_dispatcher_sends():
    received = ReceivedRecords()
    first, again = ({"event": "replica", "host": "a", "incarnation": number} for number in (1, 2))
    (record,) = received.take(numbered(first, first))
    assert record["loads"] == 1
    (record,) = received.take(numbered(again, start=3))
    assert record["loads"] == 2
    assert received.loads == {"a": 2}


def test_only_a_replica_that_is_up_is_lost():
    received, lost = ReceivedRecords(), {"event": "replica lost", "host": "a"}
    up = {"event": "replica", "host": "a", "incarnation": 1}
    records = received.take(numbered(lost, up, lost, lost))
    assert [record["event"] for record in records] == ["replica", "replica lost"]
    assert received.replicas == {}


def test_the_same_lease_is_taken_once():
    received = ReceivedRecords()
    leases = [{"event": "leased", "key": "x", "epoch": epoch} for epoch in (5, 5, 6)]
    assert [record["epoch"] for record in received.take(numbered(*leases))] == [5, 6]
