"""The Ray Train run of one replica: its resources, what its workers are given, and how it is ended while it starts."""

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypedDict, cast

import ray
from ray.train import FailureConfig, LoggingConfig, Result, RunConfig, ScalingConfig

from nmlab.platform.compat.ray_core import NODE_ID_LABEL
from nmlab.platform.compat.ray_train import TrainerWithController, result_of
from nmlab.platform.mask_parallel.coordinator_client import CoordinatorSettings
from nmlab.platform.process.openmp_policy import patience
from nmlab.search_spaces.schema.study import Study


class WorkerConfig(TypedDict):
    """What a worker of a replica is given; Train sends it as a dictionary."""

    name: str
    """The name of the replica."""
    dispatcher: str
    """The dispatcher's name."""
    namespace: str
    """The namespace of the dispatcher."""
    folder: str
    """The folder of the launch's trials."""
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
    """The threads of one trial."""


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
        loop = cast(Callable[[dict[str, Any]], None], worker)  # Train declares a plain dictionary
        super().__init__(loop, train_loop_config=dict(config), scaling_config=scaling, run_config=run)
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


def worker_resources(study: Study) -> dict[str, float]:
    """Return what a worker of a replica reserves: as the study says, else one CPU, and one GPU if the cluster has any.

    Custom resources choose the nodes of a mixed cluster.
    """
    given = study.replica.resources
    has_gpu = ray.cluster_resources().get("GPU", 0) > 0
    cpus = given.cpus if given.cpus is not None else 1.0
    gpus = given.gpus if given.gpus is not None else float(has_gpu)
    return {"CPU": cpus, **({"GPU": gpus} if gpus else {}), **given.custom}


def trial_threads(study: Study) -> int:
    """Return the threads of a worker: this machine's cores divided by the slots of all replicas; at least one."""
    return max(1, (os.cpu_count() or 1) // (study.replica.count * study.replica.slots))


def new_train_run(
    avoided: frozenset[str], *, config: WorkerConfig, study: Study, folder: Path, max_failures: int
) -> TrainRun:
    from nmlab.platform.replicas.worker import worker_loop

    resources = worker_resources(study)
    elsewhere = {NODE_ID_LABEL: f"!in({','.join(sorted(avoided))})"} if avoided else None
    return TrainRun(
        worker_loop,
        config=config,
        scaling=ScalingConfig(
            num_workers=study.replica.pipeline_stages,
            use_gpu="GPU" in resources,
            resources_per_worker=resources,
            label_selector=elsewhere,
        ),
        run=RunConfig(
            name=config["name"],
            storage_path=str(folder / "ray"),
            failure_config=FailureConfig(max_failures=max_failures),
            logging_config=LoggingConfig(log_level="ERROR"),
            worker_runtime_env={"env_vars": patience()},
        ),
    )
