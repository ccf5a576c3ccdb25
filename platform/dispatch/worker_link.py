"""The link of a replica to the dispatcher: leases, heartbeats, and an outbox of messages the driver does not have yet.

A trial never waits for the dispatcher. Its messages are numbered and put into the outbox; one thread sends them,
receives which trials to stop, and introduces the replica again to a restarted dispatcher.
"""

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, assert_never

import ray

from nmlab.platform.dispatch.client import DispatchClient
from nmlab.platform.dispatch.messages import (
    Claim,
    GivenUp,
    Lease,
    Message,
    MustIntroduce,
    NoMoreTrials,
    Receipt,
    ReplicaProcess,
    can_wait,
)
from nmlab.platform.records.events import JournalRecord, TrialEnded, TrialMetrics
from nmlab.platform.records.payloads import ReplicaFacts, ResultRecord
from nmlab.trials.contract.declarations import is_intermediate


class GivenUpError(RuntimeError):
    """The dispatcher gave this replica up, as it hung or got no processor time; its process must start again."""


@dataclass
class _Running:
    """A lease that this process holds, and the evaluations of its trial so far."""

    lease: Lease
    evaluations: list[TrialMetrics] = field(default_factory=list)


class WorkerLink:
    """Connects one process of the replica ``name`` with the dispatcher; one thread calls `exchange`, any the rest.

    Args:
        dispatcher: the client of the dispatcher.
        name: of the replica.
        facts: what the record of the replica tells: process, node, device, model, what it shows of its folder.
        own_actor: the handle of the actor that this runs in, whose process the dispatcher watches.
    """

    def __init__(self, dispatcher: DispatchClient, *, name: str, facts: ReplicaFacts, own_actor: Any) -> None:
        self._dispatcher, self._facts, self._own_actor = dispatcher, facts, own_actor
        self.process = ReplicaProcess(name, incarnation=time.time_ns())
        self._generation = 0
        self._lock = threading.Lock()
        self._urgent = threading.Event()
        self._outbox: deque[Message] = deque()
        self._number = self._received = 0
        self._running: dict[int, _Running] = {}
        self._ended: dict[int, _Running] = {}
        self._cancelled: set[int] = set()
        self.stopping = False

    @property
    def name(self) -> str:
        """The name of the replica, for its records."""
        return self.process.name

    def take(self, slot: int, last_epoch: int, *, within: float) -> Lease | None:
        """Wait for a lease for a slot whose last lease was epoch ``last_epoch``; the caller ends it with `end`."""
        match self._dispatcher.take(self.process, slot=slot, last_epoch=last_epoch, within=within):
            case Lease() as lease:
                with self._lock:
                    self._running[lease.epoch] = _Running(lease)
                return lease
            case NoMoreTrials():
                self.stopping = True
        return None

    def is_cancelled(self, epoch: int) -> bool:
        """Return whether a trial should write a checkpoint and stop."""
        return self.stopping or epoch in self._cancelled

    def enqueue(self, record: JournalRecord) -> None:
        """Put a record that is about no lease into the outbox."""
        with self._lock:
            self._put(record)

    def add_point(self, epoch: int, values: Mapping[str, float], *, step: int, time: int) -> None:
        """Put what a trial measured after a step into the outbox; evaluations are sent at once."""
        with self._lock:
            running = self._running[epoch]
            point = TrialMetrics(key=running.lease.key, step=step, time=time, values=values, host=self.name)
            self._put(point, epoch=epoch)
            if is_intermediate(values):
                running.evaluations.append(point)
        if not can_wait(point):
            self._urgent.set()

    def end(self, epoch: int, result: ResultRecord) -> None:
        """Put the result of a trial into the outbox; its lease is remembered until the driver has the result."""
        with self._lock:
            running = self._running.pop(epoch)
            self._put(TrialEnded(key=running.lease.key, result=result, host=self.name), epoch=epoch)
            self._ended[self._number] = running
        self._urgent.set()

    def wait_for_notice(self, timeout: float) -> None:
        """Return when there is something to send at once, or after ``timeout`` seconds."""
        self._urgent.wait(timeout)
        self._urgent.clear()

    def exchange(self) -> None:
        """Send the messages that the dispatcher does not have, which is a heartbeat too, and apply its answer.

        Raises ``GivenUpError`` if the dispatcher gave this replica up.
        """
        while True:
            with self._lock:
                messages = [message for message in self._outbox if message.number > self._received]
                running = [(running.lease.key, epoch) for epoch, running in self._running.items()]
            answer = self._dispatcher.receive(
                self.process, generation=self._generation, running=running, messages=messages
            )
            match answer:
                case Receipt():
                    return self._settle(answer)
                case MustIntroduce():
                    self._introduce()
                case GivenUp():
                    raise GivenUpError(f"{self.name} was given up, and its trials run elsewhere; Train starts it again")
                case _ as never:
                    assert_never(never)

    def close(self, *, patience: float) -> None:
        """Wait up to ``patience`` seconds until the driver has all messages, then leave the dispatcher."""
        deadline = time.monotonic() + patience
        self.exchange()
        while self._outbox and time.monotonic() < deadline:
            time.sleep(0.05)
            self.exchange()
        self._dispatcher.leave(self.process)

    def _introduce(self) -> None:
        with self._lock:
            held = [*self._running.values(), *self._ended.values()]
            claims = [Claim(each.lease, tuple(each.evaluations)) for each in held]
            self._received = 0
        self._generation = self._dispatcher.introduce(
            self.process, facts=self._facts, claims=claims, own_actor=self._own_actor
        )

    def _settle(self, receipt: Receipt) -> None:
        with self._lock:
            self._received = receipt.received
            while self._outbox and self._outbox[0].number <= receipt.confirmed:
                self._ended.pop(self._outbox.popleft().number, None)
            self._cancelled = set(receipt.cancelled)
            self.stopping = self.stopping or receipt.stopping

    def _put(self, record: JournalRecord, *, epoch: int | None = None) -> None:
        self._number += 1
        self._outbox.append(Message(self._number, record, epoch))


def own_worker_link(dispatcher: str, *, namespace: str, name: str, facts: ReplicaFacts) -> WorkerLink:
    """Return the link of the replica ``name``; called in its own actor."""
    own_actor = ray.get_runtime_context().current_actor
    return WorkerLink(DispatchClient(dispatcher, namespace=namespace), name=name, facts=facts, own_actor=own_actor)
