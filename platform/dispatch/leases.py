"""The dispatcher's leases: which trial is queued, who runs it under which epoch, and which have ended."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from nmlab.platform.dispatch.messages import Claim, Lease, ReplicaProcess, TrialUpdate
from nmlab.platform.failures import back_off_seconds
from nmlab.platform.records.events import JournalRecord, TrialEnded, TrialLeased, TrialMetrics, TrialSubmitted
from nmlab.platform.records.payloads import ResultRecord, SpecRecord
from nmlab.trials.contract.run_status import TrialEnd, TrialStatus

_FIRST_BACK_OFF_SECONDS = 0.5
"""How long a trial waits after it lost its first replica; twice as long after each further one."""


@dataclass
class _KnownTrial:
    """A trial that was submitted: queued, leased (to ``replica``, ``times_leased`` times so far), or ended.

    ``journaled`` says that the driver has its result in the journal.
    """

    spec: SpecRecord
    epoch: int
    times_leased: int = 0
    replica: str | None = None
    not_before: float = 0.0
    cancelled: bool = False
    evaluations: dict[int, TrialMetrics] = field(default_factory=dict)
    ended: ResultRecord | None = None
    journaled: bool = False


class Leases:
    """Queues trials and leases them to slots. A lease that is taken back gets a new epoch; time is passed in.

    Args:
        max_failures: how often a trial may lose its replica and be leased again.
        epoch: a number above that of every earlier lease; epochs count on from it.
        record: is given what happens, in order.
    """

    def __init__(self, *, max_failures: int, epoch: int, record: Callable[[JournalRecord], None]) -> None:
        self._max_failures, self._epoch, self._record = max_failures, epoch, record
        self._trials: dict[str, _KnownTrial] = {}
        self._queue: deque[str] = deque()
        self._cancelled: set[str] = set()
        self._held: dict[str, set[str]] = {}
        self._slots: dict[tuple[ReplicaProcess, int], tuple[str, int]] = {}
        self._newest: dict[str, int] = {}
        """The epoch of the newest lease of each trial."""

    def recall(self, ended: Mapping[str, ResultRecord], *, leased: Mapping[str, int]) -> None:
        """Add trials that have ended before, by key, and the epochs of the newest leases; the driver has both."""
        self._newest |= leased
        self._epoch = max([self._epoch, *leased.values()])  # a clock may have been set back since
        for key, result in ended.items():
            self._trials[key] = _KnownTrial({}, self._epoch, ended=result, journaled=True)

    def submit(self, key: str, spec: SpecRecord, *, times_leased: int = 0) -> None:
        """Queue a trial that earlier dispatchers leased ``times_leased`` times; a known one stays as it is."""
        if key in self._trials:
            return
        self._epoch += 1
        self._trials[key] = _KnownTrial(spec, self._epoch, times_leased)
        self._record(TrialSubmitted(key=key, spec=spec))
        if key in self._cancelled:
            self._end(key, TrialStatus.STOPPED, "not started")
        else:
            self._queue.append(key)

    def cancel(self, key: str) -> None:
        """Cancel a trial: a queued one ends at once, its replica ends a leased one, an unknown one is remembered."""
        trial = self._trials.get(key)
        if trial is None:
            self._cancelled.add(key)
        elif trial.ended is None:
            trial.cancelled = True
            if trial.replica is None:
                self._end(key, TrialStatus.STOPPED, "not started")

    def take(self, process: ReplicaProcess, *, slot: int, last_epoch: int, now: float) -> Lease | None:
        """Lease the first queued trial whose back-off is over to a slot whose last lease was epoch ``last_epoch``.

        A slot that never got its lease, and asks again, is given the same one.
        """
        key, epoch = self._slots.get((process, slot), ("", last_epoch))
        if epoch != last_epoch and self.is_current(key, epoch):
            return self._lease(key)
        for key in list(self._queue):
            trial = self._trials[key]
            if trial.ended is not None or trial.replica is not None:
                self._queue.remove(key)
            elif trial.not_before <= now:
                self._queue.remove(key)
                trial.times_leased += 1
                self._slots[process, slot] = (key, trial.epoch)
                self._hold(key, process.name)
                return self._lease(key)
        return None

    def claim(self, replica: str, claim: Claim) -> None:
        """Leave a trial with the replica that claims it, unless it has ended or was leased to another one since.

        The other one may be lost by now: what it has reported stands, so no older lease goes on.
        """
        lease = claim.lease
        if lease.epoch < self._newest.get(lease.key, 0):
            return
        trial = self._trials.get(lease.key)
        if trial is None:
            trial = self._trials[lease.key] = _KnownTrial(lease.spec, lease.epoch)
            self._record(TrialSubmitted(key=lease.key, spec=lease.spec))
        elif trial.ended is not None or trial.replica is not None:
            return
        self._epoch = max(self._epoch, lease.epoch)
        trial.epoch, trial.times_leased = lease.epoch, max(trial.times_leased, lease.times_leased)
        trial.cancelled = trial.cancelled or lease.key in self._cancelled
        trial.evaluations |= {point.step: point for point in claim.evaluations}
        self._hold(lease.key, replica)

    def is_current(self, key: str, epoch: int) -> bool:
        """Return whether the lease with this epoch is the one under which a trial runs."""
        trial = self._trials.get(key)
        return trial is not None and trial.epoch == epoch and trial.ended is None

    def is_cancelled(self, key: str, epoch: int) -> bool:
        """Return whether the holder of a lease must end it: the trial was cancelled, or runs under another lease."""
        return not self.is_current(key, epoch) or self._trials[key].cancelled

    def keep_evaluation(self, point: TrialMetrics) -> None:
        """Keep an evaluation of a trial for its trial actor."""
        self._trials[point.key].evaluations[point.step] = point

    def end(self, key: str, result: ResultRecord) -> None:
        """Note the end of a trial that its replica reports."""
        trial = self._trials[key]
        trial.ended = result
        self._release(key, trial)

    def confirm_end(self, key: str) -> None:
        """Note that the driver has the end of a trial in its journal; only now may its trial actor receive it."""
        self._trials[key].journaled = True

    def is_rejectable(self, key: str, epoch: int) -> bool:
        """Return whether a trial ended under the lease with this epoch, and the driver has not journaled its end."""
        trial = self._trials.get(key)
        return trial is not None and trial.epoch == epoch and trial.ended is not None and not trial.journaled

    def reject(self, key: str, *, replica: str, reason: str, now: float) -> None:
        """Take back the end of a trial whose artifacts the driver cannot read, and queue the trial again."""
        trial = self._trials[key]
        trial.ended, unreadable = None, "its artifacts could not be read"
        times = f"{unreadable} {trial.times_leased} times; the last time, from {replica}, {reason}"
        self._take_back(key, times, f"{unreadable}: {reason}", now=now)

    def lose(self, replica: str, reason: str, *, now: float) -> None:
        """Take back all leases of a replica."""
        for key in sorted(self._held.pop(replica, ())):
            times_leased = self._trials[key].times_leased
            times = f"its replica was lost {times_leased} times; the last one, {replica}, {reason}"
            self._take_back(key, times, f"its replica {reason} while it was being stopped", now=now)
        self._slots = {where: lease for where, lease in self._slots.items() if where[0].name != replica}

    def pull(self, key: str, *, after: int) -> TrialUpdate | None:
        """Return a trial's evaluations after step ``after``, and its result once journaled; None if it is unknown."""
        trial = self._trials.get(key)
        if trial is None:
            return None
        points = [point for step, point in sorted(trial.evaluations.items()) if step > after]
        return TrialUpdate(points, trial.ended if trial.journaled else None, trial.times_leased)

    def _lease(self, key: str) -> Lease:
        trial = self._trials[key]
        return Lease(key=key, epoch=trial.epoch, spec=trial.spec, times_leased=trial.times_leased)

    def _hold(self, key: str, replica: str) -> None:
        trial = self._trials[key]
        trial.replica, self._newest[key] = replica, trial.epoch
        self._held.setdefault(replica, set()).add(key)
        self._record(TrialLeased(key=key, host=replica, attempt=trial.times_leased, epoch=trial.epoch))

    def _release(self, key: str, trial: _KnownTrial) -> None:
        if trial.replica is not None:
            self._held.get(trial.replica, set()).discard(key)

    def _end(self, key: str, status: TrialEnd, reason: str) -> None:
        result: ResultRecord = {"key": key, "status": status, "step": 0, "metrics": {}, "reason": reason}
        self._trials[key].ended = result
        self._record(TrialEnded(key=key, result=result))

    def _take_back(self, key: str, too_often: str, stopped: str, *, now: float) -> None:
        """Queue a leased trial again under a new epoch; end it if it was cancelled or has been leased too often."""
        trial = self._trials[key]
        self._epoch += 1
        trial.epoch, trial.replica = self._epoch, None
        if trial.cancelled:
            self._end(key, TrialStatus.STOPPED, stopped)
        elif trial.times_leased > self._max_failures:
            self._end(key, TrialStatus.FAILED, too_often)
        else:
            trial.not_before = now + back_off_seconds(trial.times_leased, first=_FIRST_BACK_OFF_SECONDS)
            self._queue.appendleft(key)
