"""Starts the replicas of a launch and keeps them running: one Ray Train run each, with one worker a pipeline stage."""

import threading
import time
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

from ray.train import WorkerGroupError

from nmlab.platform.cluster.nodes import RayNode, ray_nodes
from nmlab.platform.cluster.session import NAMESPACE
from nmlab.platform.failures import back_off_seconds, reason_line
from nmlab.platform.launches.launch import Launch
from nmlab.platform.mask_parallel.coordinator_client import CoordinatorSettings
from nmlab.platform.planning.admission import Load
from nmlab.platform.process.shutdown import bounded
from nmlab.platform.replicas.train_run import TrainRun, WorkerConfig, new_train_run, trial_threads, worker_resources
from nmlab.search_spaces.schema.study import Study

_FIRST_BACK_OFF_SECONDS = 1.0
"""How long a run that failed waits before it is started again; twice as long after each further failure."""
_CALL_OFF_SECONDS = 10.0
"""How long the end of all runs may take: their controllers are killed, and their threads end."""
_REFUSAL_RECORD_SECONDS = 10.0
"""How long a run that ended by itself waits for the record of why it was refused."""


class Replicas:
    """The Train runs of a launch, each watched by a thread of the driver that starts it again when it fails.

    Train itself restarts a worker that died, ``max_failures`` times. A run that ends with an error, as when its
    controller is killed, is started again: ``max_failures`` times in a row, without limit if it comes up in between.
    A run whose worker fails every time before the model is loaded is not started again.

    Args:
        runs: by name of the replica, what makes its run, given the ids of nodes to avoid: those whose replicas were
            refused, as they do not see the launch's folder or run other code.
        max_failures: see above.
        lost: is called with name and reason when a run ended with an error.
        can_be_placed: whether a node remains, given the ids of nodes to avoid.
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
        self._changed = threading.Condition()
        self._threads = {
            name: threading.Thread(target=self._keep_running, args=(name, run), name=name, daemon=True)
            for name, run in runs.items()
        }
        for thread in self._threads.values():
            thread.start()

    @property
    def alive(self) -> bool:
        """Whether any replica may still come up or come back."""
        return any(thread.is_alive() for thread in self._threads.values())

    def came_up(self, name: str) -> None:
        """Note that a replica has loaded its model."""
        self._came_up.add(name)

    def refused(self, name: str, reason: str, nodes: Iterable[str]) -> None:
        """Note that a replica was refused before it loaded its model; its run moves away from ``nodes`` if it can."""
        with self._changed:
            self._refused[name] = (reason, frozenset(nodes))
            self._avoided |= self._refused[name][1]
            self._changed.notify_all()

    def stop(self) -> None:
        """Do not start any run again."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()

    def join(self, names: Iterable[str], *, timeout: float) -> None:
        """Wait up to ``timeout`` seconds for the Train runs of these replicas to end."""
        deadline = time.monotonic() + timeout
        for name in names:
            self._threads[name].join(max(0.0, deadline - time.monotonic()))

    def call_off(self, *, within: float = _CALL_OFF_SECONDS) -> None:
        """End all runs and their threads, in up to ``within`` seconds; Ray may be shut down after this."""
        self.stop()
        deadline = time.monotonic() + within
        bounded(self._call_off_runs, within=within, name="call-off")
        self.join(self._threads, timeout=max(0.0, deadline - time.monotonic()))

    def _call_off_runs(self) -> None:
        for run in list(self._runs.values()):
            run.call_off()

    def _keep_running(self, name: str, new_run: Callable[[frozenset[str]], TrainRun]) -> None:
        failures = 0
        while not self._stopping.is_set():
            self._came_up.discard(name)
            self._refused.pop(name, None)
            try:
                self._runs[name] = new_run(frozenset(self._avoided))
                if self._stopping.is_set():
                    return  # `call_off` may not have seen this run
                self._runs[name].fit()
                if self._moves_to_another_node(name, within=_REFUSAL_RECORD_SECONDS):
                    continue
                return
            except Exception as error:  # the sweep decides whether the others go on
                self.errors[name] = error
            failures = 1 if name in self._came_up else failures + 1
            hopeless = isinstance(self.errors[name], WorkerGroupError) and name not in self._came_up
            if self._stopping.is_set():
                return
            if self._moves_to_another_node(name, within=0.0):
                continue
            self._lost(name, reason_line(self.errors[name]))
            if hopeless or failures > self._max_failures:
                return
            self._stopping.wait(back_off_seconds(failures, first=_FIRST_BACK_OFF_SECONDS))

    def _moves_to_another_node(self, name: str, *, within: float) -> bool:
        """Return whether to start a run that ended on another node: it was refused on its own, and another remains."""
        with self._changed:
            self._changed.wait_for(lambda: name in self._refused or self._stopping.is_set(), timeout=within)
            reason, nodes = self._refused.pop(name, ("", frozenset()))
        if not reason or self._stopping.is_set():
            return False
        if nodes and self._can_be_placed(frozenset(self._avoided)):
            return True
        self.errors[name] = ValueError(reason)
        return False


def has_room(resources: Mapping[str, float], *, nodes: Iterable[RayNode], avoided: Container[str]) -> bool:
    """Return whether a living node that is not to be avoided has the resources of a worker, in use or not."""
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
    mask_parallel: CoordinatorSettings | None = None,
    nonce: Path | None = None,
) -> Replicas:
    """Start one Train run per replica; returns without waiting for them.

    Args:
        study: says how many replicas, slots and stages, and their resources.
        dispatcher: the name of the dispatcher.
        folder: of the launch.
        max_failures: see `Replicas`.
        load: what the model and its slots take on a device.
        lost: see `Replicas`.
        mask_parallel: of the coordinator; None where no slots share a trial.
        nonce: the file by which workers show that they see the folder; without one the dispatcher must not expect it.
    """
    launch = Launch(folder)
    runs = {}
    for index in range(study.replica.count):
        name = f"replica-{index}"
        config: WorkerConfig = {
            "name": name,
            "dispatcher": dispatcher,
            "namespace": NAMESPACE,
            "folder": str(launch.trials_folder),
            "nonce": None if nonce is None else str(nonce),
            "initial_masks": str(launch.initial_masks_folder),
            "model": study.model.model_dump(mode="json"),
            "slots": study.replica.slots,
            "load": asdict(load),
            "mask_parallel": mask_parallel,
            "threads": trial_threads(study),
        }
        runs[name] = partial(new_train_run, config=config, study=study, folder=folder, max_failures=max_failures)

    def can_be_placed(avoided: frozenset[str]) -> bool:
        return has_room(worker_resources(study), nodes=ray_nodes(), avoided=avoided)

    return Replicas(runs, max_failures=max_failures, lost=lost, can_be_placed=can_be_placed)
