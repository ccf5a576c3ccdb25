"""Whatever is lost, sent twice or restarted, in any order: each trial ends once, and each point arrives once.

The dispatcher's state, the links of the replicas and the driver's deduplication are the real ones; between them is a
connection that loses calls and answers. Replicas, trials and trial actors are simple models.
"""

import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from nmlab.platform.dispatch.messages import Lease
from nmlab.platform.dispatch.received import ReceivedRecords, ResultCheck
from nmlab.platform.dispatch.state import DispatchState
from nmlab.platform.dispatch.worker_link import GivenUpError, WorkerLink
from nmlab.platform.records.events import TrialEnded, TrialMetrics

REPLICAS, KEYS = "ab", "xyz"
FATES = ("arrives", "arrives", "arrives", "call is lost", "answer is lost", "comes twice")
MAX_FAILURES = 4
STEPS = 4
TIMED = ("open", "expire", "introduce", "receive", "take", "lose", "leave")


class LostError(Exception):
    """What a caller gets when the dispatcher dies during its call."""


class FaultyConnection:
    """Calls the present dispatcher; the next call has the fate that was set.

    Before the driver has opened a dispatcher, the calls of others wait; here, they get no answer.
    """

    def __init__(self):
        self.dispatcher, self.now, self.fate, self.opened = self.new_dispatcher(1), 0.0, "arrives", False

    def new_dispatcher(self, generation):
        return DispatchState(max_failures=MAX_FAILURES, generation=generation)

    def restart_dispatcher(self):
        self.dispatcher, self.opened = self.new_dispatcher(self.dispatcher.generation + 10_000), False

    def call(self, name, *args, **named):
        fate, self.fate = self.fate, "arrives"
        if fate == "call is lost" or (not self.opened and name not in ("open", "drain")):
            raise LostError
        self.opened = self.opened or name == "open"
        timed = {"now": self.now} if name in TIMED else {}
        answer = getattr(self.dispatcher, name)(*args, **named, **timed)
        if fate == "comes twice":
            answer = getattr(self.dispatcher, name)(*args, **named, **timed)
        if fate == "answer is lost":
            raise LostError
        return answer

    def drain(self, acknowledged, refused):
        """As `Dispatcher.drain`, in one call: refused ends are rejected before the others count as journaled."""
        fate, self.fate = self.fate, "arrives"
        if fate == "call is lost" or not self.opened:
            raise LostError
        for _ in range(1 + (fate == "comes twice")):
            for end in refused:
                self.dispatcher.reject(end, now=self.now)
            answer = self.dispatcher.drain(acknowledged)
        if fate == "answer is lost":
            raise LostError
        return answer

    def take(self, process, *, slot, last_epoch, within):
        return self.call("take", process, slot=slot, last_epoch=last_epoch)

    def receive(self, process, **sent):
        return self.call("receive", process, **sent)

    def introduce(self, process, *, facts, claims, own_actor):
        self.call("introduce", process, facts, claims)
        return self.dispatcher.generation


@dataclass
class Running:
    """A trial in a slot."""

    job: Lease
    step: int


@dataclass
class Replica:
    """A process with one slot; what it computed since the last checkpoint dies with it."""

    link: WorkerLink
    running: Running | None = None
    done: int = 0


@dataclass
class Trial:
    """A trial, its checkpoint, and its actor, which has the result once the dispatcher has sent it."""

    checkpoint: int = 0
    cancelled: bool = False
    result: dict | None = None
    epochs: set = field(default_factory=set)


class Sweep:
    """Everything that takes part in a sweep, one event at a time."""

    def __init__(self):
        self.connection, self.received, self.journal = FaultyConnection(), ReceivedRecords(), []
        self.files_fail = lambda: False
        self.accepted = ResultCheck(lambda record: "its file is gone" if self.files_fail() else "")
        self.trials: dict[str, Trial] = {}
        self.replicas = {name: self.new_replica(name) for name in "ab"}
        self.tokens = 0
        self.holders: dict[int, WorkerLink] = {}
        self.driver_drains()
        for key in "xy":
            self.actor_submits(key)

    def new_replica(self, name):
        return Replica(WorkerLink(self.connection, name=name, facts={}, own_actor=None))

    def all_is_well(self, rounds):
        """Without long stretches like this, faults would only occur in trials that have hardly begun."""
        for _ in range(rounds):
            self.connection.now += 1.0
            for name in "ab":
                self.slot_asks(name)
                self.trial_goes_on(name)
                self.exchange(name)
            for key in self.trials:
                self.actor_pulls(key)
            self.driver_drains()

    def dispatcher_is_restarted(self, opened):
        self.connection.restart_dispatcher()
        if opened:
            self.driver_drains()

    def replica_dies(self, name, seen):
        process = self.replicas[name].link.process
        self.replicas[name] = self.new_replica(name)
        if seen:
            self.call("lose", process, "died")

    def replica_falls_silent(self, name):
        """The others send heartbeats in time; the silent one may continue later, and is then refused."""
        self.connection.now += 100.0
        for other in self.replicas.keys() - {name}:
            self.exchange(other)
        self.call("expire")

    def time_passes(self, seconds):
        self.connection.now += seconds

    def actor_submits(self, key):
        trial = self.trials.setdefault(key, Trial())
        if not trial.cancelled and trial.result is None:
            self.call("submit", key, {"key": key})

    def late_actor_submits(self, key):
        """Tune starts an actor for a trial, and gives the trial to another before the first is up."""
        if key in self.trials:
            self.call("submit", key, {"key": key})

    def driver_cancels(self, key):
        if key in self.trials and self.trials[key].result is None:
            self.trials[key].cancelled = True
            self.call("cancel", key)

    def actor_pulls(self, key):
        trial = self.trials.get(key)
        if trial is None or trial.result is not None or trial.cancelled:
            return
        try:
            answer = self.connection.call("pull", key, -1)
        except LostError:
            return
        if answer is None:
            self.call("submit", key, {"key": key})
        elif answer.ended is not None:
            assert key in self.ends(), "Tune received an end that is not journaled"
            trial.result = answer.ended

    def call(self, method, *args):
        with suppress(LostError):
            self.connection.call(method, *args)

    def exchange(self, name, fate="arrives"):
        self.connection.fate = fate
        try:
            self.replicas[name].link.exchange()
        except LostError:
            pass
        except GivenUpError:
            self.replicas[name] = self.new_replica(name)
        self.connection.fate = "arrives"

    def slot_asks(self, name, fate="arrives"):
        replica = self.replicas[name]
        if replica.running is not None:
            return
        self.connection.fate = fate
        try:
            job = replica.link.take(0, replica.done, within=1.0)
        except LostError:
            return
        if job is not None:
            assert self.holders.setdefault(job.epoch, replica.link) is replica.link, "one epoch, two replicas"
            trial = self.trials[job.key]
            replica.running = Running(job, trial.checkpoint)
            for step in range(1, trial.checkpoint + 1):  # a trial that resumes repeats its points
                self.add_point(replica, step)

    def trial_goes_on(self, name):
        replica = self.replicas[name]
        if replica.running is None:
            return
        job, trial = replica.running.job, self.trials[replica.running.job.key]
        if replica.link.is_cancelled(job.epoch):
            trial.checkpoint = max(trial.checkpoint, replica.running.step)
            self.end(replica, "stopped")
        elif replica.running.step == STEPS:
            self.end(replica, "finished")
        else:
            replica.running.step += 1
            self.add_point(replica, replica.running.step)
            if replica.running.step % 2 == 0:
                trial.checkpoint = max(trial.checkpoint, replica.running.step)

    def add_point(self, replica, step):
        self.tokens += 1
        values = {"eval/perplexity" if step % 2 else "train/loss": 1.0, "token": self.tokens}
        replica.link.add_point(replica.running.job.epoch, values, step=step, time=0)

    def end(self, replica, status):
        job, replica.running, replica.done = replica.running.job, None, replica.running.job.epoch
        replica.link.end(job.epoch, {"key": job.key, "status": status, "step": STEPS})

    def driver_drains(self, fate="arrives"):
        """As `DriverLoop` does it; a dispatcher that it opens may die before it answers."""
        self.connection.fate = fate
        try:
            dispatcher = self.connection.dispatcher
            if dispatcher.generation != self.received.generation:
                cancelled = [key for key, trial in self.trials.items() if trial.cancelled]
                self.connection.call("open", self.received.ended, self.received.replicas, cancelled)
                self.received.begin_generation(dispatcher.generation)
                return
            answer = self.connection.drain(self.received.acknowledged, self.accepted.refused)
        except LostError:
            return
        self.accepted.refused = []
        if answer is not None:
            self.journal += self.received.accept(self.accepted.check(answer, ended=self.received.ended))

    def ends(self):
        return Counter(record.key for record in self.journal if isinstance(record, TrialEnded))

    def no_trial_ends_twice(self):
        assert all(count == 1 for count in self.ends().values()), self.ends()

    def no_message_is_journaled_twice(self):
        tokens = [record.values["token"] for record in self.journal if isinstance(record, TrialMetrics)]
        assert len(tokens) == len(set(tokens))

    def come_to_rest(self):
        """Without further faults, all trials but cancelled ones end, and every point of the finished ones is there."""
        self.all_is_well(60)
        self.no_trial_ends_twice()
        self.no_message_is_journaled_twice()
        ends = {record.key: record.result["status"] for record in self.journal if isinstance(record, TrialEnded)}
        points = {(record.key, record.step) for record in self.journal if isinstance(record, TrialMetrics)}
        for key, trial in self.trials.items():
            if not trial.cancelled:
                assert trial.result == self.received.ended[key]
                assert ends[key] in ("finished", "failed")
            if ends.get(key) == "finished":
                assert {step for name, step in points if name == key} == set(range(1, STEPS + 1))
        for replica in self.replicas.values():
            assert not replica.link._outbox, "a message was never confirmed"

    def happen(self, draw):
        """Let one event happen, drawn at random; most events are no faults."""
        name, key, fate = draw.choice(REPLICAS), draw.choice(KEYS), draw.choice(FATES)
        events = {
            lambda: self.all_is_well(draw.randint(1, 2)): 6,
            lambda: self.dispatcher_is_restarted(draw.random() < 0.75): 4,
            lambda: self.replica_dies(name, draw.random() < 0.5): 2,
            lambda: self.replica_falls_silent(name): 1,
            lambda: self.time_passes(draw.choice((0.3, 2.0, 5.0))): 2,
            lambda: self.actor_submits(key): 2,
            lambda: self.late_actor_submits(key): 1,
            lambda: self.driver_cancels(key): 0.3,
            lambda: self.actor_pulls(key): 4,
            lambda: self.exchange(name, fate): 8,
            lambda: self.slot_asks(name, fate): 6,
            lambda: self.trial_goes_on(name): 8,
            lambda: self.driver_drains(fate): 6,
        }
        draw.choices(list(events), weights=list(events.values()))[0]()


@pytest.mark.parametrize("seeds", [range(start, start + 100) for start in range(0, 500, 100)], ids=str)
def test_nothing_is_lost_or_doubled_whatever_happens(seeds):
    for seed in seeds:
        draw, sweep = random.Random(seed), Sweep()
        sweep.files_fail = lambda draw=draw: draw.random() < 0.3
        for _ in range(80):
            sweep.happen(draw)
            sweep.no_trial_ends_twice()
            sweep.no_message_is_journaled_twice()
        sweep.files_fail = lambda: False
        sweep.come_to_rest()
