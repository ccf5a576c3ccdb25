"""How a launch is left: on a signal, at once on the second, and in bounded time whatever hangs.

The first Ctrl-C, SIGTERM or SIGHUP asks everything to end by itself. The second, or a limit of time, ends this process
and those that it started. What is in the journal stays there, so a launch that is left so can be resumed.
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
LEAVE_S = 8.5
"""How long after a signal whatever hangs is left behind."""
_LONGEST_S = 45.0
"""How long trials that are still heard of may take to save themselves, and all that comes after them."""


class Leaving:
    """Takes signals while the block lasts; in another thread than the main one, which no signal reaches, it takes none.

    Args:
        asked: called at the first signal, in the main thread.
        is_saving: whether trials are heard of that save themselves, for which more time is given.
        resume: the command that goes on with what is left.
        exits: whether this process is nmlab's own and may be ended. If not, a second signal raises
            ``KeyboardInterrupt``, and nothing is ended when time is up.
    """

    def __init__(self, asked: Callable[[], None], *, is_saving: Callable[[], bool], resume: str, exits: bool) -> None:
        self._asked, self._is_saving, self._resume, self._exits = asked, is_saving, resume, exits
        self._before: dict[signal.Signals, object] = {}
        self._over = threading.Event()
        self._is_watched = False
        self._raises = True
        self.began: float | None = None
        """When the leaving began, by the monotonic clock."""

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in SIGNALS}
            self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]

    def listen(self) -> None:
        """Take the signals again: Ray puts a handler of its own when it starts."""
        for number in self._before:
            signal.signal(number, self._on_signal)

    def wind_down(self) -> None:
        """From now on a first signal raises nothing: everything is being ended."""
        self._raises = False

    def begin(self, why: str = "", *, within: float | None = None) -> None:
        """Begin to leave, without a signal too: what hangs is left behind ``within`` seconds, ``LEAVE_S`` if not given.

        ``why`` is what is told then.
        """
        if self.began is None:
            self.began = time.monotonic()
        if self._exits and not self._is_watched:
            self._is_watched = True
            threading.Thread(
                target=self._watch, args=(why, LEAVE_S if within is None else within), name="leaving", daemon=True
            ).start()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.began is None:
            self.began = time.monotonic()  # first: a second signal may come while the first is told of
            self._asked()
            self.begin()
            if self._raises:
                self._raises = False
                raise KeyboardInterrupt
        elif self._exits:
            leave_at_once(f"left at once; go on with: {self._resume}")
        else:
            raise KeyboardInterrupt

    def _watch(self, why: str, within: float) -> None:
        assert self.began is not None
        while not self._over.wait(0.1):
            took = time.monotonic() - self.began
            if took > _LONGEST_S or (took > within and not self._is_saving()):
                leave_at_once(why or f"what did not end in {took:.0f} s was ended; go on with: {self._resume}")


def leave_at_once(text: str) -> NoReturn:
    """Say why, end all processes that this one has started, and this one, with exit code 1."""
    cursor = "\x1b[?25h" if sys.stderr.isatty() else ""  # which a live view hides
    with suppress(OSError):
        os.write(2, f"{cursor}nmlab: {text}\n".encode())
    end_processes(started_processes())
    os._exit(1)


def started_processes() -> list[psutil.Process]:
    """Return the living processes that this one has started, and those that they have."""
    with suppress(psutil.Error):
        return psutil.Process().children(recursive=True)
    return []


def end_processes(processes: Iterable[psutil.Process], *, within: float = 0.0) -> None:
    """Kill what of some processes has not ended ``within`` so many seconds; a number used anew is left alone."""
    _, alive = psutil.wait_procs(list(processes), timeout=within)
    for process in alive:
        with suppress(psutil.Error):
            process.kill()


def bounded(work: Callable[[], object], *, within: float, name: str) -> bool:
    """Do something in a thread; say whether it was done within so many seconds. If not, the thread is left behind."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    thread.join(within)
    return not thread.is_alive()
