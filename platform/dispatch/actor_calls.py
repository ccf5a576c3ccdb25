"""Calls to a named actor, repeated while Ray restarts it."""

import time
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 1.0
"""Between two tries of a call: short at first, because Ray restarts an actor in about a second."""
_OVERDUE_SECONDS = 20.0
"""How long an answer may take beyond what the call waits for; then it counts as lost, and the call is made again."""


class DispatcherLostError(RuntimeError):
    """The dispatcher, or the coordinator of mask parallelism, has not answered within the patience of its client."""


class _UnknownActorError(Exception):
    """Ray knows no actor of this name: it is being started, or has ended for good."""


class ActorCalls:
    """Calls the actor named ``name``; a call may be carried out twice if the actor dies meanwhile.

    ``role`` says in messages what the actor is. Raises ``DispatcherLostError`` after ``patience`` seconds without an
    answer.
    """

    def __init__(
        self, name: str, *, namespace: str, actor: Any = None, patience: float = 60.0, role: str = "dispatcher"
    ) -> None:
        self.name, self._role = name, role
        self._namespace, self._actor, self._patience = namespace, actor, patience

    def ask(self, call: Callable[[Any], Any], *, within: float = 0.0) -> Any:
        """Return the answer to ``call(actor)``, which makes a remote call that may wait ``within`` seconds."""
        since, pause = time.monotonic(), _FIRST_PAUSE_SECONDS
        while True:
            try:
                return ray.get(call(self._find()), timeout=within + _OVERDUE_SECONDS)
            except (RayActorError, GetTimeoutError, _UnknownActorError) as error:
                self._give_up_after(since, error)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _find(self) -> Any:
        if self._actor is None:
            try:
                self._actor = ray.get_actor(self.name, namespace=self._namespace)
            except ValueError as error:
                raise _UnknownActorError(str(error)) from error
        return self._actor

    def _give_up_after(self, since: float, error: Exception) -> None:
        waited = time.monotonic() - since
        if waited > self._patience:
            raise DispatcherLostError(
                f"the {self._role} {self.name} has not answered for {waited:.0f} s ({type(error).__name__}); "
                "its node may be lost or out of memory. `nmlab resume` goes on from what is recorded"
            ) from error
