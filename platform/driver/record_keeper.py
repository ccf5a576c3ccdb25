"""Keeps the records of a sweep: in the journal first, then in the state that people see. One thread at a time."""

import threading
from collections.abc import Callable, Iterable, Sequence
from queue import Empty, SimpleQueue

from nmlab.platform.driver.open_launch import OpenLaunch
from nmlab.platform.launches.node_trouble import NodeTrouble
from nmlab.platform.launches.ownership import Ownership
from nmlab.platform.launches.snapshot import Snapshot
from nmlab.platform.records.events import JournalRecord, ReplicaStarted
from nmlab.trials.contract.run_status import LaunchStatus
from nmlab.trials.files.disk import is_disk_full, retry_while_disk_full


class RecordKeeper:
    """Writes records into the journal, follows them in the launch's state, and publishes the state.

    It belongs to one thread at a time: to the one that made it, after `hand_over` to the first that calls it, and after
    `claim` to the caller. A call from any other thread raises ``RuntimeError``. Two methods are for every thread:
    `enqueue`, which puts a record into a queue, and `show_stopping`, which sets an event.

    Args:
        opened: the launch.
        ownership: of the launch, without which nothing is written.
        gives_up: whether a write that waits for room on the disk is given up.
        watch: is called with a snapshot of the launch, by the thread to which this belongs.
    """

    def __init__(
        self,
        opened: OpenLaunch,
        *,
        ownership: Ownership,
        gives_up: Callable[[], bool],
        watch: Callable[[Snapshot], None],
    ) -> None:
        self._opened, self._state = opened, opened.state
        self._ownership, self._gives_up, self._watch = ownership, gives_up, watch
        self._thread: int | None = threading.get_ident()
        self._enqueued: SimpleQueue[tuple[JournalRecord, threading.Event]] = SimpleQueue()
        self._is_stopping = threading.Event()
        self._nodes = NodeTrouble()
        self._disk_trouble = ""
        self.model_loads = 0
        """How often a replica of this process loaded the model."""

    def hand_over(self) -> None:
        """Give this to the thread that calls it next."""
        self._check_thread()
        self._thread = None

    def claim(self) -> None:
        """Give this to the calling thread; the thread to which it belonged records nothing more."""
        self._thread = threading.get_ident()

    def enqueue(self, record: JournalRecord) -> threading.Event:
        """Put a record into a queue; the thread to which this belongs keeps it within half a second. Any thread.

        What is returned is set once the record is in the journal.
        """
        kept = threading.Event()
        self._enqueued.put((record, kept))
        return kept

    def show_stopping(self) -> None:
        """Let the state say that the launch stops. Any thread."""
        self._is_stopping.set()

    def accept(self, records: Sequence[JournalRecord]) -> None:
        """Accept new records of the dispatcher; they are in the journal when this returns."""
        self._check_thread()
        self.model_loads += sum(isinstance(record, ReplicaStarted) for record in records)
        located = [self._nodes.collect(record, replicas=self._state.replicas) for record in records]
        completed = self._opened.completion.complete(located)
        self.keep(completed)
        self._follow(completed)

    def keep_enqueued(self) -> None:
        """Keep the records that other threads have enqueued."""
        enqueued = list(self._take_enqueued())
        if records := [record for record, _ in enqueued]:
            self.keep(records)
            self._follow(records)
        for _, kept in enqueued:
            kept.set()

    def keep(self, records: Sequence[JournalRecord]) -> None:
        """Write records into the journal; on a full disk wait for room, until that is given up.

        Raises ``OwnershipLostError`` if another process has taken the launch over, and ``DiskFullError``.
        """
        self._check_thread()
        retry_while_disk_full(lambda: self._write(records), given_up=self._gives_up)

    def publish(self, *, force: bool = False) -> None:
        """Write the state for ``nmlab status``, unless the last one is younger than a second, and show it."""
        self._check_thread()
        if self._is_stopping.is_set() and self._state.phase in (LaunchStatus.STARTING, LaunchStatus.RUNNING):
            self._state.phase = LaunchStatus.STOPPING
        self._state.trouble = self._trouble()
        snapshot = self._state.snapshot()
        self._opened.status_file.write(snapshot, force=force)
        self._watch(snapshot)

    def _check_thread(self) -> None:
        caller = threading.get_ident()
        if self._thread is None:
            self._thread = caller
        if self._thread != caller:
            raise RuntimeError(f"the thread {threading.current_thread().name!r} may not record: another one does")

    def _follow(self, records: Sequence[JournalRecord]) -> None:
        """Let the state and early stopping accept records that are in the journal."""
        self._state.update(records)
        self._opened.stopping.follow(records)

    def _take_enqueued(self) -> Iterable[tuple[JournalRecord, threading.Event]]:
        while True:
            try:
                yield self._enqueued.get_nowait()
            except Empty:
                return

    def _write(self, records: Sequence[JournalRecord]) -> None:
        self._ownership.check()
        try:
            self._opened.recorder.record(records)
            self._disk_trouble = ""
        except OSError as error:
            if is_disk_full(error):
                self._disk_trouble = f"{self._opened.launch.folder}: {error.strerror}; waiting for room"
                self.publish()
            raise

    def _trouble(self) -> dict[str, str]:
        recorder = self._opened.recorder
        behind = f"MLflow takes nothing ({recorder.trouble}); {recorder.waiting_bytes} bytes wait in the journal"
        lines = {"disk": self._disk_trouble, "mlflow": behind if recorder.trouble else ""}
        return {source: line for source, line in (lines | self._nodes.lines).items() if line}
