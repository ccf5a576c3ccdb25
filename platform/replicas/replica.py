"""Replicas: one Ray Train run each, with a worker a shard: what fails together is one copy of the model, no more."""

import os
import threading
import time
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray._raylet import RAY_NODE_ID_KEY  # type: ignore[attr-defined]
from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig, WorkerGroupError

from nmlab.platform.cluster.session import NAMESPACE
from nmlab.platform.failures import back_off_seconds, reason_line
from nmlab.platform.launches.launch import Launch
from nmlab.platform.planning.admission import Load
from nmlab.platform.process.leaving import bounded
from nmlab.platform.process.openmp_policy import patience
from nmlab.platform.replicas.train_run import TrainRun
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.models import ModelSource

_BACK_OFF_S, _LET_GO_S = 1.0, 10.0
_WORD_S = 10.0
"""How long a run that ended by itself is thought about until the driver has heard why."""


class Replicas:
    """The Train runs of a launch, each kept up by a thread of the driver.

    Train itself restarts a worker that died, ``max_failures`` times. A run that ends with an error, as when its
    controller is killed, is started again: ``max_failures`` times in a row, or as often as it takes while it comes up
    in between. One whose worker fails every time before the model is loaded is not. ``lost`` is told of each such end.

    ``runs`` makes a run that avoids nodes, by their ids: those whose replicas were refused, as they do not see the
    launch's folder or run other code. ``can_be_placed`` says whether any other node may do.
    """

    def __init__(
        self,
        runs: Mapping[str, Callable[[frozenset[str]], TrainRun]],
        *,
        max_failures: int,
        lost: Callable[[str, str], None],
        can_be_placed: Callable[[frozenset[str]], bool] = lambda avoided: False,
    ) -> None:
        self._can_be_placed = can_be_placed
        self.errors: dict[str, BaseException] = {}
        self._runs: dict[str, TrainRun] = {}
        self._max_failures, self._lost = max_failures, lost
        self._stopping = threading.Event()
        self._came_up: set[str] = set()
        self._refused: dict[str, tuple[str, frozenset[str]]] = {}
        self._avoided: set[str] = set()
        self._heard = threading.Condition()
        self._threads = {
            name: threading.Thread(target=self._keep_up, args=(name, run), name=name, daemon=True)
            for name, run in runs.items()
        }
        for thread in self._threads.values():
            thread.start()

    @property
    def alive(self) -> bool:
        """Say whether any replica may still come up or come back."""
        return any(thread.is_alive() for thread in self._threads.values())

    def came_up(self, name: str) -> None:
        """A replica has loaded its model."""
        self._came_up.add(name)

    def refused(self, name: str, reason: str, nodes: Iterable[str]) -> None:
        """A replica was refused before it loaded its model; its run goes to another node than ``nodes`` if it can."""
        with self._heard:
            self._refused[name] = (reason, frozenset(nodes))
            self._avoided |= self._refused[name][1]
            self._heard.notify_all()

    def stop(self) -> None:
        """Start no run again from now on."""
        self._stopping.set()
        with self._heard:
            self._heard.notify_all()

    def join(self, names: Iterable[str], *, timeout: float) -> None:
        """Wait for Train runs to end; others are not up, and have nothing to say."""
        deadline = time.monotonic() + timeout
        for name in names:
            self._threads[name].join(max(0.0, deadline - time.monotonic()))

    def call_off(self, *, within: float = _LET_GO_S) -> None:
        """End the runs that have not ended, and no longer watch over any: Ray may be shut down after this."""
        self.stop()
        deadline = time.monotonic() + within
        bounded(self._call_off_runs, within=within, name="call-off")
        self.join(self._threads, timeout=max(0.0, deadline - time.monotonic()))

    def _call_off_runs(self) -> None:
        for run in list(self._runs.values()):
            run.call_off()

    def _keep_up(self, name: str, new_run: Callable[[frozenset[str]], TrainRun]) -> None:
        failures = 0
        while not self._stopping.is_set():
            self._came_up.discard(name)
            self._refused.pop(name, None)
            try:
                self._runs[name] = new_run(frozenset(self._avoided))
                if self._stopping.is_set():
                    return  # whoever calls off may not have seen this run
                self._runs[name].fit()
                if self._goes_elsewhere(name, within=_WORD_S):
                    continue
                return
            except Exception as error:  # whether the others carry on is for the sweep to say
                self.errors[name] = error
            failures = 1 if name in self._came_up else failures + 1
            hopeless = isinstance(self.errors[name], WorkerGroupError) and name not in self._came_up
            if self._stopping.is_set():
                return
            if self._goes_elsewhere(name, within=0.0):
                continue
            self._lost(name, reason_line(self.errors[name]))
            if hopeless or failures > self._max_failures:
                return
            self._stopping.wait(back_off_seconds(failures, first=_BACK_OFF_S))

    def _goes_elsewhere(self, name: str, *, within: float) -> bool:
        """Say of a run that ended whether to start it on another node: it was refused where it was, and one may do."""
        with self._heard:
            self._heard.wait_for(lambda: name in self._refused or self._stopping.is_set(), timeout=within)
            reason, nodes = self._refused.pop(name, ("", frozenset()))
        if not reason or self._stopping.is_set():
            return False
        if nodes and self._can_be_placed(frozenset(self._avoided)):
            return True
        self.errors[name] = ValueError(reason)
        return False


def has_room(resources: Mapping[str, float], *, nodes: Iterable[Mapping[str, Any]], avoided: Container[str]) -> bool:
    """Say whether a living node that is not to be avoided has the resources of a worker, taken or not."""
    return any(
        node["Alive"]
        and node["NodeID"] not in avoided
        and all(node["Resources"].get(kind, 0) >= amount for kind, amount in resources.items())
        for node in nodes
    )


def start_replicas(
    study: Study,
    *,
    dispatcher: str,
    folder: Path,
    max_failures: int,
    load: Load,
    lost: Callable[[str, str], None],
    parties: Mapping[str, Any] | None = None,
    nonce: Path | None = None,
) -> Replicas:
    """Start one Train run per replica and return without waiting for them; ``parties`` is for its `PartyLine`.

    Without a ``nonce`` replicas show nothing of their folder, and the hub must not expect it.
    """
    launch = Launch(folder)
    runs = {}
    for index in range(study.replica.count):
        name = f"replica-{index}"
        config = {
            "name": name,
            "dispatcher": dispatcher,
            "namespace": NAMESPACE,
            "folder": str(launch.trials_folder),
            "nonce": None if nonce is None else str(nonce),
            "initial_masks": str(launch.initial_masks_folder),
            "model": asdict(ModelSource(**study.model.model_dump())),
            "slots": study.replica.slots,
            "load": asdict(load),
            "parties": parties,
            "threads": _threads(study),
        }
        runs[name] = partial(_train_run, name, config, study, folder, max_failures)

    def can_be_placed(avoided: frozenset[str]) -> bool:
        return has_room(worker_resources(study), nodes=ray.nodes(), avoided=avoided)

    return Replicas(runs, max_failures=max_failures, lost=lost, can_be_placed=can_be_placed)


def worker_resources(study: Study) -> dict[str, float]:
    """Return what a replica's worker reserves: what the study says, else a CPU, and a GPU where there is any.

    Resources of one's own naming choose the nodes of a mixed cluster.
    """
    given = study.replica.resources
    has_gpu = ray.cluster_resources().get("GPU", 0) > 0
    cpus = given.cpus if given.cpus is not None else 1.0
    gpus = given.gpus if given.gpus is not None else float(has_gpu)
    return {"CPU": cpus, **({"GPU": gpus} if gpus else {}), **given.custom}


def _threads(study: Study) -> int:
    """Cores of this machine shared out among everything that runs at once; at least one."""
    return max(1, (os.cpu_count() or 1) // (study.replica.count * study.replica.slots))


def _train_run(
    name: str, config: dict[str, Any], study: Study, folder: Path, max_failures: int, avoided: frozenset[str]
) -> TrainRun:
    from nmlab.platform.replicas.worker import worker_loop

    resources = worker_resources(study)
    elsewhere = {RAY_NODE_ID_KEY: f"!in({','.join(sorted(avoided))})"} if avoided else None
    return TrainRun(
        worker_loop,
        train_loop_config=config,
        scaling_config=ScalingConfig(
            num_workers=study.replica.shards,
            use_gpu="GPU" in resources,
            resources_per_worker=resources,
            label_selector=elsewhere,
        ),
        run_config=RunConfig(
            name=name,
            storage_path=str(folder / "ray"),
            failure_config=FailureConfig(max_failures=max_failures),
            logging_config=LoggingConfig(log_level="ERROR"),
            worker_runtime_env={"env_vars": patience()},
        ),
    )
