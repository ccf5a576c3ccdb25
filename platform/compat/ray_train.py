"""Private parts of Ray Train. Importing this module imports Ray Train."""

from collections.abc import Callable
from functools import partial
from typing import Any

import ray
from ray.train import Result
from ray.train.v2._internal.constants import get_env_vars_to_propagate
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from nmlab.platform.compat.ray_core import NODE_ID_LABEL

__all__ = ["TrainerWithController", "result_of"]


class TrainerWithController(DataParallelTrainer):
    """A Train run of which a subclass starts the controller, and so has its handle.

    Instead: Train gives no handle of its controller, so a thread that waits for a starting run cannot be released. A
    thread that still waits when Ray is shut down ends the whole process, with exit code 1.
    Seen: Ray 2.60
    """

    def run_controller(self, start: Callable[[], Any]) -> Result:
        """Start the controller by ``start``, which returns its actor handle; return the result of the run."""
        return result_of(start())

    def _initialize_and_run_controller(self, **settings: Any) -> Result:
        """Have the controller run on the driver's node, as Train does."""
        here = {NODE_ID_LABEL: ray.get_runtime_context().get_node_id()}
        environment = {"env_vars": get_env_vars_to_propagate()}
        actor = ray.remote(num_cpus=0, label_selector=here, runtime_env=environment)(TrainController)
        return self.run_controller(partial(actor.remote, **settings))


def result_of(controller: Any) -> Result:
    """Run a controller, given its actor handle, until the run has ended; return the result of the run.

    Instead: see `TrainerWithController`.
    Seen: Ray 2.60
    """
    ray.get(controller.run.remote())
    result: Result = ray.get(controller.get_result.remote())
    return result
