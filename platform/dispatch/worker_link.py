"""The link of a replica to the dispatcher: leases, heartbeats, and an outbox of messages the driver does not have yet.

A trial never waits for the dispatcher. Its messages are numbered and put into the outbox; one thread sends them,
receives which trials to stop, and introduces the replica again to a restarted dispatcher.
"""

import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import ray

from nmlab.platform.dispatch.client import DispatchClient
from nmlab.trials.contract.declarations import has_phase, is_intermediate
from nmlab.trials.contract.metrics import Phase

Record = dict[str, Any]


class GivenUpError(RuntimeError):
    """The dispatcher gave this replica up, as it hung or got no processor time; its process must start again."""


class WorkerLink:
    """Connects one process of the replica ``name`` with the dispatcher; one thread calls `exchange`, any the rest.

    Args:
        dispatcher: the client of the dispatcher.
        name: of the replica.
        facts: what the record of the replica tells: process, node, device, model, what it shows of its folder.
        me: the handle of the actor that this runs in, whose process the dispatcher watches.
    """

    def __init__(self, dispatcher: Any, *, name: str, facts: Mapping[str, Any], me: Any) -> None:
        self._dispatcher, self._name, self._facts, self._me = dispatcher, name, dict(facts), me
        self._incarnation = time.time_ns()
        self._generation = 0
        self._lock = threading.Lock()
        self._urgent = threading.Event()
        self._outbox: deque[Record] = deque()
        self._number = self._received = 0
        self._running: dict[int, Record] = {}
        self._ended: dict[int, Record] = {}
        self._unwanted: set[int] = set()
        self.stopping = False

    def take(self, slot: int, done: int, *, within: float) -> Record | None:
        """Wait for a lease for a slot whose last lease was epoch ``done``; the caller ends it with `end`."""
        job: Record | None = self._dispatcher.ask("take", self._name, self._incarnation, slot, done, within=within)
        if job == {}:
            self.stopping = True
        if job:
            with self._lock:
                self._running[job["epoch"]] = {**job, "evaluations": []}
        return job or None

    def is_unwanted(self, epoch: int) -> bool:
        """Return whether a trial should write a checkpoint and stop."""
        return self.stopping or epoch in self._unwanted

    def enqueue(self, event: str, *, epoch: int | None = None, **values: Any) -> None:
        """Put a message into the outbox, about a lease if ``epoch`` is given; evaluations are sent at once."""
        with self._lock:
            self._put(event, epoch, values)
            if epoch is not None and event == "metrics" and is_intermediate(values["values"]):
                self._running[epoch]["evaluations"].append({name: values[name] for name in ("step", "time", "values")})
        names = values.get("values", ())
        if has_phase(names, Phase.EVALUATION) or has_phase(names, Phase.START):
            self._urgent.set()

    def end(self, epoch: int, result: Mapping[str, Any]) -> None:
        """Put the result of a trial into the outbox; its lease is remembered until the driver has the result."""
        with self._lock:
            self._put("ended", epoch, {"result": dict(result)})
            self._ended[self._number] = self._running.pop(epoch)
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
                messages = [message for message in self._outbox if message["number"] > self._received]
                running = [(job["key"], epoch) for epoch, job in self._running.items()]
            sender = (self._name, self._incarnation, self._generation)
            answer = self._dispatcher.call("receive", *sender, running, messages)
            if answer["state"] == "gone":
                raise GivenUpError(f"{self._name} was given up, and its trials run elsewhere; Train starts it again")
            if answer["state"] == "known":
                return self._settle(answer)
            self._introduce()

    def close(self, *, patience: float) -> None:
        """Wait up to ``patience`` seconds until the driver has all messages, then leave the dispatcher."""
        deadline = time.monotonic() + patience
        self.exchange()
        while self._outbox and time.monotonic() < deadline:
            time.sleep(0.05)
            self.exchange()
        self._dispatcher.call("leave", self._name, self._incarnation)

    def _introduce(self) -> None:
        with self._lock:
            held = [*self._running.values(), *self._ended.values()]
            claims = [{**job, "evaluations": list(job["evaluations"])} for job in held]
            self._received = 0
        arguments = (self._name, self._incarnation, self._facts, claims, [self._me])
        self._generation = self._dispatcher.ask("introduce", *arguments)

    def _settle(self, answer: Record) -> None:
        with self._lock:
            self._received = answer["received"]
            while self._outbox and self._outbox[0]["number"] <= answer["confirmed"]:
                self._ended.pop(self._outbox.popleft()["number"], None)
            self._unwanted = set(answer["stop"])
            self.stopping = self.stopping or answer["stopping"]

    def _put(self, event: str, epoch: int | None, values: Mapping[str, Any]) -> None:
        self._number += 1
        lease = {} if epoch is None else {"key": self._running[epoch]["key"], "epoch": epoch}
        self._outbox.append({"number": self._number, "event": event, **lease, **values})


def own_worker_link(dispatcher: str, *, namespace: str, name: str, facts: Mapping[str, Any]) -> WorkerLink:
    """Return the link of the replica ``name``; called in its own actor."""
    me = ray.get_runtime_context().current_actor
    return WorkerLink(DispatchClient(dispatcher, namespace=namespace), name=name, facts=facts, me=me)
