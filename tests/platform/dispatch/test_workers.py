"""The dispatcher's replicas alone, by plain calls: incarnations, silence, and who must still come back."""

import math

from nmlab.platform.dispatch.messages import ReplicaProcess
from nmlab.platform.dispatch.workers import RETURN_SECONDS, SILENT_REPLICA_SECONDS, Workers

OLD, NEW = ReplicaProcess("a", 1), ReplicaProcess("a", 2)


def new_workers(expected=None):
    records = []
    return Workers(expected=expected, record=records.append), records


def test_only_the_newest_process_of_a_replica_is_known():
    workers, _ = new_workers()
    workers.add(NEW, {"slots": 1}, now=0.0)
    assert workers.known(NEW).facts == {"slots": 1}
    assert workers.known(OLD) is None
    assert workers.is_outdated(OLD)
    assert workers.is_outdated(NEW), "it is up already"
    assert not workers.is_outdated(ReplicaProcess("a", 3))
    assert workers.remove("a")
    assert not workers.remove("a")


def test_silence_is_that_of_each_replica():
    workers, _ = new_workers()
    assert workers.silence(now=5.0) == math.inf
    workers.add(OLD, {}, now=0.0)
    workers.add(ReplicaProcess("b", 1), {}, now=10.0)
    assert workers.silence(now=SILENT_REPLICA_SECONDS) == SILENT_REPLICA_SECONDS - 10.0
    assert workers.silent(now=SILENT_REPLICA_SECONDS) == []
    assert workers.silent(now=SILENT_REPLICA_SECONDS + 0.1) == ["a"]


def test_trials_may_be_leased_once_all_awaited_replicas_are_back():
    workers, records = new_workers()
    assert not workers.are_back(now=0.0), "the driver has not said whom it knows"
    workers.open({"a": 1}, now=0.0)
    assert not workers.are_back(now=RETURN_SECONDS)
    workers.add(NEW, {}, now=1.0)
    assert workers.are_back(now=1.0)
    assert [(record.event, record.host) for record in records] == [("replica lost", "a"), ("replica", "a")]


def test_awaited_replicas_are_given_up_after_a_while():
    workers, records = new_workers()
    workers.open({"a": 1}, now=0.0)
    assert workers.are_back(now=RETURN_SECONDS + 0.1)
    assert [record.reason for record in records] == ["did not come back to a restarted dispatcher"]


def test_who_does_not_show_what_is_expected_is_refused():
    workers, records = new_workers({"nonce": "n", "code": "c", "folder": "f", "nmlab": "1", "torch": "2"})
    assert workers.admit("a", [], node_id="n1").startswith("a on node n1: shows neither its code")
    assert records[0].nodes == ["n1"]
