"""The dispatcher, the replicas and the driver loop of a sweep while Tune runs its trials."""

import time
from collections.abc import Sequence
from functools import partial

from nmlab.platform.dispatch.client import DispatchClient
from nmlab.platform.dispatch.driver_loop import FINAL_RECORDS_SECONDS, DriverLoop
from nmlab.platform.driver.confirm_search import trials_to_confirm
from nmlab.platform.driver.open_launch import OpenLaunch
from nmlab.platform.driver.record_keeper import RecordKeeper
from nmlab.platform.driver.stop_requests import UNRESPONSIVE_SECONDS, StopRequests
from nmlab.platform.failures import reason_line
from nmlab.platform.launches.endings import HeadLostError, RefusedError, SweepError, not_run
from nmlab.platform.launches.trial_ends import why_unreadable
from nmlab.platform.records.events import JournalRecord, ReplicaRefused, ReplicaStarted, TrialActorLost
from nmlab.platform.replicas.replica import Replicas
from nmlab.platform.tuning.tune import TuneWatch
from nmlab.trials.contract.trial_spec import TrialSpec

_SAVE_SECONDS = 30.0
"""How long running trials may take to write checkpoints, and replicas to check their weights, at the end of a sweep."""
_TRAIN_CLEANUP_SECONDS = 4.0
"""How long Train runs get to remove what they started on a cluster that stays; they take less than a second."""
_POLL_SECONDS = 0.05
_SHUTDOWN_WAIT_SECONDS = 4.0
"""How long after a signal to wait for replicas, even silent ones."""
_HANGING_SECONDS = 2.0
"""After a signal, replicas that have sent nothing for four heartbeats are waited for no longer."""


class RunningTrials:
    """What runs the trials of a launch, with the callbacks of Tune and of the driver loop.

    The keeper of records belongs to the driver loop's thread from here on, until `stop_and_save` claims it.

    | called by | methods |
    | --- | --- |
    | the thread that runs the sweep, Tune's event loop included | ``watch``'s callbacks, `stop_and_save` |
    | the driver loop's thread | ``_accept``, ``_on_round``, ``_to_cancel`` |
    | the thread that counts down to the end of this process | ``_is_saving``, which only reads |

    Args:
        opened: the launch.
        keeper: keeps its records.
        stop: why the sweep is to end early.
        dispatcher: the client of the launch's dispatcher.
        replicas: the Train runs.
        stays_up: whether the cluster stays when the sweep has ended.
    """

    def __init__(
        self,
        opened: OpenLaunch,
        *,
        keeper: RecordKeeper,
        stop: StopRequests,
        dispatcher: DispatchClient,
        replicas: Replicas,
        stays_up: bool,
    ) -> None:
        self._opened, self._keeper, self._stop = opened, keeper, stop
        self._replicas, self._stays_up = replicas, stays_up
        self._refusals: dict[str, str] = {}
        self._saved_until = float("inf")
        self.watch = TuneWatch(self._check, self._note_lost_actor, after_search=self._after_search)
        keeper.hand_over()
        self._loop = DriverLoop(  # last, because its thread calls the methods below at once
            dispatcher,
            accept=self._accept,
            on_round=self._on_round,
            to_cancel=self._to_cancel,
            unreadable=partial(why_unreadable, launch=opened.launch),
        )
        stop.connect(on_interrupt=self._loop.stop_replicas, is_saving=self._is_saving)

    def stop_and_save(self) -> None:
        """Let running trials write checkpoints and replicas check their weights, and take the last records.

        Raises ``SweepError`` if the last records do not arrive or cannot be kept.
        """
        self._keeper.show_stopping()
        self._replicas.stop()
        deadline = self._saved_until = time.monotonic() + _SAVE_SECONDS
        self._wait_for_trials(until=deadline)
        if self._loop.error is None:
            self._end_replicas(until=max(deadline, time.monotonic() + 1.0))
        within = UNRESPONSIVE_SECONDS if self._stop.is_shutting_down else FINAL_RECORDS_SECONDS
        if not self._loop.finish(within=within) and not self._stop.is_shutting_down:
            raise SweepError(f"the last records of the replicas have not arrived within {within:g} s")
        self._check_records()
        self._keeper.claim()
        self._keeper.accept([not_run(key) for key in self._loop.received.unended()])

    def _check(self) -> None:
        """Raise if no replica is left or records cannot be kept; called by Tune between its events."""
        if self._stop.head_loss:
            raise HeadLostError(self._stop.head_loss)
        self._check_records()
        if not self._replicas.alive:
            if refusals := list(self._refusals.values()):
                raise RefusedError("; ".join(refusals))
            reasons = "; ".join(f"{name}: {reason_line(error)}" for name, error in self._replicas.errors.items())
            raise SweepError(f"no replica is left to run trials ({reasons or 'all ended'})")

    def _check_records(self) -> None:
        if (error := self._loop.error) is not None:
            raise SweepError(f"records can no longer be kept: {reason_line(error)}") from error

    def _note_lost_actor(self, key: str, error: str) -> None:
        """Record that a trial's actor died; called by Tune, which starts another for the same trial."""
        self._keeper.enqueue(TrialActorLost(key=key, error=error))

    def _after_search(self) -> Sequence[TrialSpec]:
        """Return the trials that confirm the search, which has ended; called by Tune."""
        return trials_to_confirm(self._opened, keep=self._keep)

    def _keep(self, record: JournalRecord) -> None:
        """Return once the driver loop has a record in the journal; raises as `_check` does if that cannot be."""
        kept = self._keeper.enqueue(record)
        while not kept.wait(_POLL_SECONDS):
            self._check()

    def _accept(self, records: Sequence[JournalRecord]) -> None:
        """Tell the replicas which of them came up or were refused, and keep the records. The driver loop's thread."""
        for record in records:
            if isinstance(record, ReplicaStarted):
                self._replicas.came_up(record.host)
            elif isinstance(record, ReplicaRefused):
                self._refusals[record.host] = record.reason
                self._replicas.refused(record.host, record.reason, filter(None, record.nodes or ()))
        self._keeper.accept(records)

    def _on_round(self) -> None:
        """Keep what other threads have noted, and publish the state. The driver loop's thread."""
        self._keeper.keep_enqueued()
        self._keeper.publish()

    def _to_cancel(self) -> tuple[str, ...]:
        """Return the trials to cancel: those stopped early, and once Tune has ended, all that have not.

        The driver loop's thread, which may be here before ``_loop`` is set; Tune begins, and ends, only after that.
        """
        unended = self._loop.received.unended() if self.watch.starts_no_more_trials else ()
        return (*self._opened.stopping.reasons, *unended)

    def _is_saving(self) -> bool:
        """Return whether replicas still send messages, while trials save themselves or weights are checked."""
        return (
            bool(self._loop.received.replicas)
            and self._loop.error is None
            and self._loop.silent_seconds < _HANGING_SECONDS
            and time.monotonic() < self._saved_until
        )

    def _wait_for_trials(self, *, until: float) -> None:
        while not self._stop.is_shutting_down and self._loop.received.unended() and time.monotonic() < until:
            if self._loop.error is not None or not self._replicas.alive:
                return
            time.sleep(_POLL_SECONDS)

    def _end_replicas(self, *, until: float) -> None:
        """End the replicas, and wait while they check their weights.

        On a cluster that stays, their Train runs also remove what they started.
        """
        up = list(self._loop.received.replicas)
        self._loop.stop_replicas()
        while (
            self._loop.received.replicas and self._loop.error is None and self._replicas.alive and self._may_wait(until)
        ):
            time.sleep(_POLL_SECONDS)
        if self._stays_up:
            self._replicas.join(up, timeout=1.0 if self._stop.is_shutting_down else _TRAIN_CLEANUP_SECONDS)

    def _may_wait(self, until: float) -> bool:
        """Return whether to wait for replicas; once this process is to end, not long for silent ones."""
        now, began = time.monotonic(), self._stop.shutdown.began
        return now < until and (began is None or now - began < _SHUTDOWN_WAIT_SECONDS or self._stop.is_saving())
