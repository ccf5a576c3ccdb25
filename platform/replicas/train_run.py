"""A Ray Train run that can be ended while it is still starting."""

import threading
from collections.abc import Callable
from typing import Any

import ray

from nmlab.platform.compat.ray_train import TrainerWithController, result_of


class CalledOffError(RuntimeError):
    """The run was called off before it began."""


class TrainRun(TrainerWithController):
    """A Train run that a thread waits for and another can end."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._controller: Any = None
        self._called_off = False
        self._guard = threading.Lock()

    def call_off(self) -> None:
        """End the run at once: ``fit`` raises in its thread. The workers end with the controller."""
        with self._guard:
            self._called_off = True
            if self._controller is not None:
                ray.kill(self._controller)

    def run_controller(self, start: Callable[[], Any]) -> Any:
        """Start the controller, unless the run was called off before, and wait for it."""
        with self._guard:
            if self._called_off:
                raise CalledOffError("the run was called off before it began")
            self._controller = start()
        return result_of(self._controller)
