"""A Ray Train run that whoever began it can call off."""

import threading
from typing import Any

import ray
from ray._raylet import RAY_NODE_ID_KEY  # type: ignore[attr-defined]
from ray.train.v2._internal.constants import get_env_vars_to_propagate
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer


class CalledOffError(RuntimeError):
    """A run that was called off before it began."""


class TrainRun(DataParallelTrainer):  # type: ignore[misc]
    """One run, waited for in a thread. What it replaces is internal to Ray 2.60; look here first at an upgrade.

    Train gives no hold of its controller, so that a thread could not be freed from a run that is still coming up. A
    thread that waits when Ray is shut down takes the process with it, with exit code 1.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._controller: Any = None
        self._called_off = False
        self._guard = threading.Lock()

    def call_off(self) -> None:
        """End the run at once if it has not ended: ``fit`` raises. Its workers end with its controller."""
        with self._guard:
            self._called_off = True
            if self._controller is not None:
                ray.kill(self._controller)

    def _initialize_and_run_controller(self, **settings: Any) -> Any:
        """Start the controller beside the driver, as Train does, and wait for it."""
        here = {RAY_NODE_ID_KEY: ray.get_runtime_context().get_node_id()}
        environment = {"env_vars": get_env_vars_to_propagate()}
        actor = ray.remote(num_cpus=0, label_selector=here, runtime_env=environment)(TrainController)
        with self._guard:
            if self._called_off:
                raise CalledOffError("the run was called off before it began")
            self._controller = actor.remote(**settings)
        ray.get(self._controller.run.remote())
        return ray.get(self._controller.get_result.remote())
