"""An asyncio event loop on the virtual clock, on which the simulated actors run."""

import asyncio
from collections.abc import Sequence

from nmlab.platform.testing.simulation.scheduler import Scheduler

_MOST_AT_ONCE = 20
"""Rounds of an event loop with work at hand before others may go on."""


class _Selector:
    """What an event loop calls to wait: lets other tasks go on."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.is_woken = self.is_abandoned = False
        self._at_once = 0

    def select(self, timeout: float | None) -> list[object]:
        self._at_once = self._at_once + 1 if timeout is not None and timeout <= 0 else 0
        if not self.is_abandoned and self._at_once % _MOST_AT_ONCE == 0:  # else a loop that spins would stop time
            until = float("inf") if timeout is None else self._scheduler.now + timeout
            self._scheduler.pause(until=until, ready=lambda: self.is_woken)
        self.is_woken = False
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop on the virtual clock, without files."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self._scheduler = scheduler
        self._selector = _Selector(scheduler)
        self.set_exception_handler(lambda loop, context: None)

    def time(self) -> float:
        return self._scheduler.now

    def abandon(self) -> None:
        """Close the loop of a killed process: what was going on is cancelled, and answers nothing."""
        self._selector.is_abandoned = True
        self.run_until_complete(self._cancel_all())
        self.close()

    async def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks(self) - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _process_events(self, event_list: Sequence[object]) -> None:
        """Do nothing: there are no files."""

    def _write_to_self(self) -> None:
        self._selector.is_woken = True
