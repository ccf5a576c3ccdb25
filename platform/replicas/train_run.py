"""A Ray Train run that can be ended while it is still starting, and what its workers are given."""

import threading
from collections.abc import Callable, Mapping
from typing import Any, TypedDict

import ray
from ray.train import Result, RunConfig, ScalingConfig

from nmlab.platform.compat.ray_train import TrainerWithController, result_of
from nmlab.platform.mask_parallel.coordinator_client import CoordinatorSettings


class WorkerConfig(TypedDict):
    """What a worker of a replica is given; Train sends it as a dictionary."""

    name: str
    """Of the replica."""
    dispatcher: str
    """The dispatcher's name."""
    namespace: str
    """Of the dispatcher."""
    folder: str
    """Of the launch's trials."""
    nonce: str | None
    """The file by which a worker shows that it sees the launch's folder; None if the dispatcher does not expect it."""
    initial_masks: str
    """The folder of the masks that trials start from."""
    model: Mapping[str, Any]
    """A ``ModelSource`` as plain JSON."""
    slots: int
    load: Mapping[str, int]
    """The fields of the ``Load`` of a replica."""
    mask_parallel: CoordinatorSettings | None
    threads: int
    """Of one trial."""


class CalledOffError(RuntimeError):
    """The run was called off before it began."""


class TrainRun(TrainerWithController):
    """A Train run that a thread waits for and another can end."""

    def __init__(
        self,
        worker: Callable[[WorkerConfig], None],
        *,
        config: WorkerConfig,
        scaling: ScalingConfig,
        run: RunConfig,
    ) -> None:
        super().__init__(worker, train_loop_config=config, scaling_config=scaling, run_config=run)
        self._controller: Any = None
        self._called_off = False
        self._guard = threading.Lock()

    def call_off(self) -> None:
        """End the run at once: ``fit`` raises in its thread. The workers end with the controller."""
        with self._guard:
            self._called_off = True
            if self._controller is not None:
                ray.kill(self._controller)

    def run_controller(self, start: Callable[[], Any]) -> Result:
        """Start the controller, unless the run was called off before, and wait for it."""
        with self._guard:
            if self._called_off:
                raise CalledOffError("the run was called off before it began")
            self._controller = start()
        return result_of(self._controller)
