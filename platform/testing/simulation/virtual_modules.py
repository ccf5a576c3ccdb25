"""Stand-ins for the modules ``time`` and ``threading``, on the virtual clock and with the tasks of a `Scheduler`."""

import math
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from nmlab.platform.testing.simulation.scheduler import Process, Scheduler, Task

EPOCH_S = 1_900_000_000.0
"""The virtual time 0 in seconds since 1970."""
_PREEMPTED = 0.05
"""How often another task may run before a lock is taken."""


class VirtualTime:
    """The functions of ``time`` that nmlab uses."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def monotonic(self) -> float:
        """Return the virtual time."""
        return self._scheduler.now

    perf_counter = monotonic

    def time(self) -> float:
        """Return the virtual time in seconds since 1970."""
        return EPOCH_S + self._scheduler.now

    def time_ns(self) -> int:
        """Return the virtual time in nanoseconds; no two calls return the same, as no two processes start at once."""
        return int(self.time() * 1e6) * 1000 + self._scheduler.number()

    def sleep(self, seconds: float) -> None:
        """Let others go on for so many virtual seconds."""
        self._scheduler.pause(until=self._scheduler.now + seconds)


class VirtualThreading:
    """The classes and functions of ``threading`` that nmlab uses."""

    def __init__(self, scheduler: Scheduler, outside: Process) -> None:
        self._scheduler, self._outside = scheduler, outside

    def Thread(
        self,
        *,
        target: Callable[..., object],
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str = "thread",
        daemon: bool = True,
    ) -> "VirtualThread":
        """Return a thread of the process that makes it."""
        current = self._scheduler.current
        process = self._outside if current is None else current.process
        return VirtualThread(self._scheduler, process, lambda: target(*args, **(kwargs or {})), name=name)

    def Event(self) -> "VirtualEvent":
        """Return an event that is not set."""
        return VirtualEvent(self._scheduler)

    def Lock(self) -> "VirtualLock":
        """Return a lock that nobody holds."""
        return VirtualLock(self._scheduler)

    def Condition(self) -> "VirtualCondition":
        """Return a condition with a lock of its own."""
        return VirtualCondition(self._scheduler)

    def get_ident(self) -> int:
        """Return an id of the running thread."""
        return id(self._scheduler.current)

    def current_thread(self) -> Any:
        """Return the running task."""
        return self._scheduler.current

    def main_thread(self) -> object:
        """Return what is no task: signals of the machine are no concern of a simulated process."""
        return self


class VirtualThread:
    """A thread; started, it is a task."""

    def __init__(self, scheduler: Scheduler, process: Process, target: Callable[[], object], *, name: str) -> None:
        self._scheduler, self._process, self._target, self.name = scheduler, process, target, name
        self._task: Task | None = None

    def start(self) -> None:
        """Start the thread."""
        self._scheduler.check()
        self._task = self._scheduler.start(self._process, self._target, name=self.name)

    def is_alive(self) -> bool:
        """Return whether the thread was started and has not ended."""
        return self._task is not None and not self._task.has_ended

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end of the thread."""
        until = math.inf if timeout is None else self._scheduler.now + timeout
        if self.is_alive():
            self._scheduler.pause(until=until, ready=lambda: not self.is_alive())


class VirtualEvent:
    """An event."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler, self._is_set = scheduler, False

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it."""
        self._is_set = True

    def clear(self) -> None:
        """Unset it."""
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; return whether it is."""
        if not self._is_set:
            until = math.inf if timeout is None else self._scheduler.now + timeout
            self._scheduler.pause(until=until, ready=self.is_set)
        return self._is_set


class VirtualLock:
    """A lock; now and then another task runs before it is taken."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._holder: Task | None = None

    def __enter__(self) -> Self:
        current = self._scheduler.current
        if current is not None:
            if self._scheduler.random.random() < _PREEMPTED:
                self._scheduler.pause(until=self._scheduler.now)
            while self._is_held():
                self._scheduler.pause(ready=lambda: not self._is_held())
        self._holder = current
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._holder = None

    def _is_held(self) -> bool:
        return self._holder is not None and self._holder.process.is_alive


class VirtualCondition(VirtualLock):
    """A condition, of which only waiting for a predicate is needed."""

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait until the predicate is true; return whether it is."""
        until = math.inf if timeout is None else self._scheduler.now + timeout
        holder, self._holder = self._holder, None
        if not predicate():
            self._scheduler.pause(until=until, ready=predicate)
        self._holder = holder
        return bool(predicate())

    def notify_all(self) -> None:
        """Do nothing: predicates are looked at before every turn."""
