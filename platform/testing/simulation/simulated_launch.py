"""A launch that runs in this process, with faults at chosen or drawn moments of a virtual clock.

with SimulatedLaunch(plan, folder, seed=3) as launch:
    launch.start()                                        # a driver: `nmlab sweep`, and later `nmlab resume`
    launch.run_until(lambda: len(launch.ended()) == 2)
    launch.kill_driver()
    launch.start()
    assert launch.finish().status == LaunchStatus.FINISHED
    check_launch(launch)
"""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nmlab.platform.driver.stop_requests import StopRequests
from nmlab.platform.launches import launch as launches
from nmlab.platform.launches.endings import LaunchEnding
from nmlab.platform.launches.journal import Journal, begin_with
from nmlab.platform.launches.launch import Launch, LaunchSettings
from nmlab.platform.launches.snapshot import Snapshot
from nmlab.platform.launches.trial_ends import why_unreadable
from nmlab.platform.planning.admission import Load
from nmlab.platform.planning.study_plan import LaunchPlan
from nmlab.platform.records.events import JournalRecord, TrialEnded, WarmStarted
from nmlab.platform.records.payloads import ResultRecord
from nmlab.platform.replicas import worker
from nmlab.platform.sweep import Sweep
from nmlab.platform.testing.simulation.scheduler import KilledError, Process, Scheduler, Task
from nmlab.platform.testing.simulation.simulated_ray import DRIVERS_NODE, Network, SimulatedRay
from nmlab.platform.testing.simulation.simulated_store import SimulatedStore
from nmlab.platform.testing.simulation.simulated_train import SimulatedTrain
from nmlab.platform.testing.simulation.simulated_trials import Curve, SimulatedModel, SimulatedTrials
from nmlab.platform.testing.simulation.simulated_tune import SimulatedTuner
from nmlab.platform.testing.simulation.stand_ins import nonce_of, of_the_driver, of_the_worker, put_in
from nmlab.platform.testing.simulation.virtual_modules import VirtualThreading, VirtualTime
from nmlab.platform.tuning.searcher import ReplicateSearcher
from nmlab.platform.tuning.tune import TuneWatch

_LOAD = Load(weights=1, block_weights=1, blocks=1, shared=1, slot=1)
_LOAD_S = (0.2, 1.0)
_LINGER_S = 2.0
"""How long the workers of a killed driver may go on."""


class KeptJournal(Journal):
    """The real journal of a launch, which also keeps what was written to it."""

    def __init__(self, launch: Launch, simulation: "SimulatedLaunch") -> None:
        self._simulation = simulation
        super().__init__(launch)

    def write(self, records: Sequence[JournalRecord]) -> None:
        """See ``Journal.write``; the disk may be full."""
        self._simulation.scheduler.check()
        self._simulation.before_write()
        super().write(records)
        self._simulation.written += records


class _Owner:
    """The ownership of a simulated driver; a killed one writes nothing."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def check(self) -> None:
        self._scheduler.check()


class SimulatedLaunch:
    """A launch, its drivers one after the other, and the simulated cluster that they run on.

    Args:
        plan: of the study.
        folder: of results; one in memory is fastest.
        seed: of everything that is drawn.
        network: how calls between processes fare; None is without faults.
        curve: see `simulated_trials.Curve`.
        seconds: the shortest and longest virtual time of a step of a trial.
        max_failures: see ``Sweep``.
        nodes: names of nodes beside the driver's.
        warm: what the search starts from, with which the journal begins; None if it starts from nothing.

    Attributes:
        scheduler: the virtual clock, and ``random``, which draws.
        launch: its folder.
        written: every record in the journal, in order, of all drivers.
        store: stands for MLflow.
        trials: stands for trials; has their checkpoints.
        blind: nodes that do not see the launch's folder.
        before_write: is called before each write to the journal; raises ``OSError`` where the disk is full.
        unreadable: whether the driver cannot read the files of a trial, given its end.
        why_too_large: why replicas refuse to load the model; "" if they do not.
        results: how each driver ended that was not killed.
        snapshots: what a person would be shown, in order.
    """

    def __init__(
        self,
        plan: LaunchPlan,
        folder: Path,
        *,
        seed: int,
        network: Network | None = None,
        curve: Curve | None = None,
        seconds: tuple[float, float] = (0.05, 0.3),
        max_failures: int = 3,
        nodes: tuple[str, ...] = (),
        warm: WarmStarted | None = None,
    ) -> None:
        self.plan, self.seed, self.max_failures = plan, seed, max_failures
        self.scheduler = Scheduler(seed)
        self.time = VirtualTime(self.scheduler)
        self.network = network or Network()
        self.ray = SimulatedRay(self.scheduler, self.network, dict.fromkeys((DRIVERS_NODE, *nodes), True))
        self.train = SimulatedTrain(self.ray)
        self.trials = SimulatedTrials(self.scheduler, seconds, curve)
        self.store = SimulatedStore(self.scheduler.check)
        self.written: list[JournalRecord] = []
        self.blind: set[str] = set()
        self.before_write: Callable[[], None] = lambda: None
        self.unreadable: Callable[[TrialEnded], str] = lambda record: ""
        self.why_too_large = ""
        self.results: list[LaunchEnding] = []
        self.snapshots: list[Snapshot] = []
        self.tuner: SimulatedTuner | None = None
        self._stop: StopRequests | None = None
        self._journals: list[KeptJournal] = []
        self._driver: Process | None = None
        self._main: Task | None = None
        uri = "sqlite:///simulated.db"
        kept: LaunchSettings = {"tracking_uri": uri, "address": None, "max_failures": max_failures}
        self.written += [] if warm is None else [warm]
        self.launch = launches.create(
            plan.study, results=folder, settings=kept, prepare=lambda launch: begin_with(launch, self.written)
        )
        self.expected_proof = {**_code(), "nonce": nonce_of(self.launch.folder / "nonce"), "folder": "results"}
        self._outside = Process("outside", DRIVERS_NODE)
        self._stand_ins = put_in(
            self.time,
            VirtualThreading(self.scheduler, self._outside),
            self.ray,
            others={worker: of_the_worker(self), **of_the_driver(self)},
        )

    def __enter__(self) -> Self:
        self._stand_ins.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.scheduler.close()
        for journal in self._journals:
            journal.close()
        self._stand_ins.__exit__(kind, error, trace)

    # --- what a person does -------------------------------------------------------------------------------------------

    def extend(self, plan: LaunchPlan) -> None:
        """Start a driver as ``nmlab extend`` does, with the plan of the next version of the study."""
        self.plan = plan
        self.start()

    def start(self, *, exits: bool = False) -> None:
        """Start a driver: the first runs ``nmlab sweep``, later ones resume the launch, or extend it to its plan."""
        assert not self.is_running, "one driver at a time"
        self._driver = Process("driver", DRIVERS_NODE)
        sweep = Sweep(
            self.plan,
            self.launch,
            "sqlite:///simulated.db",
            _LOAD,
            max_failures=self.max_failures,
            exits=exits,
            extends=len(self.launch.versions()) == len(self.plan.earlier),
            watch=self.snapshots.append,
        )
        self._main = self.scheduler.start(self._driver, lambda: self._drive(sweep), name="main", is_watched=True)

    def interrupt(self, number: int = signal.SIGINT) -> None:
        """Send a signal to the driver."""
        if self.is_running and self._main is not None and self._stop is not None:
            shutdown = self._stop.shutdown
            self._main.signals.append(lambda: shutdown.on_signal(number, None))

    def kill_driver(self) -> None:
        """Kill the driver; its workers and actors end within moments, and may go on until then."""
        if self._driver is None:
            return
        self.scheduler.kill(self._driver)
        for end in self._ends():
            self.scheduler.later(self.scheduler.random.uniform(0.0, _LINGER_S), end)

    def run_until(self, condition: Callable[[], bool], *, within: float = 600.0, what: str = "a condition") -> None:
        """Let virtual time pass until a condition is true."""
        seen: tuple[int, int, bool] | None = None

        def is_true() -> bool:
            """Look only when something was recorded, or a tenth of a second has passed: conditions read the journal."""
            nonlocal seen
            state = (len(self.written), int(self.scheduler.now * 10), self.is_running)
            is_new, seen = state != seen, state
            return is_new and condition()

        self.scheduler.run(is_true, within=within, what=f"{what} (seed {self.seed})")

    def run_for(self, seconds: float) -> None:
        """Let so much virtual time pass."""
        end = self.scheduler.now + seconds
        self.scheduler.later(seconds, lambda: None)
        self.run_until(lambda: self.scheduler.now >= end, within=seconds + 1.0)

    def finish(self, *, within: float = 1200.0) -> LaunchEnding:
        """Let the driver come to its end; return how the launch ended. Raises what ended the driver, if anything."""
        self.run_until(lambda: not self.is_running, within=within, what="the driver to end")
        if self._main is not None and self._main.error is not None:
            raise self._main.error
        return self.results[-1]

    @property
    def is_running(self) -> bool:
        """Whether a driver runs."""
        return self._main is not None and not self._main.has_ended

    def ended(self) -> dict[str, ResultRecord]:
        """Return the newest result of each trial that has ended, by key, as the journal has it."""
        return {record.key: record.result for record in self.written if isinstance(record, TrialEnded)}

    # --- faults -------------------------------------------------------------------------------------------------------

    def kill_worker(self) -> bool:
        """Kill the worker of a replica; return whether there was one."""
        return self._kill_one([run.worker for run in self.train.up.values() if run.worker is not None])

    def freeze_worker(self, seconds: float) -> bool:
        """Stop a worker for so long: it sends nothing, and then goes on as if nothing had happened."""
        alive = [run.worker for run in self.train.up.values() if run.worker is not None and run.worker.is_alive]
        if alive:
            self.scheduler.random.choice(alive).frozen_until = self.scheduler.now + seconds
        return bool(alive)

    def kill_controller(self) -> bool:
        """Kill the controller of a Train run, and its worker with it; return whether there was one."""
        runs = list(self.train.up.values())
        if runs:
            self.scheduler.random.choice(runs).lose_controller()
        return bool(runs)

    def kill_trial_actor(self) -> bool:
        """Kill a trial actor; return whether there was one."""
        return self.tuner is not None and self.is_running and self.tuner.kill_actor()

    def kill_actor(self, role: str) -> bool:
        """Kill the ``dispatcher`` or the ``coordinator``, which Ray starts again; return whether there was one."""
        found = [actor for name, actor in self.ray.actors.items() if f"-{role}-" in name]
        for actor in found:
            actor.kill()
        return bool(found)

    def lose_node(self, node: str) -> None:
        """Take a node away with all that runs there."""
        self.ray.nodes_up[node] = False
        for run in list(self.train.up.values()):
            if run.worker is not None and run.worker.node == node:
                self.scheduler.kill(run.worker)

    def add_node(self, node: str, *, is_blind: bool = False) -> None:
        """Add a node; a blind one does not see the launch's folder."""
        self.ray.nodes_up[node] = True
        self.blind |= {node} if is_blind else set()

    # --- what the stand-ins ask ---------------------------------------------------------------------------------------

    def _drive(self, sweep: Sweep) -> None:
        self.results.append(sweep.run())

    @contextmanager
    def owned(self, folder: Path, *, take_over: bool = False) -> Iterator[_Owner]:
        """Stand for the ownership of the launch, whose locks end with real processes only."""
        yield _Owner(self.scheduler)

    @contextmanager
    def cluster(self, address: str | None, *, cpus: float) -> Iterator[None]:
        """Stand for the local Ray of a driver, with which everything ends that the driver has started."""
        try:
            yield
        finally:
            self.scheduler.check()
            for end in self._ends():
                end()

    def new_stop_requests(self, **given: Any) -> StopRequests:
        """Make the requests to stop of a driver, and keep them: signals reach the driver through them."""
        self._stop = StopRequests(**given)
        return self._stop

    def open_journal(self, launch: Launch) -> KeptJournal:
        """Open the journal of the launch."""
        self._journals.append(KeptJournal(launch, self))
        return self._journals[-1]

    def new_tuner(
        self, searcher: ReplicateSearcher, *, plan: LaunchPlan, folder: Path, watch: TuneWatch, max_failures: int
    ) -> SimulatedTuner:
        """Return the run of Tune."""
        self.tuner = SimulatedTuner(self.scheduler, searcher, plan=plan, watch=watch, max_failures=max_failures)
        return self.tuner

    def prove(self, nonce: Path) -> dict[str, str]:
        """Return what a worker shows of its node."""
        task = self.scheduler.current
        sees = task is not None and task.process.node not in self.blind
        return {**_code(), "nonce": nonce_of(nonce) if sees else "", "folder": "results"}

    def load_model(self, source: object, **where: object) -> SimulatedModel:
        """Load the model, which takes a while."""
        self.scheduler.pause(until=self.scheduler.now + self.scheduler.random.uniform(*_LOAD_S))
        return SimulatedModel()

    def why_unreadable(self, record: TrialEnded, *, launch: Launch) -> str:
        """Return why the driver cannot read the files of a trial."""
        return self.unreadable(record) or why_unreadable(record, launch=launch)

    def exit_at_once(self, text: str) -> None:
        """Stand for the end of the driver by its own hand."""
        self.kill_driver()
        raise KilledError

    def _ends(self) -> list[Callable[[], object]]:
        """Return a function for each process that the driver has started, which ends it."""
        actors, self.ray.actors = list(self.ray.actors.values()), {}
        workers, self.ray.workers = list(self.ray.workers), {}
        trial_actors = self.tuner.processes if self.tuner is not None else []
        ends: list[Callable[[], object]] = [partial(actor.kill, for_good=True) for actor in actors]
        return ends + [partial(self.scheduler.kill, process) for process in (*workers, *trial_actors)]

    def _kill_one(self, processes: list[Process]) -> bool:
        alive = [process for process in processes if process.is_alive]
        if alive:
            self.scheduler.kill(self.scheduler.random.choice(alive))
        return bool(alive)


def _code() -> dict[str, str]:
    return dict.fromkeys(("nmlab", "code", "torch", "transformers", "python"), "1")
