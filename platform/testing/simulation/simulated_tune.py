"""A stand-in for Ray Tune's loop: real searcher, real trial actors, each in a process of its own.

Tune starts an actor again in place of a lost one, or gives the trial up; it may begin a trial by an actor that comes up
when another has the trial already. All of this is drawn.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace

from nmlab.platform.planning.study_plan import LaunchPlan
from nmlab.platform.records.payloads import FlatResult
from nmlab.platform.testing.simulation.scheduler import Process, Scheduler, Task
from nmlab.platform.testing.simulation.simulated_ray import DRIVERS_NODE
from nmlab.platform.tuning.searcher import ReplicateSearcher
from nmlab.platform.tuning.trainable import TrialActor
from nmlab.platform.tuning.tune import TuneWatch

_TURN_S, _START_S = 0.1, (0.1, 1.0)
_GIVES_UP, _BEGINS_LATE = 0.3, 0.3


@dataclass
class _Actor:
    """The process of a trial actor: the trial that it has, and the results on their way to Tune."""

    process: Process
    trial: str
    config: dict[str, object]
    failures: int = 0
    results: deque[FlatResult] = field(default_factory=deque)
    last: FlatResult = field(default_factory=dict)
    task: Task | None = None


class SimulatedTuner:
    """One run of Tune, with the method of ``Tuner`` that nmlab calls.

    Args:
        scheduler: of the simulation.
        searcher: proposes trials.
        plan: of the study.
        watch: nmlab's callback.
        max_failures: how often a trial may lose its actor.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        searcher: ReplicateSearcher,
        *,
        plan: LaunchPlan,
        watch: TuneWatch,
        max_failures: int,
    ) -> None:
        self._scheduler, self._searcher, self._watch = scheduler, searcher, watch
        self._plan, self._max_failures = plan, max_failures
        self._actors: dict[str, _Actor] = {}
        self._turn = 0

    def fit(self) -> None:
        """Run trials until the searcher has no more, or the time is over."""
        limit = self._plan.study.budget.time_limit_seconds
        end = float("inf") if limit is None else self._scheduler.now + limit
        while True:
            self._turn += 1
            self._watch.on_step_begin(self._turn, [])
            if self._scheduler.now >= end:
                self._stop_all()
                return
            self._ask_for_trials()
            if not self._actors:
                return
            for actor in list(self._actors.values()):
                self._receive(actor)
            self._scheduler.pause(until=self._scheduler.now + _TURN_S, ready=self._has_results)

    def kill_actor(self) -> bool:
        """Kill the process of a trial actor; return whether there was one."""
        if not self._actors:
            return False
        actor = self._scheduler.random.choice(list(self._actors.values()))
        self._scheduler.kill(actor.process)
        return True

    def _has_results(self) -> bool:
        return any(actor.results or not actor.process.is_alive for actor in self._actors.values())

    def _ask_for_trials(self) -> None:
        while len(self._actors) < self._plan.study.concurrency:
            name = f"trial-{self._scheduler.number()}"
            config = self._searcher.suggest(name)
            if not isinstance(config, dict):
                return
            self._start(name, config)

    def _start(self, trial: str, config: dict[str, object], *, failures: int = 0) -> None:
        process = Process(f"trial-actor-{trial}", DRIVERS_NODE)
        actor = self._actors[trial] = _Actor(process, trial, config, failures)
        actor.task = self._scheduler.start(process, lambda: self._act(actor), name="actor", is_watched=True)

    def _act(self, actor: _Actor) -> None:
        """What a trial actor does, in its process."""
        if actor.failures:
            self._scheduler.pause(until=self._scheduler.now + self._scheduler.random.uniform(*_START_S))
        trainable = TrialActor.__new__(TrialActor)
        trainable.setup(actor.config)
        while True:
            result = trainable.step()
            actor.results.append(result)
            if result["done"]:
                return

    def _receive(self, actor: _Actor) -> None:
        while actor.results:
            actor.last = actor.results.popleft()
            if actor.last["done"]:
                del self._actors[actor.trial]
                self._searcher.on_trial_complete(actor.trial, result=actor.last)
                return
            self._searcher.on_trial_result(actor.trial, actor.last)
        if not actor.process.is_alive or (actor.task is not None and actor.task.error is not None):
            self._lost(actor)

    def _lost(self, actor: _Actor) -> None:
        seen = SimpleNamespace(config=actor.config, error_file=None)
        draw = self._scheduler.random
        del self._actors[actor.trial]
        if actor.failures >= self._max_failures or draw.random() < _GIVES_UP:
            self._watch.on_trial_error(self._turn, [], seen)  # type: ignore[arg-type]
            self._searcher.on_trial_complete(actor.trial, error=True)
            return
        self._watch.on_trial_recover(self._turn, [], seen)  # type: ignore[arg-type]
        self._start(actor.trial, actor.config, failures=actor.failures + 1)
        if draw.random() < _BEGINS_LATE:
            self._begin_late(actor.config)

    def _begin_late(self, config: Mapping[str, object]) -> None:
        """Let an actor that comes up late begin a trial that another has already, and end."""
        process = Process("late-trial-actor", DRIVERS_NODE)

        def begin() -> None:
            self._scheduler.pause(until=self._scheduler.now + self._scheduler.random.uniform(0.5, 4.0))
            TrialActor.__new__(TrialActor).setup(dict(config))

        self._scheduler.start(process, begin, name="actor", is_watched=True)

    def _stop_all(self) -> None:
        self._watch.starts_no_more_trials = True
        for actor in list(self._actors.values()):
            self._scheduler.kill(actor.process)
            self._searcher.on_trial_complete(actor.trial, result=actor.last)
        self._actors.clear()

    @property
    def processes(self) -> list[Process]:
        """The processes of the trial actors."""
        return [actor.process for actor in self._actors.values()]
