"""Leases alone, by plain calls: the queue, epochs, claims and back-off."""

import pytest

from nmlab.platform.dispatch.leases import Leases
from nmlab.platform.dispatch.messages import Claim, Lease, ReplicaProcess
from nmlab.platform.records.events import TrialMetrics

A, B = ReplicaProcess("a", 1), ReplicaProcess("b", 1)


@pytest.fixture
def records():
    return []


@pytest.fixture
def leases(records):
    return Leases(max_failures=1, epoch=100, record=records.append)


def take(leases, process=A, *, slot=0, last_epoch=0, now=0.0):
    return leases.take(process, slot=slot, last_epoch=last_epoch, now=now)


def test_a_trial_is_queued_leased_and_ended(leases, records):
    leases.submit("x", {"seed": 0})
    lease = take(leases)
    assert lease == Lease("x", 101, {"seed": 0}, times_leased=1)
    assert leases.is_current("x", lease.epoch)
    leases.end("x", {"status": "finished"})
    assert not leases.is_current("x", lease.epoch)
    leases.lose("a", "died", now=1.0)
    assert leases.is_rejectable("x", lease.epoch), "its replica no longer held it"
    assert leases.pull("x", after=-1).ended is None
    leases.confirm_end("x")
    assert leases.pull("x", after=-1).ended == {"status": "finished"}
    assert [record.event for record in records] == ["trial", "leased"]


def test_a_lease_that_is_taken_back_has_another_epoch_and_waits(leases, records):
    leases.submit("x", {})
    first = take(leases)
    leases.lose("a", "died", now=0.0)
    assert not leases.is_current("x", first.epoch)
    assert leases.is_cancelled("x", first.epoch)
    assert take(leases, B) is None, "its back-off is not over"
    second = take(leases, B, now=0.5)
    assert second.epoch > first.epoch
    leases.lose("b", "died", now=1.0)
    assert records[-1].result["reason"] == "its replica was lost 2 times; the last one, b, died"


def test_a_claim_counts_unless_the_trial_has_ended_or_another_holds_it(leases, records):
    point = TrialMetrics(key="x", step=3, time=0, values={})
    leases.claim("a", Claim(Lease("x", 900, {}, times_leased=2), (point,)))
    leases.claim("b", Claim(Lease("x", 901, {}, times_leased=9)))
    assert leases.is_current("x", 900)
    leases.lose("b", "died", now=0.0)
    assert leases.is_current("x", 900), "only the first one holds it"
    assert leases.pull("x", after=-1).points == [point]
    leases.submit("y", {})
    assert take(leases, B).epoch > 900
    leases.end("x", {})
    leases.claim("b", Claim(Lease("x", 902, {}, times_leased=9)))
    assert [record.event for record in records] == ["trial", "leased", "trial", "leased"]
    assert [record.host for record in records[1::2]] == ["a", "b"], "the ended one is leased to nobody"


def test_an_end_can_be_rejected_until_it_is_journaled(leases):
    leases.submit("x", {})
    lease = take(leases)
    assert not leases.is_rejectable("x", lease.epoch), "it has not ended"
    leases.end("x", {"status": "finished"})
    assert not leases.is_rejectable("x", lease.epoch + 1)
    assert leases.is_rejectable("x", lease.epoch)
    leases.reject("x", replica="a", reason="gone", now=0.0)
    assert take(leases, B, now=0.5).key == "x"
    leases.end("x", {"status": "finished"})
    leases.confirm_end("x")
    assert not leases.is_rejectable("x", lease.epoch + 1)
