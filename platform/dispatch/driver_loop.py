"""The driver's thread that takes records from the dispatcher to the journal, and opens a restarted dispatcher."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from nmlab.platform.dispatch.received import ReceivedRecords, ResultCheck
from nmlab.platform.records.events import JournalRecord, TrialEnded

if TYPE_CHECKING:  # Ray must not be imported before its environment is set, nor by a launch that has nothing to run
    from nmlab.platform.dispatch.client import DispatchClient

_DRAIN_SECONDS = 0.5
"""How long a ``drain`` waits for records: how often the driver publishes its state when nothing happens."""
FINAL_RECORDS_SECONDS = 90.0
"""How long the last records may take. A dispatcher that is lost then is an error of its client after 60 s already."""
_PAUSE_SECONDS = 0.05
"""Pause after a round without records, so that a dispatcher that answers at once is not asked in a busy loop."""


class DriverLoop:
    """Drains the dispatcher in a thread, from its creation until `finish`.

    What goes wrong in the thread is kept in ``error``; the owner raises it in a thread of its own.

    Args:
        dispatcher: the client of the launch's dispatcher.
        accept: is given new records and returns once they are in the journal.
        on_round: is called in every round, at least twice a second.
        to_cancel: returns the keys of trials that should not run any more; each is cancelled once per dispatcher.
        unreadable: returns why the artifacts of a finished trial, given its end, cannot be read; "" if they can.
    """

    def __init__(
        self,
        dispatcher: "DispatchClient",
        *,
        accept: Callable[[list[JournalRecord]], None],
        on_round: Callable[[], None],
        to_cancel: Callable[[], Iterable[str]],
        unreadable: Callable[[TrialEnded], str] = lambda record: "",
    ) -> None:
        self._dispatcher, self._accept, self._on_round, self._to_cancel = dispatcher, accept, on_round, to_cancel
        self._results = ResultCheck(unreadable)
        self.received = ReceivedRecords()
        self.error: Exception | None = None
        self._cancelled: set[str] = set()
        self._stopping = self._last = False
        self._stopped_generation = 0
        self._last_message = 0.0
        self._thread = threading.Thread(target=self._run, name="driver-loop", daemon=True)
        self._thread.start()

    def stop_replicas(self) -> None:
        """End the replicas, through this dispatcher and any that replaces it; returns at once."""
        self._stopping = True

    def finish(self, *, within: float = FINAL_RECORDS_SECONDS) -> bool:
        """Take the remaining records and end; return whether the dispatcher was empty in ``within`` seconds."""
        self._last = True
        self._thread.join(within)
        return not self._thread.is_alive()

    @property
    def silent_seconds(self) -> float:
        """How many seconds ago the last message of any replica came."""
        return time.monotonic() - self._last_message

    def _run(self) -> None:
        try:
            while self._drain():
                pass
        except Exception as error:  # the sweep raises it in its own thread
            self.error = error

    def _drain(self) -> bool:
        last, received = self._last, self.received
        self._stop_replicas()
        drained = self._dispatcher.drain(
            received.generation,
            acknowledged=received.acknowledged,
            refused=self._results.refused,
            within=_DRAIN_SECONDS,
        )
        if received.is_from_new_dispatcher(drained):
            self._open(drained.generation)
            return True
        self._last_message = max(self._last_message, time.monotonic() - drained.silent_seconds)
        records = received.accept(self._results.check(drained, ended=received.ended))
        if records:
            self._accept(records)
        self._cancel_trials()
        self._on_round()
        if not drained.records:
            time.sleep(_PAUSE_SECONDS)
        return bool(drained.records) or not last

    def _stop_replicas(self) -> None:
        if self._stopping and self._stopped_generation != self.received.generation:
            self._dispatcher.stop()
            self._stopped_generation = self.received.generation

    def _cancel_trials(self) -> None:
        for key in sorted(set(self._to_cancel()) - self._cancelled):
            self._dispatcher.cancel(key, generation=self.received.generation)
            self._cancelled.add(key)

    def _open(self, generation: int) -> None:
        self._cancelled = set(self._to_cancel())
        known, cancelled = self.received, sorted(self._cancelled)
        self._dispatcher.open(known.ended, replicas=known.replicas, cancelled=cancelled, leased=known.leased)
        self.received.begin_generation(generation)
