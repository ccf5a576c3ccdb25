"""The dispatcher's log by plain calls: what is kept, what counts, and what is confirmed to replicas."""

from nmlab.platform.dispatch.messages import RecordSource, ReplicaProcess
from nmlab.platform.dispatch.record_log import RecordLog
from nmlab.platform.records.events import TrialEnded, TrialSubmitted

A, B = ReplicaProcess("a", 1), ReplicaProcess("b", 1)
RECORD = TrialSubmitted(key="x", spec={})
END = TrialEnded(key="x", result={})


def test_records_are_numbered_and_kept_until_they_are_acknowledged():
    log = RecordLog()
    for _ in range(3):
        log.append(RECORD)
    assert [logged.sequence for logged in log.unacknowledged()] == [1, 2, 3]
    log.acknowledge(2)
    log.append(RECORD)
    assert [logged.sequence for logged in log.unacknowledged()] == [3, 4]


def test_an_end_counts_once_it_is_acknowledged_unless_it_was_withdrawn():
    log = RecordLog()
    log.append(END)
    assert log.acknowledge(0) == []
    assert log.acknowledge(1) == ["x"]
    log.append(END)
    log.withdraw_end("x")
    log.append(END)
    assert log.acknowledge(2) == []
    assert log.acknowledge(3) == ["x"]


def test_messages_are_confirmed_in_their_order_for_each_process():
    log = RecordLog()
    assert log.confirmed(A, received=4) == 4, "all were dropped or acknowledged"
    for process, number in ((A, 5), (B, 1), (A, 7)):
        log.append(RECORD, source=RecordSource(process, number))
    confirmed = []
    for upto in range(4):
        log.acknowledge(upto)
        confirmed.append((log.confirmed(A, received=8), log.confirmed(B, received=1)))
    assert confirmed == [(4, 0), (6, 0), (6, 1), (8, 1)]
