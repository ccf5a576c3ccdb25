"""Replicas: one Ray Train run each, so that what fails together is one copy of the model and no more."""

import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray

from nmlab.platform.cluster import NAMESPACE
from nmlab.platform.launch import Launch
from nmlab.search_spaces.schema import Study
from nmlab.trials.models import ModelSource


@dataclass
class Replicas:
    """The Train runs of a launch, each waited for by a thread of the driver."""

    threads: list[threading.Thread]
    errors: dict[str, BaseException]

    @property
    def alive(self) -> bool:
        """Say whether any replica may still come up or come back."""
        return any(thread.is_alive() for thread in self.threads)

    def join(self, *, timeout: float) -> None:
        """Wait for the Train runs to end."""
        for thread in self.threads:
            thread.join(timeout)


def start_replicas(study: Study, *, folder: Path, max_failures: int) -> Replicas:
    """Start one Train run per replica and return without waiting for them."""
    replicas, launch = Replicas([], {}), Launch(folder)
    for index in range(study.replica.count):
        name = f"replica-{index}"
        config = {
            "name": name,
            "namespace": NAMESPACE,
            "folder": str(launch.trials_folder),
            "initial_masks": str(launch.initial_masks_folder),
            "model": asdict(ModelSource(**study.model.model_dump())),
            "slots": study.replica.slots,
            "threads": _threads(study),
        }
        thread = threading.Thread(
            target=_fit,
            args=(name, config, study, folder, max_failures, replicas.errors),
            name=name,
            daemon=True,
        )
        thread.start()
        replicas.threads.append(thread)
    return replicas


def worker_resources(study: Study) -> dict[str, float]:
    """Return what a replica's worker reserves: what the study says, else a CPU, and a GPU where there is any."""
    given = study.replica.resources
    has_gpu = ray.cluster_resources().get("GPU", 0) > 0
    cpus = given.cpus if given.cpus is not None else 1.0
    gpus = given.gpus if given.gpus is not None else float(has_gpu)
    return {"CPU": cpus, **({"GPU": gpus} if gpus else {})}


def _threads(study: Study) -> int:
    """Cores of this machine shared out among everything that runs at once; at least one."""
    return max(1, (os.cpu_count() or 1) // (study.replica.count * study.replica.slots))


def _fit(
    name: str,
    config: dict[str, Any],
    study: Study,
    folder: Path,
    max_failures: int,
    errors: dict[str, BaseException],
) -> None:
    from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    from nmlab.platform.host import host_loop

    resources = worker_resources(study)
    try:
        DataParallelTrainer(
            host_loop,
            train_loop_config=config,
            scaling_config=ScalingConfig(num_workers=1, use_gpu="GPU" in resources, resources_per_worker=resources),
            run_config=RunConfig(
                name=name,
                storage_path=str(folder / "ray"),
                failure_config=FailureConfig(max_failures=max_failures),
                logging_config=LoggingConfig(log_level="ERROR"),
            ),
        ).fit()
    except Exception as error:  # reported by the sweep, which decides whether the others carry on
        errors[name] = error
