"""A Ray Train run that can be ended while it is still starting."""

import threading
from typing import Any

import ray
from ray._raylet import RAY_NODE_ID_KEY  # type: ignore[attr-defined]
from ray.train.v2._internal.constants import get_env_vars_to_propagate
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer


class CalledOffError(RuntimeError):
    """The run was called off before it began."""


class TrainRun(DataParallelTrainer):  # type: ignore[misc]
    """A Train run that a thread waits for and another can end. It overrides internals of Ray 2.60: check at upgrades.

    Train gives no handle of its controller, so a thread that waits for a starting run could not be released. A thread
    that still waits when Ray is shut down ends the whole process, with exit code 1.
    """

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

    def _initialize_and_run_controller(self, **settings: Any) -> Any:
        """Start the controller on the driver's node, as Train does, and wait for it."""
        here = {RAY_NODE_ID_KEY: ray.get_runtime_context().get_node_id()}
        environment = {"env_vars": get_env_vars_to_propagate()}
        actor = ray.remote(num_cpus=0, label_selector=here, runtime_env=environment)(TrainController)
        with self._guard:
            if self._called_off:
                raise CalledOffError("the run was called off before it began")
            self._controller = actor.remote(**settings)
        ray.get(self._controller.run.remote())
        return ray.get(self._controller.get_result.remote())
