"""Whatever is lost, said twice or restarted, in whatever order: each trial ends once, and each point arrives once.

The hub's book-keeping, the replicas' links and the driver's intake are the real ones; between them is a line that loses
calls and answers. Replicas, trials and trial actors are simple models of themselves.
"""

import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from nmlab.platform.dispatch.received import AcceptedEnds, ReceivedRecords
from nmlab.platform.dispatch.state import DispatchState
from nmlab.platform.dispatch.worker_link import GivenUpError, WorkerLink

HOSTS, KEYS = "ab", "xyz"
FATES = ("arrives", "arrives", "arrives", "call is lost", "answer is lost", "comes twice")
MAX_FAILURES = 4
STEPS = 4
TIMED = ("open", "expire", "introduce", "hear", "take", "lose", "leave")


class LostError(Exception):
    """What a caller sees of a hub that dies under its call."""


class Line:
    """Carries calls to whatever hub there is; the next one has the fate that was set.

    A hub that the driver has not opened lets others wait; here, they get no answer.
    """

    def __init__(self):
        self.dispatcher, self.now, self.fate, self.opened = self.new_hub(1), 0.0, "arrives", False

    def new_hub(self, generation):
        return DispatchState(max_failures=MAX_FAILURES, generation=generation)

    def restart_hub(self):
        self.dispatcher, self.opened = self.new_hub(self.dispatcher.generation + 10_000), False

    def call(self, name, *args):
        fate, self.fate = self.fate, "arrives"
        if fate == "call is lost" or (not self.opened and name not in ("open", "drain")):
            raise LostError
        self.opened = self.opened or name == "open"
        timed = {"now": self.now} if name in TIMED else {}
        answer = getattr(self.dispatcher, name)(*args, **timed)
        if fate == "comes twice":
            answer = getattr(self.dispatcher, name)(*args, **timed)
        if fate == "answer is lost":
            raise LostError
        return answer

    def drain(self, acknowledged, refused):
        """As `Hub.drain`, in one call: what is refused is so before the others count as kept."""
        fate, self.fate = self.fate, "arrives"
        if fate == "call is lost" or not self.opened:
            raise LostError
        for _ in range(1 + (fate == "comes twice")):
            for end in refused:
                self.dispatcher.reject(**end, now=self.now)
            answer = self.dispatcher.drain(acknowledged)
        if fate == "answer is lost":
            raise LostError
        return answer

    def ask(self, method, *args, within=0.0):
        answer = self.call(method, *(args[:-1] if method == "introduce" else args))
        return self.dispatcher.generation if method == "introduce" else answer


@dataclass
class Running:
    """A trial in a slot."""

    job: dict
    step: int


@dataclass
class Replica:
    """A process with one slot; what it computed since the last checkpoint dies with it."""

    link: WorkerLink
    running: Running | None = None
    done: int = 0


@dataclass
class Trial:
    """A trial, its checkpoint, and its actor, which knows how it ended once the hub has told it."""

    checkpoint: int = 0
    wanted: bool = True
    told: dict | None = None
    epochs: set = field(default_factory=set)


class Sweep:
    """Everything that takes part in a sweep, one event at a time."""

    def __init__(self):
        self.line, self.received, self.journal = Line(), ReceivedRecords(), []
        self.files_fail = lambda: False
        self.accepted = AcceptedEnds(lambda record: "its file is gone" if self.files_fail() else "")
        self.trials: dict[str, Trial] = {}
        self.replicas = {host: self.new_replica(host) for host in "ab"}
        self.tokens = 0
        self.holders: dict[int, WorkerLink] = {}
        self.driver_drains()
        for key in "xy":
            self.actor_submits(key)

    def new_replica(self, host):
        return Replica(WorkerLink(self.line, name=host, facts={}, me=None))

    def all_is_well(self, rounds):
        """Without long stretches like this, faults would only ever meet trials that have hardly begun."""
        for _ in range(rounds):
            self.line.now += 1.0
            for host in "ab":
                self.slot_asks(host)
                self.trial_goes_on(host)
                self.exchange(host)
            for key in self.trials:
                self.actor_pulls(key)
            self.driver_drains()

    def hub_is_restarted(self, opened):
        self.line.restart_hub()
        if opened:
            self.driver_drains()

    def replica_dies(self, host, seen):
        incarnation = self.replicas[host].link._incarnation
        self.replicas[host] = self.new_replica(host)
        if seen:
            self.tell("lose", host, incarnation, "died")

    def replica_falls_silent(self, host):
        """The others are heard in time; it may come to itself later, and learn that it was given up."""
        self.line.now += 100.0
        for other in self.replicas.keys() - {host}:
            self.exchange(other)
        self.tell("expire")

    def time_passes(self, seconds):
        self.line.now += seconds

    def actor_submits(self, key):
        trial = self.trials.setdefault(key, Trial())
        if trial.wanted and trial.told is None:
            self.tell("submit", key, {"key": key})

    def late_actor_submits(self, key):
        """Tune starts an actor for a trial, and gives the trial to another before the first is up."""
        if key in self.trials:
            self.tell("submit", key, {"key": key})

    def driver_cancels(self, key):
        if key in self.trials and self.trials[key].told is None:
            self.trials[key].wanted = False
            self.tell("cancel", key)

    def actor_pulls(self, key):
        trial = self.trials.get(key)
        if trial is None or trial.told is not None or not trial.wanted:
            return
        try:
            answer = self.line.call("pull", key, -1)
        except LostError:
            return
        if answer is None:
            self.tell("submit", key, {"key": key})
        elif answer["ended"] is not None:
            assert key in self.ends(), "Tune was told of an end that is not journaled"
            trial.told = answer["ended"]

    def tell(self, name, *args):
        with suppress(LostError):
            self.line.call(name, *args)

    def exchange(self, host, fate="arrives"):
        self.line.fate = fate
        try:
            self.replicas[host].link.exchange()
        except LostError:
            pass
        except GivenUpError:
            self.replicas[host] = self.new_replica(host)
        self.line.fate = "arrives"

    def slot_asks(self, host, fate="arrives"):
        replica = self.replicas[host]
        if replica.running is not None:
            return
        self.line.fate = fate
        try:
            job = replica.link.take(0, replica.done, within=1.0)
        except LostError:
            return
        if job is not None:
            assert self.holders.setdefault(job["epoch"], replica.link) is replica.link, "one epoch, two replicas"
            trial = self.trials[job["key"]]
            replica.running = Running(job, trial.checkpoint)
            for step in range(1, trial.checkpoint + 1):  # a trial that resumes repeats its points
                self.say(replica, step)

    def trial_goes_on(self, host):
        replica = self.replicas[host]
        if replica.running is None:
            return
        job, trial = replica.running.job, self.trials[replica.running.job["key"]]
        if replica.link.is_unwanted(job["epoch"]):
            trial.checkpoint = max(trial.checkpoint, replica.running.step)
            self.end(replica, "stopped")
        elif replica.running.step == STEPS:
            self.end(replica, "finished")
        else:
            replica.running.step += 1
            self.say(replica, replica.running.step)
            if replica.running.step % 2 == 0:
                trial.checkpoint = max(trial.checkpoint, replica.running.step)

    def say(self, replica, step):
        self.tokens += 1
        values = {"eval/perplexity" if step % 2 else "train/loss": 1.0, "token": self.tokens}
        replica.link.say("metrics", epoch=replica.running.job["epoch"], step=step, time=0, values=values)

    def end(self, replica, status):
        job, replica.running, replica.done = replica.running.job, None, replica.running.job["epoch"]
        replica.link.end(job["epoch"], {"key": job["key"], "status": status, "step": STEPS})

    def driver_drains(self, fate="arrives"):
        """As `Pump` does it; what it opens may be dead again before it answers."""
        self.line.fate = fate
        try:
            dispatcher = self.line.dispatcher
            if dispatcher.generation != self.received.generation:
                unwanted = [key for key, trial in self.trials.items() if not trial.wanted]
                self.line.call("open", self.received.ended, self.received.replicas, unwanted)
                self.received.opened(dispatcher.generation)
                return
            answer = self.line.drain(self.received.acknowledged, self.accepted.refused)
        except LostError:
            return
        self.accepted.refused = []
        if answer is not None:
            self.journal += self.received.take(self.accepted.look_at(answer, over=self.received.ended))

    def ends(self):
        return Counter(record["key"] for record in self.journal if record["event"] == "ended")

    def no_trial_ends_twice(self):
        assert all(count == 1 for count in self.ends().values()), self.ends()

    def no_message_is_journaled_twice(self):
        tokens = [record["values"]["token"] for record in self.journal if record["event"] == "metrics"]
        assert len(tokens) == len(set(tokens))

    def come_to_rest(self):
        """Once nothing fails any more, all that is wanted ends, and every point of what finished is there."""
        self.all_is_well(60)
        self.no_trial_ends_twice()
        self.no_message_is_journaled_twice()
        ends = {record["key"]: record["result"]["status"] for record in self.journal if record["event"] == "ended"}
        points = {(record["key"], record["step"]) for record in self.journal if record["event"] == "metrics"}
        for key, trial in self.trials.items():
            if trial.wanted:
                assert trial.told == self.received.ended[key]
                assert ends[key] in ("finished", "failed")
            if ends.get(key) == "finished":
                assert {step for name, step in points if name == key} == set(range(1, STEPS + 1))
        for replica in self.replicas.values():
            assert not replica.link._outbox, "a message was never confirmed"

    def happen(self, draw):
        """Let one event happen, drawn at random; much of the time things go on as they should."""
        host, key, fate = draw.choice(HOSTS), draw.choice(KEYS), draw.choice(FATES)
        events = {
            lambda: self.all_is_well(draw.randint(1, 2)): 6,
            lambda: self.hub_is_restarted(draw.random() < 0.75): 4,
            lambda: self.replica_dies(host, draw.random() < 0.5): 2,
            lambda: self.replica_falls_silent(host): 1,
            lambda: self.time_passes(draw.choice((0.3, 2.0, 5.0))): 2,
            lambda: self.actor_submits(key): 2,
            lambda: self.late_actor_submits(key): 1,
            lambda: self.driver_cancels(key): 0.3,
            lambda: self.actor_pulls(key): 4,
            lambda: self.exchange(host, fate): 8,
            lambda: self.slot_asks(host, fate): 6,
            lambda: self.trial_goes_on(host): 8,
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
