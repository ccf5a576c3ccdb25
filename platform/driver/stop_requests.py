"""Why a sweep is to end early: what signals and watching threads have noted for the thread that runs it."""

import threading
from collections.abc import Callable

from nmlab.platform.process.shutdown import Shutdown

UNRESPONSIVE_SECONDS = 1.5
"""Seconds that this process, once it is to end, waits for anything that sends no messages."""


class StopRequests:
    """Requests to end a sweep: a signal, or the loss of the cluster's head.

    The methods that signals and other threads call only set an event or a flag. The thread that runs the sweep reads
    them between Tune's events, and while it stops and saves.

    Args:
        resume: the command that resumes the launch.
        exits: whether this process is nmlab's own command, so that a second signal, or anything that hangs, ends it.
    """

    def __init__(self, *, resume: str, exits: bool) -> None:
        self._resume = resume
        self._interrupted, self._head_is_lost = threading.Event(), threading.Event()
        self._head_loss = ""
        self._on_interrupt: Callable[[], None] = lambda: None
        self._is_saving: Callable[[], bool] = lambda: False
        self.shutdown = Shutdown(self._interrupt, is_saving=self.is_saving, resume=resume, exits=exits)

    def is_interrupted(self) -> bool:
        """Return whether a signal has come. Any thread."""
        return self._interrupted.is_set()

    @property
    def is_shutting_down(self) -> bool:
        """Whether this process is to end soon, after a signal or because the head is lost. Any thread."""
        return self.shutdown.began is not None

    @property
    def head_loss(self) -> str:
        """Why the head of the cluster counts as lost, and what to do; empty while it answers. Any thread."""
        return self._head_loss if self._head_is_lost.is_set() else ""

    def is_saving(self) -> bool:
        """Return whether trials still save themselves, or replicas check their weights. Any thread."""
        return not self._head_is_lost.is_set() and self._is_saving()

    def connect(self, *, on_interrupt: Callable[[], None], is_saving: Callable[[], bool]) -> None:
        """Connect what runs now; called by the thread that runs the sweep, which also receives the signals.

        Args:
            on_interrupt: is called in the signal handler, so it may only set a flag.
            is_saving: says, in the thread that counts down to the end, whether trials still save themselves.
        """
        self._on_interrupt, self._is_saving = on_interrupt, is_saving
        if self.is_interrupted():  # before there was anything to call
            on_interrupt()

    def lose_head(self, reason: str) -> None:
        """End the launch because the cluster's head is lost; called by the thread that watches it."""
        self._head_loss = f"{reason}; nothing that is recorded is lost, go on with: {self._resume}"
        self._head_is_lost.set()
        self.shutdown.begin(self._head_loss, within=UNRESPONSIVE_SECONDS)

    def _interrupt(self) -> None:
        """Note the interruption before Tune stops its trials: what stops from now on was not stopped by the search."""
        self._interrupted.set()
        self._on_interrupt()
