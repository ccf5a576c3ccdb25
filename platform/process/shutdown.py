"""Shut down a launch: in order on the first signal, at once on the second, and in bounded time if something hangs.

The first Ctrl-C, SIGTERM or SIGHUP asks everything to end by itself. The second, or a time limit, ends this process and
those that it started. The journal stays, so the launch can be resumed.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import FrameType
from typing import NoReturn, Self

import psutil

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
KILL_AFTER_SECONDS = 8.5
"""Seconds after a signal after which processes that have not ended are killed, and this one with them.

Below the 10 s after which Docker kills what it has asked to stop.
"""
_SAVING_LIMIT_SECONDS = 45.0
"""Seconds that trials from which messages still arrive may take to write checkpoints, with all that follows them: the
30 s that a sweep gives them, the last records, MLflow, and Ray."""
Handler = Callable[[int, FrameType | None], object] | int | None
"""What ``signal.getsignal`` returns: a function, one of ``signal.Handlers``, or None for a handler in C."""


class Shutdown:
    """Handles signals while its ``with`` block runs in the main thread; other threads receive no signals.

    Args:
        asked: called at the first signal, in the main thread.
        is_saving: whether messages still arrive from trials that write checkpoints, for which more time is given.
        resume: the command that resumes the launch.
        exits: whether this process is nmlab's own and may be ended. If not, a second signal raises
            ``KeyboardInterrupt``, and nothing is ended when time is up.
    """

    def __init__(self, asked: Callable[[], None], *, is_saving: Callable[[], bool], resume: str, exits: bool) -> None:
        self._asked, self._is_saving, self._resume, self._exits = asked, is_saving, resume, exits
        self._before: dict[signal.Signals, Handler] = {}
        self._block_ended = threading.Event()
        self._is_watched = False
        self._raises = True
        self.began: float | None = None
        """When the shutdown began, by the monotonic clock; None before."""

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in SIGNALS}
            self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self._block_ended.set()
        for number, before in self._before.items():
            if before is not None:  # None is a handler of C code, which Python cannot put back
                signal.signal(number, before)

    def listen(self) -> None:
        """Install the signal handlers again: Ray installs its own when it starts."""
        for number in self._before:
            signal.signal(number, self.on_signal)

    def wind_down(self) -> None:
        """Let a first signal raise nothing from now on, because everything is ending already."""
        self._raises = False

    def begin(self, why: str = "", *, within: float | None = None) -> None:
        """Begin the shutdown, also without a signal. What has not ended after ``within`` seconds is killed.

        ``within`` is ``KILL_AFTER_SECONDS`` if not given; ``why`` is the text that is printed then.
        """
        if self.began is None:
            self.began = time.monotonic()
        if self._exits and not self._is_watched:
            self._is_watched = True
            limit = KILL_AFTER_SECONDS if within is None else within
            threading.Thread(target=self._watch, args=(why, limit), name="shutdown", daemon=True).start()

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Answer a signal: the handler that `listen` installs."""
        if self.began is None:
            self.began = time.monotonic()  # first, because a second signal may arrive during the call
            self._asked()
            self.begin()
            if self._raises:
                self._raises = False
                raise KeyboardInterrupt
        elif self._exits:
            exit_at_once(f"ended at once; go on with: {self._resume}")
        else:
            raise KeyboardInterrupt

    def _watch(self, why: str, within: float) -> None:
        assert self.began is not None
        while not self._block_ended.wait(0.1):
            took = time.monotonic() - self.began
            if took > _SAVING_LIMIT_SECONDS or (took > within and not self._is_saving()):
                exit_at_once(
                    why or f"processes that did not end in {took:.0f} s were killed; go on with: {self._resume}"
                )


def exit_at_once(text: str) -> NoReturn:
    """Print why, kill all processes that this one has started, and end this one with exit code 1."""
    cursor = "\x1b[?25h" if sys.stderr.isatty() else ""  # a live view hides the cursor
    with suppress(OSError):
        os.write(2, f"{cursor}nmlab: {text}\n".encode())
    end_processes(started_processes())
    os._exit(1)


def started_processes() -> list[psutil.Process]:
    """Return the living descendants of this process; the killed ones that nobody has waited for are not among them."""
    with suppress(psutil.Error):
        return [process for process in psutil.Process().children(recursive=True) if _is_alive(process)]
    return []


def _is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def end_processes(processes: Iterable[psutil.Process], *, within: float = 0.0) -> None:
    """Kill the processes that have not ended after ``within`` seconds; a reused process number is left alone."""
    _, alive = psutil.wait_procs(list(processes), timeout=within)
    for process in alive:
        with suppress(psutil.Error):
            process.kill()


def bounded(work: Callable[[], object], *, within: float, name: str) -> bool:
    """Run ``work`` in a thread; return whether it ended in ``within`` seconds. If not, the thread goes on."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    thread.join(within)
    return not thread.is_alive()
