"""Runs the threads of several simulated processes one at a time, in an order drawn by a seed, on a virtual clock.

A *task* is a real thread that runs only while it holds the turn. It gives the turn back wherever it would wait: in
`Scheduler.pause`, to which the stand-ins for ``time``, ``threading`` and Ray lead. The scheduler then draws the next of
the tasks that can go on. When none can, the clock moves to the next moment at which one can. Equal seeds give equal
runs: no two tasks ever run at the same time, and nothing depends on the clock of the machine.
"""

import heapq
import itertools
import math
import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

_STEP_S = 1e-4
"""What every turn takes on the virtual clock, so that a task that only looks cannot stop time."""


def _closed_gate() -> threading.Lock:
    """Return a lock that is held; one thread waits for it until another releases it. A semaphore takes longer."""
    gate = threading.Lock()
    gate.acquire()
    return gate


class KilledError(BaseException):
    """Raised in the tasks of a killed process wherever they would go on; stands for SIGKILL."""


class StuckError(AssertionError):
    """What was waited for did not come within its (virtual) time."""


@dataclass(eq=False)
class Process:
    """A simulated process on a node: its tasks end together when it is killed."""

    name: str
    node: str
    is_alive: bool = True
    frozen_until: float = 0.0
    at_death: list[Callable[[], None]] = field(default_factory=list)
    """What is called, once, when it is killed or ends."""


class Task:
    """A thread of a simulated process. ``error`` is what ended it, if anything did but its process's end."""

    def __init__(
        self,
        scheduler: "Scheduler",
        process: Process,
        target: Callable[[], object],
        *,
        name: str,
        is_watched: bool = False,
    ) -> None:
        self.process, self.name, self.is_watched = process, name, is_watched
        self.ready: Callable[[], bool] | None = None
        self.until = 0.0
        self.signals: deque[Callable[[], object]] = deque()
        self.has_ended = False
        self.error: BaseException | None = None
        self.turn = _closed_gate()
        self._scheduler, self._target = scheduler, target
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def can_go_on(self, now: float) -> bool:
        """Return whether what it waits for has come, or it has to end or to answer a signal."""
        if not self.process.is_alive:
            return True
        if now < self.process.frozen_until:
            return False
        return bool(self.signals) or now >= self.until or (self.ready is not None and self.ready())

    def check(self) -> None:
        """Raise what its process has to bear: that it was killed, or what a signal's handler raises."""
        if not self.process.is_alive:
            raise KilledError
        while self.signals:
            self.signals.popleft()()

    def _run(self) -> None:
        self.turn.acquire()
        try:
            self.check()
            self._target()
        except KilledError:
            pass
        except BaseException as error:
            self.error = error
        finally:
            self.has_ended = True
            self._scheduler.turn.release()


class Scheduler:
    """Gives the turn to one task after the other.

    Attributes:
        random: draws everything that is left to chance.
        now: the virtual time, in seconds from 0.
        failures: the tasks that an error ended and that nobody watches.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.turn = _closed_gate()
        self.failures: list[Task] = []
        self._tasks: list[Task] = []
        self._timers: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count(1)
        self._running: Task | None = None

    @property
    def current(self) -> Task | None:
        """The task that has the turn; None outside of all tasks."""
        return self._running

    def number(self) -> int:
        """Return a number that was not returned before."""
        return next(self._numbers)

    def start(self, process: Process, target: Callable[[], object], *, name: str, is_watched: bool = False) -> Task:
        """Add a task to a process; it first runs when it is drawn. Who watches it deals with its error."""
        task = Task(self, process, target, name=name, is_watched=is_watched)
        self._tasks.append(task)
        task.thread.start()
        return task

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        """Call something that does not wait, after so many virtual seconds, outside of all tasks."""
        heapq.heappush(self._timers, (self.now + seconds, self.number(), call))

    def pause(self, *, until: float = math.inf, ready: Callable[[], bool] | None = None) -> None:
        """Let others go on until ``ready()`` or the virtual time ``until``; outside of all tasks it returns at once."""
        task = self._running
        if task is None:
            return
        task.check()
        task.ready, task.until = ready, until
        self.turn.release()
        task.turn.acquire()
        task.check()

    def check(self) -> None:
        """Raise ``KilledError`` in a task whose process was killed: it has no effects any more."""
        if self._running is not None and not self._running.process.is_alive:
            raise KilledError

    def kill(self, process: Process) -> None:
        """End a process: its tasks unwind at once, without effects; the caller's own when it next pauses."""
        if not process.is_alive:
            return
        process.is_alive = False
        if self._running is None:
            self._unwind()
        else:
            self.later(0.0, self._unwind)
        for call in process.at_death:
            call()

    def run(self, until: Callable[[], bool], *, within: float, what: str) -> None:
        """Run tasks until a condition is true; raises ``StuckError`` after ``within`` virtual seconds."""
        deadline = self.now + within
        while not until():
            if self.now > deadline:
                raise StuckError(f"waited {within:g} virtual seconds for {what}; {self._waiting()}")
            self._step(deadline)

    def close(self) -> None:
        """End all processes, so that no thread is left."""
        for task in self._tasks:
            task.process.is_alive = False
        self._unwind()

    def _step(self, deadline: float) -> None:
        while self._timers and self._timers[0][0] <= self.now:
            heapq.heappop(self._timers)[2]()
        able = [task for task in self._tasks if task.can_go_on(self.now)]
        if able:
            self._give_turn(self.random.choice(able))
            self.now += _STEP_S
            return
        moments = [max(task.until, task.process.frozen_until) for task in self._tasks]
        moments += [self._timers[0][0]] if self._timers else []
        self.now = min([deadline + _STEP_S, *(moment for moment in moments if moment > self.now)])

    def _give_turn(self, task: Task) -> None:
        self._running = task
        task.turn.release()
        self.turn.acquire()
        self._running = None
        if task.has_ended:
            self._tasks.remove(task)
            if task.error is not None and not task.is_watched:
                self.failures.append(task)

    def _unwind(self) -> None:
        while dead := [task for task in self._tasks if not task.process.is_alive]:
            for task in dead:
                self._give_turn(task)

    def _waiting(self) -> str:
        return "waiting: " + ", ".join(f"{task.process.name}/{task.name}" for task in self._tasks)
