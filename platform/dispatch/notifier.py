"""Lets a call of an async actor wait for what other calls change."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")
_RECHECK_SECONDS = 0.25
"""How often a condition is checked without a notification: some come true with time alone, as the end of a back-off."""


class Notifier:
    """Waits for a condition; waiters re-check on notification and every 0.25 s."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()

    async def notify(self) -> None:
        """Make all waiters re-check."""
        async with self._changed:
            self._changed.notify_all()

    async def wait(self, ready: Callable[[], Answer | None], timeout: float) -> Answer | None:
        """Return the first value of ``ready`` that is not None, or None after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while (answer := ready()) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            async with self._changed:
                try:
                    await asyncio.wait_for(self._changed.wait(), min(left, _RECHECK_SECONDS))
                except TimeoutError:
                    continue
        return answer
