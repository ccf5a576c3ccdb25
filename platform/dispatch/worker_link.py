"""A replica's side of its talk with the hub: messages that are kept until the driver has them, leases, heartbeats.

No trial ever waits for the hub. What a trial says is numbered and put into the outbox; one thread sends it on, learns
what to stop, and introduces the replica again to a hub that was restarted.
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
    """The hub took this replica for dead, because it was stopped or starved of time. To return, it must start anew."""


class WorkerLink:
    """``exchange`` is called by one thread, the rest by any. ``me`` is the handle of the actor that this is part of."""

    def __init__(self, dispatcher: Any, *, name: str, facts: Mapping[str, Any], me: Any) -> None:
        self._dispatcher, self._name, self._facts, self._me = dispatcher, name, dict(facts), me
        self._incarnation = time.time_ns()
        self._generation = 0
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._outbox: deque[Record] = deque()
        self._number = self._heard = 0
        self._running: dict[int, Record] = {}
        self._ended: dict[int, Record] = {}
        self._unwanted: set[int] = set()
        self.stopping = False

    def take(self, slot: int, done: int, *, within: float) -> Record | None:
        """Wait for a lease for a slot whose last one was ``done``; the caller ends it with ``end``."""
        job: Record | None = self._dispatcher.ask("take", self._name, self._incarnation, slot, done, within=within)
        if job == {}:
            self.stopping = True
        if job:
            with self._lock:
                self._running[job["epoch"]] = {**job, "evaluations": []}
        return job or None

    def is_unwanted(self, epoch: int) -> bool:
        """Say whether a trial should save itself and stop."""
        return self.stopping or epoch in self._unwanted

    def say(self, event: str, *, epoch: int | None = None, **values: Any) -> None:
        """Put a message into the outbox; of a lease, if ``epoch`` is given. Evaluations are sent at once."""
        with self._lock:
            self._put(event, epoch, values)
            if epoch is not None and event == "metrics" and is_intermediate(values["values"]):
                self._running[epoch]["evaluations"].append({name: values[name] for name in ("step", "time", "values")})
        told = values.get("values", ())
        if has_phase(told, Phase.EVALUATION) or has_phase(told, Phase.START):
            self._news.set()

    def end(self, epoch: int, result: Mapping[str, Any]) -> None:
        """Say how a trial ended. Its lease is remembered until the driver has its result."""
        with self._lock:
            self._put("ended", epoch, {"result": dict(result)})
            self._ended[self._number] = self._running.pop(epoch)
        self._news.set()

    def wait_for_notice(self, timeout: float) -> None:
        """Return when there is something to send at once, or after ``timeout`` seconds."""
        self._news.wait(timeout)
        self._news.clear()

    def exchange(self) -> None:
        """Send what the hub has not heard, and take its answer; raises ``GivenUpError`` if it took us for dead."""
        while True:
            with self._lock:
                messages = [message for message in self._outbox if message["number"] > self._heard]
                running = [(job["key"], epoch) for epoch, job in self._running.items()]
            answer = self._dispatcher.call("hear", self._name, self._incarnation, self._generation, running, messages)
            if answer["state"] == "gone":
                raise GivenUpError(f"{self._name} was given up, and its trials run elsewhere; Train starts it again")
            if answer["state"] == "known":
                return self._settle(answer)
            self._introduce()

    def farewell(self, *, patience: float) -> None:
        """Wait until the driver has everything, as long as ``patience`` seconds, and say goodbye."""
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
            self._heard = 0
        arguments = (self._name, self._incarnation, self._facts, claims, [self._me])
        self._generation = self._dispatcher.ask("introduce", *arguments)

    def _settle(self, answer: Record) -> None:
        with self._lock:
            self._heard = answer["heard"]
            while self._outbox and self._outbox[0]["number"] <= answer["confirmed"]:
                self._ended.pop(self._outbox.popleft()["number"], None)
            self._unwanted = set(answer["stop"])
            self.stopping = self.stopping or answer["stopping"]

    def _put(self, event: str, epoch: int | None, values: Mapping[str, Any]) -> None:
        self._number += 1
        lease = {} if epoch is None else {"key": self._running[epoch]["key"], "epoch": epoch}
        self._outbox.append({"number": self._number, "event": event, **lease, **values})


def own_worker_link(dispatcher: str, *, namespace: str, name: str, facts: Mapping[str, Any]) -> WorkerLink:
    """Return the link of the replica ``name``, from within its actor."""
    me = ray.get_runtime_context().current_actor
    return WorkerLink(DispatchClient(dispatcher, namespace=namespace), name=name, facts=facts, me=me)
