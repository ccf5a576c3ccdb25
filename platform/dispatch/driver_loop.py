"""The driver's thread that carries what the hub says to whoever keeps and shows it, and opens hubs that are new."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from nmlab.platform.dispatch.received import AcceptedEnds, ReceivedRecords

if TYPE_CHECKING:  # Ray must not be imported before its environment is set, nor by a launch that has nothing to run
    from nmlab.platform.dispatch.client import DispatchClient

Record = dict[str, Any]
_DRAIN_S = 0.5
LAST_WORDS_S = 90.0
_PAUSE_S = 0.05


class DriverLoop:
    """``heed`` is given records and returns when they are in the journal; ``look`` is called twice a second at least.

    ``unreadable`` says of the end of a finished trial why its artifacts cannot be read, and nothing where they can.

    ``unwanted`` returns the trials that should not run any more; each hub is told of each once. What goes wrong in the
    thread is kept in ``error``.
    """

    def __init__(
        self,
        dispatcher: "DispatchClient",
        *,
        accept: Callable[[list[Record]], None],
        look: Callable[[], None],
        unwanted: Callable[[], Iterable[str]],
        unreadable: Callable[[Record], str] = lambda record: "",
    ) -> None:
        self._dispatcher, self._accept, self._look, self._unwanted = dispatcher, accept, look, unwanted
        self._ends = AcceptedEnds(unreadable)
        self.received = ReceivedRecords()
        self.error: Exception | None = None
        self._cancelled: set[str] = set()
        self._stopping = self._last = False
        self._told_to_stop = 0
        self._heard = 0.0
        self._thread = threading.Thread(target=self._run, name="driver-loop", daemon=True)
        self._thread.start()

    def stop_replicas(self) -> None:
        """Send the replicas home, by this hub and by any that takes its place; the pump's thread tells them."""
        self._stopping = True

    def finish(self, *, within: float = LAST_WORDS_S) -> bool:
        """Carry what is left; say whether the hub was found empty within so many seconds."""
        self._last = True
        self._thread.join(within)
        return not self._thread.is_alive()

    @property
    def silent_seconds(self) -> float:
        """How long ago a word of any replica came."""
        return time.monotonic() - self._heard

    def _run(self) -> None:
        try:
            while self._carry():
                pass
        except Exception as error:  # raised in the driver's own thread by whoever looks at ``error``
            self.error = error

    def _carry(self) -> bool:
        last, received = self._last, self.received
        self._stop_replicas()
        answer = self._dispatcher.ask(
            "drain", received.generation, received.acknowledged, self._ends.refused, within=_DRAIN_S
        )
        if received.is_new(answer):
            self._open(answer["generation"])
            return True
        self._heard = max(self._heard, time.monotonic() - answer["silence"])
        records = received.take(self._ends.look_at(answer, over=received.ended))
        if records:
            self._accept(records)
        self._cancel_unwanted()
        self._look()
        if not answer["records"]:
            time.sleep(_PAUSE_S)
        return bool(answer["records"]) or not last

    def _stop_replicas(self) -> None:
        if self._stopping and self._told_to_stop != self.received.generation:
            self._dispatcher.ask("stop")
            self._told_to_stop = self.received.generation

    def _cancel_unwanted(self) -> None:
        for key in sorted(set(self._unwanted()) - self._cancelled):
            self._dispatcher.ask("cancel", self.received.generation, key)
            self._cancelled.add(key)

    def _open(self, generation: int) -> None:
        self._cancelled = set(self._unwanted())
        self._dispatcher.ask("open", self.received.ended, self.received.replicas, sorted(self._cancelled))
        self.received.opened(generation)
