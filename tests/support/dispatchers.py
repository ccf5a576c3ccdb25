"""A dispatcher's state and its replicas by plain calls, for tests."""

import itertools

from nmlab.platform.dispatch.messages import Message, Receipt, ReplicaProcess
from nmlab.platform.dispatch.state import DispatchState
from nmlab.platform.records.events import TrialEnded, TrialMetrics, event_of

FACTS = {"slots": 1}
SPEC = {"method": "maskpro"}
DONE = {"status": "finished", "step": 5, "metrics": {"eval/perplexity": 2.0}, "reason": ""}


class Replica:
    """A replica by plain calls: it numbers its messages and asks for each lease with another slot."""

    def __init__(self, dispatcher, name, incarnation=1, *, claims=(), now=0.0):
        self.dispatcher, self.process = dispatcher, ReplicaProcess(name, incarnation)
        self.number, self.slots = 0, itertools.count()
        dispatcher.introduce(self.process, FACTS, list(claims), now=now)

    def take(self, *, now=0.0, slot=None, last_epoch=0):
        slot = next(self.slots) if slot is None else slot
        return self.dispatcher.take(self.process, slot=slot, last_epoch=last_epoch, now=now)

    def send(self, *messages, running=(), now=0.0):
        generation = self.dispatcher.generation
        sent = {"generation": generation, "running": list(running), "messages": list(messages)}
        return self.dispatcher.receive(self.process, **sent, now=now)

    def message(self, job, kind, **values):
        self.number += 1
        return Message(self.number, kind(key=job.key, host=self.process.name, **values), job.epoch)

    def push(self, job, *points, now=0.0):
        """Send points; return whether the trial should go on."""
        messages = [self.message(job, TrialMetrics, **point) for point in points]
        answer = self.send(*messages, running=[(job.key, job.epoch)], now=now)
        return isinstance(answer, Receipt) and not answer.cancelled

    def finish(self, job, status="finished"):
        return self.send(self.message(job, TrialEnded, result={**DONE, "key": job.key, "status": status}))

    def leave(self, *, now=0.0):
        self.dispatcher.leave(self.process, now=now)


def new_dispatcher(*, max_failures=3, generation=100, ended=(), replicas=(), cancelled=(), leased=()):
    dispatcher = DispatchState(max_failures=max_failures, generation=generation)
    dispatcher.open(dict(ended), dict(replicas), list(cancelled), now=0.0, leased=dict(leased))
    return dispatcher


def dispatcher_with(*jobs, replicas=("a",), max_failures=3):
    """Return a dispatcher with jobs queued and its stream drained, and its replicas."""
    dispatcher = new_dispatcher(max_failures=max_failures)
    started = [Replica(dispatcher, name) for name in replicas]
    for key in jobs:
        dispatcher.submit(key, {**SPEC, "key": key})
    drained(dispatcher)
    return dispatcher, *started


def point(step, name="train/loss"):
    return {"step": step, "time": 0, "values": {name: 1.0}}


def drained(dispatcher, *names):
    """Drain the dispatcher as a driver that journals what it gets; return the records of the given kinds."""
    answer = dispatcher.drain(0)
    if answer is None:
        return []
    assert dispatcher.drain(answer.upto) is None
    records = [logged.record for logged in answer.records]
    return [record for record in records if not names or event_of(record) in names]


def drained_events(dispatcher, *names):
    """Drain the dispatcher; return the events of its records of the given kinds."""
    return [event_of(record) for record in drained(dispatcher, *names)]
