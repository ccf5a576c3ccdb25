"""A single trial on a signal: write a checkpoint at the next step, or say in one line what is lost."""

import signal
import threading
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from nmlab.platform.process.shutdown import SIGNALS, Handler
from nmlab.trials.contract.run_artifacts import CHECKPOINT_FILES, checkpoint_step

WAIT_S = 8.0
"""How long a trial that is asked to stop may take to reach its next step, in seconds."""


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C ended a single trial; its text says what is kept and what is lost. The same call goes on from there.

    It is a ``KeyboardInterrupt``, so that a script or a queue of notebook cells stops too.
    """


class Interruption:
    """Handles Ctrl-C, SIGTERM and SIGHUP while its ``with`` block runs in the main thread.

    The first signal asks the trial to stop at its next step. A second one, or a trial that does not reach a step within
    ``WAIT_S`` (it prepares its start or is evaluated), ends the block with ``RunInterrupted``, whose text says what is
    kept and what is lost.
    """

    def __init__(self, folder: Path, *, key: str) -> None:
        self._folder, self._key = folder, key
        self._asked: float | None = None
        self._block_ended = threading.Event()
        self._before: dict[signal.Signals, Handler] = {}

    def is_asked(self) -> bool:
        """Return whether the trial should stop."""
        return self._asked is not None

    def saved(self, step: int) -> str:
        """Return the line to print for a trial that has written a checkpoint after ``step``."""
        return f"stopped after step {step} with a checkpoint; the same command continues from there"

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._block_ended.set()
        for number, before in self._before.items():
            if before is not None:  # None is a handler of C code, which Python cannot put back
                signal.signal(number, before)
        if isinstance(error, KeyboardInterrupt) and self.is_asked():
            raise RunInterrupted(self._lost()) from error

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._asked is not None:
            raise KeyboardInterrupt
        self._asked = time.monotonic()
        threading.Thread(target=self._wait, args=(threading.get_ident(),), daemon=True).start()

    def _wait(self, asked: int) -> None:
        """Interrupt the thread `asked`, which receives the signals, also where it is blocked, as by a lock."""
        if not self._block_ended.wait(WAIT_S):
            signal.pthread_kill(asked, signal.SIGINT)

    def _lost(self) -> str:
        """Return the line to print for a trial that did not reach its next step."""
        step = newest_step(self._folder)
        kept = "nothing of it is kept" if step is None else f"its checkpoint after step {step} is kept"
        return (
            f"interrupted while trial {self._key} was between two steps; {kept}, later work is lost; the same command "
            "continues from there"
        )


def newest_step(folder: Path) -> int | None:
    """Return the step of the newest checkpoint in a trial's folder, or None."""
    steps = [checkpoint_step(path.name) for path in folder.glob(CHECKPOINT_FILES)]
    return max((step for step in steps if step is not None), default=None)
