"""Named actors: started beside the driver, found by name, and called again while Ray restarts them.

Ray's handles have no types. Here a call is written as a call of the actor's own class, so that the type checker sees
its arguments and its answer: ``calls.ask(lambda dispatcher: dispatcher.cancel(key, generation=7))``.
"""

import logging
import time
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, ParamSpec, TypeVar, cast

import ray
from ray.exceptions import GetTimeoutError, RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nmlab.platform.failures import reason_line

_log = logging.getLogger(__name__)
Actor = TypeVar("Actor")
"""A class whose methods are coroutines, which Ray runs in a process of its own."""
Answer = TypeVar("Answer")
Given = ParamSpec("Given")
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 1.0
"""Pause between two tries of a call: short at first, because Ray restarts an actor in about a second."""
_OVERDUE_SECONDS = 20.0
"""How long an answer may take beyond what the call waits for; then it counts as lost, and the call is made again."""
_CALLS_AT_ONCE = 1000
"""Calls that an actor serves at once; most of them only wait."""
_STARTS = 3
"""How often an actor is started that dies before it answers: Ray gives an actor up for good where one call of its head
to the process that started the actor fails, as on an overloaded machine."""


class ActorLostError(RuntimeError):
    """A named actor has not answered within the patience of its client; ``role`` says in messages what it is."""

    role: ClassVar[str]


class _UnknownActorError(Exception):
    """Ray knows no actor of this name: it is being started, or has ended for good."""


class _Remote:
    """Makes a call of a method a remote call, which returns a reference to the answer."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name).remote


class RunningActor(Generic[Actor]):
    """The handle of an actor, which lives as long as its handles."""

    def __init__(self, handle: Any) -> None:
        self._remote = cast(Actor, _Remote(handle))

    def ask(self, call: Callable[[Actor], Coroutine[Any, Any, Answer]], *, timeout: float | None = None) -> Answer:
        """Return the answer to ``call(actor)``; raises what Ray raises, also after ``timeout`` seconds."""
        return cast(Answer, ray.get(call(self._remote), timeout=timeout))


def start_actor(actor: Callable[Given, Actor], *, name: str, namespace: str) -> Callable[Given, RunningActor[Actor]]:
    """Return a function that starts an actor on this node, with the arguments of its class; Ray restarts it if it dies.

    The namespace is given, because a process that was connected by its user has one of its own.
    """
    # Where the affinity is soft, Ray starts an actor without resources on any node.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    remote = ray.remote(num_cpus=0, max_concurrency=_CALLS_AT_ONCE, max_restarts=-1)(actor)
    remote = remote.options(name=name, namespace=namespace, scheduling_strategy=here)

    def start(*args: Given.args, **settings: Given.kwargs) -> RunningActor[Actor]:
        return RunningActor(remote.remote(*args, **settings))

    return start


@dataclass(frozen=True)
class StartedActor(Generic[Actor]):
    """An actor that has answered: its ``name``, and the handle ``actor``, as long as which it lives."""

    name: str
    actor: RunningActor[Actor]


def start_until_it_answers(
    start: Callable[[str], RunningActor[Actor]],
    *,
    prefix: str,
    question: Callable[[Actor], Coroutine[Any, Any, object]],
    starts: int = _STARTS,
) -> StartedActor[Actor]:
    """Start an actor and wait until it answers; one that dies before is started again under another name.

    Args:
        start: starts the actor, given its name.
        prefix: of its name, before a random part.
        question: a call of the actor that changes nothing.
        starts: how often it is started, at most.

    Raises ``RayActorError`` if the last one dies too.
    """
    name = f"{prefix}-{uuid.uuid4().hex[:8]}"
    actor = start(name)
    try:
        actor.ask(question)
    except RayActorError as error:
        if starts == 1:
            raise
        _log.warning("%s died before it answered and is started again: %s", name, reason_line(error))
        return start_until_it_answers(start, prefix=prefix, question=question, starts=starts - 1)
    return StartedActor(name, actor)


class ActorCalls(Generic[Actor]):
    """Calls the actor named ``name``; a call may be carried out twice if the actor dies meanwhile.

    Args:
        name: of the actor.
        namespace: in which it has this name.
        lost: is raised after ``patience`` seconds without an answer.
        actor: its handle, if this process has started it.
        patience: see ``lost``.
    """

    def __init__(
        self,
        name: str,
        *,
        namespace: str,
        lost: type[ActorLostError],
        actor: RunningActor[Actor] | None = None,
        patience: float = 60.0,
    ) -> None:
        self.name, self._lost = name, lost
        self._namespace, self._actor, self._patience = namespace, actor, patience

    def ask(self, call: Callable[[Actor], Coroutine[Any, Any, Answer]], *, within: float = 0.0) -> Answer:
        """Return the answer to ``call(actor)``, which may wait ``within`` seconds."""
        since, pause = time.monotonic(), _FIRST_PAUSE_SECONDS
        while True:
            try:
                return self._find().ask(call, timeout=within + _OVERDUE_SECONDS)
            except (RayActorError, GetTimeoutError, _UnknownActorError) as error:
                self._give_up_after(since, error)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _find(self) -> RunningActor[Actor]:
        if self._actor is None:
            try:
                self._actor = RunningActor(ray.get_actor(self.name, namespace=self._namespace))
            except ValueError as error:
                raise _UnknownActorError(str(error)) from error
        return self._actor

    def _give_up_after(self, since: float, error: Exception) -> None:
        waited = time.monotonic() - since
        if waited > self._patience:
            raise self._lost(
                f"the {self._lost.role} {self.name} has not answered for {waited:.0f} s ({type(error).__name__}); "
                "its node may be lost or out of memory. `nmlab resume` goes on from what is recorded"
            ) from error
