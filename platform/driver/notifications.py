"""Say how a launch went to an address that the user gave: at its end, when an error ends it, when the disk is full.

Messages are sent by a thread of `Poster`; the driver only puts them into its queue. The address is nowhere but in the
memory of this process: the variable that may hold it is taken out of the environment while the launch runs, so that
nothing that the process starts inherits it.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nmlab.platform.launches.endings import LaunchEnding
from nmlab.platform.launches.notification import DISK_FULL, ENDED, FAILED, notification
from nmlab.platform.launches.ownership import OwnedError
from nmlab.platform.launches.snapshot import Snapshot
from nmlab.platform.process.credentials import NOTIFY
from nmlab.platform.process.posting import Poster, SecretUrl
from nmlab.trials.contract.run_status import LaunchStatus
from nmlab.trials.files.disk import is_disk_full

_LAST_SECONDS = 5.0
"""How long the end of a launch waits for messages that are not delivered yet; after a signal, half of it."""
_DISK_AGAIN_SECONDS = 600.0
"""A disk that fills again sooner is said only then."""


class Notifications:
    """The messages of one process of a launch.

    Args:
        poster: sends them.
        study: name of the study.
        launch: name of the launch.
    """

    def __init__(self, poster: Poster, *, study: str, launch: str) -> None:
        self._poster = poster
        self._snapshot = _nothing_yet(study, launch)
        self._has_said_full, self._next_full = False, 0.0
        self.has_ended = False
        self.was_interrupted = False

    def watch(self, snapshot: Snapshot) -> None:
        """Follow the launch; says that a disk is full when that begins."""
        self._snapshot = snapshot
        full = [line for line in snapshot["trouble"].values() if is_disk_full(OSError(line))]
        if not full:
            self._has_said_full = False
        elif not self._has_said_full and time.monotonic() >= self._next_full:
            self._has_said_full, self._next_full = True, time.monotonic() + _DISK_AGAIN_SECONDS
            self._post(DISK_FULL, reason="; ".join(full))

    def end(self, ending: LaunchEnding) -> None:
        """Say how the launch ended."""
        self.has_ended, self.was_interrupted = True, ending.interrupted
        self._snapshot = {**self._snapshot, "phase": ending.status, "counts": ending.counts}
        self._post(ENDED, reason=_why(ending))

    def fail(self, error: Exception) -> None:
        """Say which error ended the launch."""
        self._post(FAILED, reason=str(error) or type(error).__name__)

    def _post(self, event: str, *, reason: str) -> None:
        self._poster.post(notification(event, self._snapshot, reason=reason))


@contextmanager
def notifications(url: SecretUrl | None, *, study: str, launch: str) -> Iterator[Notifications | None]:
    """Yield the messages of a launch that runs in the block, None without an address; wait at its end, some seconds.

    An error that leaves the block before the launch has ended is a message, unless it is that another process owns the
    launch, which then goes on.
    """
    with _hidden_variable():
        if url is None:
            yield None
            return
        poster = Poster(url)
        found = Notifications(poster, study=study, launch=launch)
        try:
            yield found
        except Exception as error:
            if not found.has_ended and not isinstance(error, OwnedError):
                found.fail(error)
            raise
        finally:
            poster.close(within=_LAST_SECONDS / (2 if found.was_interrupted else 1))


@contextmanager
def _hidden_variable() -> Iterator[None]:
    value = os.environ.pop(NOTIFY, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ.setdefault(NOTIFY, value)


def both(first: Callable[[Snapshot], None], other: Notifications | None) -> Callable[[Snapshot], None]:
    """Return what shows a snapshot and follows it."""
    if other is None:
        return first

    def show(snapshot: Snapshot) -> None:
        other.watch(snapshot)
        first(snapshot)

    return show


def _why(ending: LaunchEnding) -> str:
    """Return why a launch did not end as planned, or why its search stopped; "" if there is nothing to say."""
    if ending.undelivered:
        return f"MLflow does not have all records: {ending.undelivered}"
    if ending.interrupted:
        return "interrupted by a signal"
    if ending.status == LaunchStatus.FINISHED and not ending.finished_trials:
        return "no trial finished"
    return ending.search_stopped


def _nothing_yet(study: str, launch: str) -> Snapshot:
    """Return the snapshot of a launch of which nothing was seen."""
    return {
        "study": study,
        "launch": launch,
        "phase": LaunchStatus.STARTING,
        "metric": "",
        "mode": "",
        "planned": 0,
        "ended": 0,
        "counts": {},
        "elapsed_seconds": 0.0,
        "eta_seconds": None,
        "model_loads": 0,
        "trouble": {},
        "replicas": {},
        "trials": {},
    }
