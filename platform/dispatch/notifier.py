"""Waiting within an async actor for an answer that any other call may bring about."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

_LOOK_S = 0.25  # some answers come with time alone, such as a job that has waited out its back-off


class Notifier:
    """Whoever changes something calls ``tell``; whoever waits for an answer looks again then, and now and then."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()

    async def tell(self) -> None:
        """Wake whoever waits."""
        async with self._changed:
            self._changed.notify_all()

    async def wait(self, ready: Callable[[], Any], timeout: float) -> Any:
        """Return the first answer of ``ready`` that is not None, or None after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while (answer := ready()) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            async with self._changed:
                try:
                    await asyncio.wait_for(self._changed.wait(), min(left, _LOOK_S))
                except TimeoutError:
                    continue
        return answer
