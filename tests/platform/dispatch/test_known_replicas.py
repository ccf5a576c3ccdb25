"""The dispatcher's replicas alone, by plain calls: incarnations, silence, and who must still come back."""

import math

from nmlab.platform.dispatch.known_replicas import RETURN_SECONDS, SILENT_REPLICA_SECONDS, KnownReplicas
from nmlab.platform.dispatch.messages import ReplicaProcess

OLD, NEW = ReplicaProcess("a", 1), ReplicaProcess("a", 2)


def new_replicas(expected=None):
    records = []
    return KnownReplicas(expected=expected, record=records.append), records


def test_only_the_newest_process_of_a_replica_is_known():
    replicas, _ = new_replicas()
    replicas.add(NEW, {"slots": 1}, now=0.0)
    assert replicas.find(NEW).process == NEW
    assert replicas.find(OLD) is None
    assert replicas.is_outdated(OLD)
    assert replicas.is_outdated(NEW), "it is up already"
    assert not replicas.is_outdated(ReplicaProcess("a", 3))
    assert replicas.remove("a")
    assert not replicas.remove("a")


def test_silence_is_that_of_each_replica():
    replicas, _ = new_replicas()
    assert replicas.silent_seconds(now=5.0) == math.inf
    replicas.add(OLD, {}, now=0.0)
    replicas.add(ReplicaProcess("b", 1), {}, now=10.0)
    assert replicas.silent_seconds(now=SILENT_REPLICA_SECONDS) == SILENT_REPLICA_SECONDS - 10.0
    assert replicas.silent(now=SILENT_REPLICA_SECONDS) == []
    assert replicas.silent(now=SILENT_REPLICA_SECONDS + 0.1) == ["a"]


def test_trials_may_be_leased_once_all_awaited_replicas_are_back():
    replicas, records = new_replicas()
    assert not replicas.are_back(now=0.0), "the driver has not said whom it knows"
    replicas.open({"a": 1}, now=0.0)
    assert not replicas.are_back(now=RETURN_SECONDS)
    replicas.add(NEW, {}, now=1.0)
    assert replicas.are_back(now=1.0)
    assert [(record.event, record.host) for record in records] == [("replica lost", "a"), ("replica", "a")]


def test_awaited_replicas_are_given_up_after_a_while():
    replicas, records = new_replicas()
    replicas.open({"a": 1}, now=0.0)
    assert replicas.are_back(now=RETURN_SECONDS + 0.1)
    assert [record.reason for record in records] == ["did not come back to a restarted dispatcher"]


def test_who_does_not_show_what_is_expected_is_refused():
    replicas, records = new_replicas({"nonce": "n", "code": "c", "folder": "f", "nmlab": "1", "torch": "2"})
    assert replicas.admit("a", [], node_id="n1").startswith("a on node n1: shows neither its code")
    assert records[0].nodes == ["n1"]
