"""Calls to the hub that outlast the hub: they are made again until one that was restarted answers."""

import time
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
_OVERDUE_S = 20.0


class DispatcherLostError(RuntimeError):
    """The hub has not answered for so long that it will not."""


class _UnknownActorError(Exception):
    """Ray knows no actor of this name: it is being started, or gone for good."""


class DispatchClient:
    """The hub ``name``, for a driver, a replica or a trial actor.

    A call may be carried out more than once when the hub dies under it; every call of the hub is made for that
    (`hub_state`). Raises ``HubLostError`` after ``patience`` seconds without an answer.
    """

    def __init__(self, name: str, *, namespace: str, actor: Any = None, patience: float = 60.0) -> None:
        self.name = name
        self._namespace, self._actor, self._patience = namespace, actor, patience

    def call(self, name: str, *args: Any) -> Any:
        """Call ``HubState.name``."""
        return self.ask("call", name, *args)

    def ask(self, method: str, *args: Any, within: float = 0.0) -> Any:
        """Call a method of the hub, which may take ``within`` seconds, given to it as its last argument, if any."""
        arguments = (*args, within) if within else args
        since, pause = time.monotonic(), _FIRST_PAUSE_S
        while True:
            try:
                return ray.get(getattr(self._find(), method).remote(*arguments), timeout=within + _OVERDUE_S)
            except (RayActorError, GetTimeoutError, _UnknownActorError) as error:
                self._give_up_after(since, error)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

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
                f"the hub {self.name} has not answered for {waited:.0f} s ({type(error).__name__}); "
                "its node may be lost or out of memory. `nmlab resume` goes on from what is recorded"
            ) from error
