"""Private parts of Ray Train. Importing this module imports Ray Train."""

import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import ray
from ray import PlacementGroupID
from ray.exceptions import RayActorError
from ray.train import Result
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.constants import get_env_vars_to_propagate
from ray.train.v2._internal.execution.callback import WorkerGroupCallback
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.placement_group import PlacementGroup, remove_placement_group

from nmlab.platform.compat.ray_core import NODE_ID_LABEL, delete_key, get_key, put_key

__all__ = ["TrainerWithController", "result_of"]

_RESERVED = b"nmlab train runs"
"""The namespace of the keys under which controllers note what they have reserved."""


class TrainerWithController(DataParallelTrainer):
    """A Train run of which a subclass starts the controller, and so has its handle.

    It starts neither a manager of datasets, nor an actor that passes requests to an autoscaler, which sees what is
    reserved without it, nor one that looks after what a killed controller has reserved: the process that waits for the
    run knows of its death, and removes it. Each of the three is a process of two seconds of processor time.

    Instead: Train gives no handle of its controller, so a thread that waits for a starting run cannot be released. A
    thread that still waits when Ray is shut down ends the whole process, with exit code 1. No setting leaves the three
    processes out; the last one asks Ray's dashboard, and where there is none it removes nothing.
    Seen: Ray 2.60
    """

    def run_controller(self, start: Callable[[], Any]) -> Result:
        """Start the controller by ``start``, which returns its actor handle; return the result of the run."""
        return result_of(start())

    def _initialize_and_run_controller(self, **settings: Any) -> Result:
        """Have the controller run on the driver's node, as Train does."""
        key = uuid.uuid4().hex.encode()
        callbacks: Sequence[object] = settings["callbacks"]
        kept = [each for each in callbacks if not isinstance(each, DatasetsCallback | PlacementGroupCleanerCallback)]
        settings |= {"callbacks": [*kept, _Reservation(key)], "scaling_policy": _FixedSize(self.scaling_config)}
        here = {NODE_ID_LABEL: ray.get_runtime_context().get_node_id()}
        environment = {"env_vars": get_env_vars_to_propagate()}
        actor = ray.remote(num_cpus=0, label_selector=here, runtime_env=environment)(TrainController)
        try:
            result = self.run_controller(partial(actor.remote, **settings))
        except RayActorError:
            _remove_reservation(key)
            raise
        delete_key(key, namespace=_RESERVED)
        return result


class _FixedSize(FixedScalingPolicy):
    """As many workers as are asked for; a placement group that waits for room is all that an autoscaler is told."""

    def after_controller_start(self, train_run_context: object) -> None:
        """Send no request of its own."""

    def _maybe_send_resource_request(self) -> None:
        """Send none later either."""


class _Reservation(WorkerGroupCallback):
    """Notes, in the process of the controller, which placement group its workers have."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def after_worker_group_start(self, worker_group: Any) -> None:
        group = worker_group.get_worker_group_state().placement_group_handle.placement_group
        put_key(self._key, group.id.binary(), namespace=_RESERVED)


def _remove_reservation(key: bytes) -> None:
    """Remove the placement group that a controller has noted, if any: Ray keeps it until the whole job ends."""
    if (group := get_key(key, namespace=_RESERVED)) is not None:
        remove_placement_group(PlacementGroup(PlacementGroupID(group)))
        delete_key(key, namespace=_RESERVED)


def result_of(controller: Any) -> Result:
    """Run a controller, given its actor handle, until the run has ended; return the result of the run.

    Instead: see `TrainerWithController`.
    Seen: Ray 2.60
    """
    ray.get(controller.run.remote())
    result: Result = ray.get(controller.get_result.remote())
    return result
