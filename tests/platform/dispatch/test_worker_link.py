"""What a replica keeps until the driver has it, and what it sends to a restarted dispatcher."""

import pytest

from nmlab.platform.dispatch.messages import ReplicaProcess
from nmlab.platform.dispatch.state import DispatchState
from nmlab.platform.dispatch.worker_link import GivenUpError, WorkerLink
from nmlab.platform.records.events import WeightsChecked


class Direct:
    """A dispatcher's client that calls the state directly; the state can be replaced by a new one."""

    def __init__(self):
        self.restart(generation=1)

    def restart(self, *, generation):
        self.state = DispatchState(max_failures=3, generation=generation)
        self.state.open({}, {}, [], now=0.0)

    def take(self, process, *, slot, last_epoch, within):
        return self.state.take(process, slot=slot, last_epoch=last_epoch, now=0.0)

    def introduce(self, process, *, facts, claims, own_actor):
        self.state.introduce(process, facts, claims, now=0.0)
        return self.state.generation

    def receive(self, process, **sent):
        return self.state.receive(process, **sent, now=0.0)

    def leave(self, process):
        self.state.leave(process, now=0.0)


@pytest.fixture
def dispatcher():
    return Direct()


@pytest.fixture
def link(dispatcher):
    link = WorkerLink(dispatcher, name="a", facts={"slots": 1}, own_actor=None)
    link.exchange()
    return link


def leased(dispatcher, link):
    dispatcher.state.submit("x", {})
    return link.take(0, 0, within=0.0)


def drained(dispatcher, acknowledged=0):
    """Drain the dispatcher; return its records as they stand in a journal, each with its number."""
    answer = dispatcher.state.drain(acknowledged)
    logged = [] if answer is None else answer.records
    return [{**each.record.to_json(), "sequence": each.sequence} for each in logged]


def enqueue_point(link, job, step, name="train/loss"):
    link.add_point(job.epoch, {name: 1.0}, step=step, time=0)


def test_a_message_is_sent_once_and_kept_until_it_is_confirmed(dispatcher, link):
    job = leased(dispatcher, link)
    enqueue_point(link, job, 1)
    link.exchange()
    link.exchange()
    records = drained(dispatcher)
    assert [record["step"] for record in records if record["event"] == "metrics"] == [1]
    dispatcher.restart(generation=1000)  # before the driver acknowledged anything
    link.exchange()
    records = drained(dispatcher)
    assert [record["event"] for record in records] == ["replica", "trial", "leased", "metrics"]
    drained(dispatcher, records[-1]["sequence"])
    link.exchange()
    dispatcher.restart(generation=2000)
    link.exchange()
    assert "metrics" not in [record["event"] for record in drained(dispatcher)]


def test_a_result_survives_the_dispatcher_and_its_trial_is_not_run_again(dispatcher, link):
    job = leased(dispatcher, link)
    link.end(job.epoch, {"key": "x", "status": "finished"})
    link.exchange()
    dispatcher.restart(generation=1000)
    dispatcher.state.submit("x", {})
    link.exchange()
    assert link.take(0, job.epoch, within=0.0) is None
    assert [record["result"]["status"] for record in drained(dispatcher) if record["event"] == "ended"] == ["finished"]


def test_a_new_dispatcher_gets_the_evaluations_that_tune_may_not_have_received(dispatcher, link):
    job = leased(dispatcher, link)
    enqueue_point(link, job, 1)
    enqueue_point(link, job, 2, "eval/perplexity")
    link.exchange()
    drained(dispatcher, drained(dispatcher)[-1]["sequence"])
    dispatcher.restart(generation=1000)
    link.exchange()
    assert [point.step for point in dispatcher.state.pull("x", -1).points] == [2]


def test_a_cancelled_trial_must_end_from_the_next_exchange_on(dispatcher, link):
    job = leased(dispatcher, link)
    dispatcher.state.cancel("x")
    assert not link.is_cancelled(job.epoch)
    link.exchange()
    assert link.is_cancelled(job.epoch)


def test_a_replica_that_was_given_up_must_end(dispatcher, link):
    dispatcher.state.introduce(ReplicaProcess("a", link.process.incarnation + 1), {}, [], now=0.0)
    with pytest.raises(GivenUpError, match="a was given up"):
        link.exchange()


def test_a_replica_ends_when_the_dispatcher_stops(dispatcher, link):
    dispatcher.state.stopping = True
    link.exchange()
    assert link.stopping


@pytest.mark.parametrize("acknowledges", [True, False])
def test_closing_a_link_waits_for_the_driver_but_not_for_ever(dispatcher, link, acknowledges, monkeypatch):
    link.enqueue(WeightsChecked(unchanged=True, host="a"))
    link.exchange()
    if acknowledges:
        drained(dispatcher, drained(dispatcher)[-1]["sequence"])
    link.close(patience=0.1)
    assert [record["event"] for record in drained(dispatcher)][-1] == "replica left"
    assert bool(link._outbox) is not acknowledges
