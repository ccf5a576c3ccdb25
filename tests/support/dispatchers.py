"""A dispatcher's state and its replicas by plain calls, for tests."""

import itertools

from nmlab.platform.dispatch.state import DispatchState

FACTS = {"slots": 1}
SPEC = {"method": "maskpro"}
DONE = {"status": "finished", "step": 5, "metrics": {"eval/perplexity": 2.0}, "reason": ""}


class Replica:
    """A replica by plain calls: it numbers its messages and asks for each lease with another slot."""

    def __init__(self, dispatcher, name, incarnation=1, *, claims=(), now=0.0):
        self.dispatcher, self.name, self.incarnation, self.number, self.slots = (
            dispatcher,
            name,
            incarnation,
            0,
            itertools.count(),
        )
        dispatcher.introduce(name, incarnation, FACTS, list(claims), now=now)

    def take(self, *, now=0.0, slot=None, done=0):
        return self.dispatcher.take(
            self.name, self.incarnation, next(self.slots) if slot is None else slot, done, now=now
        )

    def send(self, *messages, running=(), now=0.0):
        generation = self.dispatcher.generation
        return self.dispatcher.receive(self.name, self.incarnation, generation, list(running), list(messages), now=now)

    def message(self, job, event, **values):
        self.number += 1
        return {"number": self.number, "event": event, "key": job["key"], "epoch": job["epoch"], **values}

    def push(self, job, *points, now=0.0):
        """Send points; return whether the trial should go on."""
        messages = [self.message(job, "metrics", **point) for point in points]
        answer = self.send(*messages, running=[(job["key"], job["epoch"])], now=now)
        return answer["state"] == "known" and not answer["stop"]

    def finish(self, job, status="finished"):
        return self.send(self.message(job, "ended", result={**DONE, "key": job["key"], "status": status}))

    def leave(self, *, now=0.0):
        self.dispatcher.leave(self.name, self.incarnation, now=now)


def new_dispatcher(*, max_failures=3, generation=100, ended=(), replicas=(), cancelled=()):
    dispatcher = DispatchState(max_failures=max_failures, generation=generation)
    dispatcher.open(dict(ended), dict(replicas), list(cancelled), now=0.0)
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
    assert dispatcher.drain(answer["upto"]) is None
    return [record for record in answer["records"] if not names or record["event"] in names]


def drained_events(dispatcher, *names):
    """Drain the dispatcher; return the events of its records of the given kinds."""
    return [record["event"] for record in drained(dispatcher, *names)]
