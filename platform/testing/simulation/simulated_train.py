"""A stand-in for Ray Train: a run starts its worker on a node, and again when it dies, as often as it is allowed to."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from ray.exceptions import ActorDiedError
from ray.train import WorkerGroupError

from nmlab.platform.compat.ray_core import NODE_ID_LABEL
from nmlab.platform.replicas.train_run import CalledOffError, WorkerConfig
from nmlab.platform.testing.simulation.scheduler import Process, Scheduler, Task
from nmlab.platform.testing.simulation.simulated_ray import SimulatedRay, WorkerHandle

_START_S = (0.3, 1.0)


@dataclass
class SimulatedTrain:
    """The Train runs of a simulated cluster.

    Attributes:
        ray: the cluster.
        up: the runs that are going on, by name of their replica.
        loads: how often a worker was started.
    """

    ray: SimulatedRay
    up: dict[str, "SimulatedTrainRun"] = field(default_factory=dict)
    loads: int = 0

    def run(self, loop: Callable[[WorkerConfig], None], **settings: Any) -> "SimulatedTrainRun":
        """Make a run; takes what ``TrainRun`` takes."""
        return SimulatedTrainRun(self, loop, **settings)


class SimulatedTrainRun:
    """A run of one worker, with the methods of ``TrainRun``."""

    def __init__(
        self,
        train: SimulatedTrain,
        loop: Callable[[WorkerConfig], None],
        *,
        config: WorkerConfig,
        scaling: SimpleNamespace,
        run: SimpleNamespace,
    ) -> None:
        self._train, self._loop, self._config = train, loop, config
        self._labels = scaling.label_selector or {}
        self._max_failures = run.failure_config.max_failures
        self.name = config["name"]
        self.worker: Process | None = None
        self._ended_by: Exception | None = None

    def fit(self) -> None:
        """Run the worker until it ends as it should; raises what ends the run."""
        self._train.up[self.name] = self
        failures = 0
        try:
            while (error := self._attempt()) is not None:
                failures += 1
                if failures > self._max_failures:
                    raise WorkerGroupError(f"{type(error).__name__}: {error}", {0: error})
        finally:
            self._train.up.pop(self.name, None)
            task = self._scheduler.current
            if task is not None and task.process.is_alive:  # workers outlive a killed driver for a moment
                self._end_worker()

    def call_off(self) -> None:
        """End the run at once."""
        self._ended_by = CalledOffError("the run was called off")

    def lose_controller(self) -> None:
        """Kill the run's controller, and with it its worker; ``fit`` raises."""
        self._ended_by = ActorDiedError()
        self._end_worker()

    def _attempt(self) -> Exception | None:
        """Run one worker; return what ended it, None if it ended as it should."""
        scheduler = self._scheduler
        scheduler.pause(until=scheduler.now + scheduler.random.uniform(*_START_S))
        scheduler.pause(ready=lambda: self._ended_by is not None or self._node() is not None)
        if self._ended_by is not None:
            raise self._ended_by
        task = self._start_worker(self._node() or "")
        scheduler.pause(ready=lambda: task.has_ended or self._ended_by is not None)
        if self._ended_by is not None:
            raise self._ended_by
        was_killed = not task.process.is_alive
        self._end_worker()
        died: Exception = ActorDiedError()
        if was_killed:
            return died
        return task.error if isinstance(task.error, Exception) else None

    def _start_worker(self, node: str) -> Task:
        process = self.worker = Process(self.name, node)
        self._train.ray.workers[process] = WorkerHandle(process)
        self._train.loads += 1
        return self._scheduler.start(process, lambda: self._loop(self._config), name="worker", is_watched=True)

    def _end_worker(self) -> None:
        if self.worker is not None:
            self._scheduler.kill(self.worker)

    def _node(self) -> str | None:
        """Return a node that is up and not avoided."""
        avoided = self._labels.get(NODE_ID_LABEL, "").removeprefix("!in(").removesuffix(")").split(",")
        usable = [name for name, is_up in self._train.ray.nodes_up.items() if is_up and name not in avoided]
        return self._scheduler.random.choice(usable) if usable else None

    @property
    def _scheduler(self) -> Scheduler:
        return self._train.ray.scheduler


def settings(**given: object) -> SimpleNamespace:
    """Stand for a settings class of Ray Train: hold what it is given."""
    return SimpleNamespace(**{"label_selector": None, **given})
