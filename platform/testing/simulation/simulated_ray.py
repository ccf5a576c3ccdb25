"""A stand-in for Ray's core: async actors that are restarted, calls that are late, lost or carried out twice.

The actors are the real classes. Each runs in a process of its own, on an event loop whose clock is the virtual one.
"""

import asyncio
import pickle
import weakref
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from ray.exceptions import ActorDiedError, ActorUnavailableError, GetTimeoutError

from nmlab.platform.testing.simulation.scheduler import Process, Scheduler
from nmlab.platform.testing.simulation.virtual_loop import VirtualLoop

DRIVERS_NODE = "d0" * 28  # of the form that Ray demands
_RESTART_S = (0.2, 1.5)
_HANDLES: "weakref.WeakValueDictionary[int, Handle]" = weakref.WeakValueDictionary()


@dataclass
class Network:
    """What happens to calls between processes; all of it is drawn.

    Attributes:
        latency: the mean time that a call, or its answer, is on its way, in seconds.
        late: how often a call or its answer takes up to ``latest`` seconds, so that later ones overtake it.
        lost: how often a call, or its answer, is lost: the caller gets Ray's error and does not know which of both.
        twice: how often a call is carried out twice, as when the first answer was lost.
    """

    latency: float = 0.003
    late: float = 0.0
    latest: float = 2.0
    lost: float = 0.0
    twice: float = 0.0


class Call:
    """A call on its way; ``ray.get`` waits for its answer."""

    def __init__(self) -> None:
        self.is_done = False
        self._value = b""
        self._error: Exception | None = None

    def answer(self, value: bytes) -> None:
        """Deliver the answer; a second one is ignored."""
        if not self.is_done:
            self.is_done, self._value = True, value

    def fail(self, error: Exception) -> None:
        """Deliver an error."""
        if not self.is_done:
            self.is_done, self._error = True, error

    def result(self) -> Any:
        """Return the answer, or raise the error."""
        if self._error is not None:
            raise self._error
        return pickle.loads(self._value)


class Handle:
    """What can be sent to other processes and stands for the same thing there."""

    def __init__(self) -> None:
        _HANDLES[id(self)] = self

    def __reduce__(self) -> tuple[Callable[[int], object], tuple[int]]:
        return _handle, (id(self),)


def _handle(number: int) -> "Handle":
    return _HANDLES[number]


class WorkerHandle(Handle):
    """The actor in which a Train worker runs; the dispatcher asks it whether it lives."""

    def __init__(self, process: Process) -> None:
        super().__init__()
        self.process = process
        self.__ray_ready__ = SimpleNamespace(remote=self._ready)

    async def _ready(self) -> None:
        await asyncio.sleep(0.002)
        if not self.process.is_alive:
            raise ActorDiedError


class ActorHandle(Handle):
    """A named actor, which is started again under its name whenever its process dies."""

    def __init__(self, ray: "SimulatedRay", made: type, given: Mapping[str, object], *, name: str, node: str) -> None:
        super().__init__()
        self.name, self._ray, self._made, self._given, self._node = name, ray, made, given, node
        self._open: set[Call] = set()
        self._is_wanted, self._was_called = True, False
        self.restarts = -1
        self._start()

    def __getattr__(self, method: str) -> Any:
        if method.startswith("_"):
            raise AttributeError(method)
        return SimpleNamespace(remote=lambda *args, **named: self._send(method, args, named))

    def kill(self, *, for_good: bool = False) -> None:
        """Kill the actor's process; ``for_good`` as when its driver has ended."""
        self._is_wanted = self._is_wanted and not for_good
        self._ray.scheduler.kill(self.process)

    def _start(self) -> None:
        if not self._is_wanted:
            return
        scheduler = self._ray.scheduler
        self.restarts += 1
        self.process = Process(self.name, self._node)
        self.process.at_death.append(self._died)
        self._loop: VirtualLoop | None = None
        scheduler.start(self.process, self._serve, name="actor")

    def _serve(self) -> None:
        loop = VirtualLoop(self._ray.scheduler)
        self._instance = self._made(**self._given)
        self._loop = loop
        try:
            loop.run_forever()
        finally:
            loop.abandon()

    def _died(self) -> None:
        for call in self._open:
            self._ray.deliver(lambda call=call: call.fail(self._unavailable()))  # type: ignore[misc]
        self._open = set()
        self._ray.scheduler.later(self._ray.scheduler.random.uniform(*_RESTART_S), self._start)

    def _unavailable(self) -> Exception:
        error: Exception = ActorUnavailableError("its process has died", None)
        return error

    def _send(self, method: str, args: Sequence[object], named: Mapping[str, object]) -> Call:
        ray, call = self._ray, Call()
        ray.scheduler.check()
        sent = pickle.dumps((args, named))
        fate, self._was_called = ray.fate() if self._was_called else "arrives", True  # it starts undisturbed
        if fate == "call is lost":
            ray.deliver(lambda: call.fail(self._unavailable()))
            return call
        for _ in range(2 if fate == "comes twice" else 1):
            ray.deliver(lambda: self._begin(call, method, sent, is_lost=fate == "answer is lost"))
        return call

    def _begin(self, call: Call, method: str, sent: bytes, *, is_lost: bool) -> None:
        loop = self._loop
        if self.process.is_alive and loop is None:  # it is being started
            self._ray.scheduler.later(0.01, lambda: self._begin(call, method, sent, is_lost=is_lost))
            return
        if not self.process.is_alive or loop is None:
            self._ray.deliver(lambda: call.fail(self._unavailable()))
            return
        self._open.add(call)
        args, named = pickle.loads(sent)
        work = self._carry_out(call, getattr(self._instance, method)(*args, **named), is_lost=is_lost)
        loop.call_soon_threadsafe(lambda: loop.create_task(work))

    async def _carry_out(self, call: Call, work: Coroutine[object, None, object], *, is_lost: bool) -> None:
        try:
            value = await work
        except Exception as error:
            failure = error
            self._ray.deliver(lambda: call.fail(failure))
        else:
            kept = pickle.dumps(value)
            self._ray.deliver(lambda: call.fail(self._unavailable()) if is_lost else call.answer(kept))
        self._open.discard(call)


@dataclass
class _ActorClass:
    ray: "SimulatedRay"
    made: type
    name: str = ""

    def options(self, *, name: str, **placement: object) -> "_ActorClass":
        return _ActorClass(self.ray, self.made, name)

    def remote(self, **given: object) -> ActorHandle:
        return self.ray.new_actor(self.made, given, name=self.name)


@dataclass
class SimulatedRay:
    """The functions of the module ``ray`` that nmlab uses while trials run."""

    scheduler: Scheduler
    network: Network = field(default_factory=Network)
    nodes_up: dict[str, bool] = field(default_factory=lambda: {DRIVERS_NODE: True})
    actors: dict[str, ActorHandle] = field(default_factory=dict)
    workers: dict[Process, WorkerHandle] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.util = SimpleNamespace(get_node_ip_address=lambda: self._here())

    def remote(self, **options: object) -> Callable[[type], _ActorClass]:
        """Return a decorator that makes an actor class of a class."""
        return lambda made: _ActorClass(self, made)

    def new_actor(self, made: type, given: Mapping[str, object], *, name: str) -> ActorHandle:
        """Start an actor on the driver's node."""
        self.actors[name] = ActorHandle(self, made, given, name=name, node=DRIVERS_NODE)
        return self.actors[name]

    def get_actor(self, name: str, namespace: str | None = None) -> ActorHandle:
        """Return the actor of this name."""
        if name not in self.actors:
            raise ValueError(f"no actor {name!r}")
        return self.actors[name]

    def get(self, call: Call, timeout: float | None = None) -> Any:
        """Wait for the answer to a call."""
        until = float("inf") if timeout is None else self.scheduler.now + timeout
        self.scheduler.pause(until=until, ready=lambda: call.is_done)
        if not call.is_done:
            raise GetTimeoutError(f"no answer within {timeout} s")
        return call.result()

    def nodes(self) -> list[dict[str, object]]:
        """Return the nodes, with one CPU for each replica that may come."""
        resources = {"CPU": 8.0}
        return [{"NodeID": name, "Alive": up, "Resources": resources} for name, up in self.nodes_up.items()]

    def cluster_resources(self) -> dict[str, float]:
        """Return the resources of all nodes."""
        return {"CPU": 8.0 * sum(self.nodes_up.values())}

    def get_runtime_context(self) -> SimpleNamespace:
        """Return what the running process can know of itself."""
        task = self.scheduler.current
        handle = None if task is None else self.workers.get(task.process)
        actor_id = "" if task is None else task.process.name
        return SimpleNamespace(get_node_id=self._here, current_actor=handle, get_actor_id=lambda: actor_id)

    def deliver(self, call: Callable[[], object]) -> None:
        """Call something once a message has arrived."""
        draw, network = self.scheduler.random, self.network
        seconds = draw.expovariate(1 / network.latency)
        if draw.random() < network.late:
            seconds = draw.uniform(0.0, network.latest)
        self.scheduler.later(seconds, call)

    def fate(self) -> str:
        """Draw what becomes of a call."""
        drawn, network = self.scheduler.random.random(), self.network
        if drawn < network.lost:
            return "call is lost" if drawn < network.lost / 2 else "answer is lost"
        return "comes twice" if drawn < network.lost + network.twice else "arrives"

    def _here(self) -> str:
        task = self.scheduler.current
        return DRIVERS_NODE if task is None else task.process.node
