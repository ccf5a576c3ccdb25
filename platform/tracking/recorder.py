"""Writes a launch's records into its journal; a thread copies the journal into MLflow."""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import assert_never

from nmlab.platform.launches.journal import Journal, write_log
from nmlab.platform.launches.launch import Launch
from nmlab.platform.records.events import (
    ConfirmationChosen,
    GroupRecord,
    JournalRecord,
    LaunchBegan,
    LaunchEnded,
    ReplicaRecord,
    ResultRefused,
    TrialActorLost,
    TrialEnded,
    TrialLeased,
    TrialMetrics,
    TrialSubmitted,
    UnknownRecord,
    WarmStarted,
    event_of,
)
from nmlab.platform.records.payloads import Point, ResultRecord
from nmlab.platform.search.confirmation import ConfirmationTrial, trials_of
from nmlab.platform.tracking.run_names import RunNames
from nmlab.platform.tracking.store import MlflowStore
from nmlab.trials.contract import run_tags
from nmlab.trials.contract.run_status import TrialStatus
from nmlab.trials.contract.run_tags import Role
from nmlab.trials.contract.secrets import masked
from nmlab.trials.contract.trial_spec import TrialSpec

_BATCH_BYTES = 2**18
"""Bytes of the journal that are read and delivered at a time."""
_POLL_SECONDS = 0.5
"""Pause between two reads of the journal if nothing says that it has grown."""
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 0.5, 15.0
"""Pause before the next try after a failure of the store; twice as long after each further one."""
_LAST_READ_SECONDS = 1.0
"""Seconds in which the copying thread ends once it is to give up, unless a call of the store blocks it."""
_TRIES = 3
"""Failures in a row after which a store that works counts as refusing a record."""
_log = logging.getLogger(__name__)
DELIVERY_SECONDS = 30.0
"""Seconds that the end of a launch waits for a store that takes nothing; sqlite itself waits 20 s for a lock."""


class UndeliveredError(RuntimeError):
    """MLflow lacks a part of the journal; a later process of the launch delivers it."""


class Recorder:
    """Writes records into the journal, and a thread copies them into MLflow, so that no trial waits for MLflow.

    The thread reads the journal from its beginning, because an earlier process of the launch may not have delivered
    everything; the store skips what it has. If the store fails (it is locked, read-only, full or out of reach), the
    same records are tried again after 0.5 to 15 s, and ``trouble`` holds the reason.

    If a store works but refuses a record, the record is set aside after 3 tries, so that the others are delivered;
    ``refused`` holds the reason, and a later process of the launch tries it again. If runs of this launch were deleted
    from the store, the journal is delivered again from its beginning, which creates them again.
    """

    def __init__(
        self,
        launch: Launch,
        *,
        journal: Journal,
        store: MlflowStore,
        baselines: Iterable[str],
        tags: Mapping[str, str],
        names: RunNames | None = None,
    ) -> None:
        self._launch, self._journal, self._store = launch, journal, store
        self._baselines, self._tags, self._names = frozenset(baselines), dict(tags), names or RunNames()
        self._objective = launch.study().search.metrics[0]
        self._begun: set[str] = set()
        self._confirming: dict[str, ConfirmationTrial] = {}
        self._position = self._failures = 0
        self.refused: dict[str, str] = {}
        """The records that MLflow refuses: what each is about (``trial 1f2e...``) -> why."""
        self._written, self._closing, self._given_up = threading.Event(), threading.Event(), threading.Event()
        self.trouble = ""
        self._thread = threading.Thread(target=self._work, name="mlflow-writer", daemon=True)
        self._thread.start()

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the journal that MLflow does not have yet."""
        return self._journal.size - self._position

    def record(self, records: Sequence[JournalRecord]) -> None:
        """Write records; they are in the journal when this returns, and in MLflow some time later.

        Raises ``OSError`` if the journal cannot be written; then none of them is recorded.
        """
        self._journal.write(records)
        self._written.set()

    def close(self, *, grace: float = DELIVERY_SECONDS) -> None:
        """Wait until MLflow has everything.

        Raises ``UndeliveredError`` if the store has taken nothing for ``grace`` seconds.
        """
        self._closing.set()
        self._written.set()
        position, since = self._position, time.monotonic()
        while self._thread.is_alive():
            self._thread.join(0.1)
            if self._position != position:
                position, since = self._position, time.monotonic()
            if time.monotonic() - since > grace:
                break
        self._given_up.set()
        if self.waiting_bytes:
            raise UndeliveredError(self.trouble or f"the store took nothing for {grace:g} s")

    def give_up(self) -> None:
        """Stop copying, so that the journal can be closed; a later process of the launch copies what MLflow lacks."""
        self._given_up.set()
        self._written.set()
        self._thread.join(_LAST_READ_SECONDS)

    def _work(self) -> None:
        wait = _FIRST_RETRY_SECONDS
        while not self._given_up.is_set():
            self._written.clear()
            last = self._closing.is_set()  # read first, so that records written before the closing are still read
            records, position = self._journal.read_from(self._position, limit=_BATCH_BYTES)
            if not records and last:
                return
            if not records:
                self._written.wait(_POLL_SECONDS)
                continue
            try:
                if self.trouble and self._must_start_over():
                    self._position, self._failures, self.trouble = 0, 0, ""
                    continue
                self._deliver_some(records)
            except Exception as error:  # stores fail in many ways; whichever it is, the records stay in the journal
                self.trouble, self._failures = _in_a_line(error), self._failures + 1
                _log.info("MLflow took no records, which stay in the journal: %s", self.trouble)
                self._given_up.wait(_FIRST_RETRY_SECONDS if self._closing.is_set() else wait)
                wait = min(2 * wait, _LONGEST_RETRY_SECONDS)
            else:
                self._position, self.trouble, self._failures, wait = position, "", 0, _FIRST_RETRY_SECONDS

    def _must_start_over(self) -> bool:
        """Read which runs the store has; return whether a run that was begun here is gone."""
        had_parent = bool(self._store.parent)
        self._store.recall()
        if self._begun <= self._store.keys and (self._store.parent or not had_parent):
            return False
        self._begun.clear()
        return True

    def _deliver_some(self, records: Sequence[JournalRecord]) -> None:
        """Deliver records; after 3 failures one by one, so that those that the store refuses can be set aside."""
        if self._failures < _TRIES or not self._store.works():
            self._deliver(records)
            return
        for record in records:
            try:
                self._deliver([record])
            except Exception as error:
                if not self._store.works():
                    raise
                self.refused.setdefault(_about(record), _in_a_line(error))
                _log.info("MLflow refuses %s: %s", _about(record), self.refused[_about(record)])

    def _deliver(self, records: Sequence[JournalRecord]) -> None:
        """Write records to the store, which skips what it has taken before a failure."""
        points: dict[str, list[Point]] = defaultdict(list)
        for record in records:
            match record:
                case LaunchBegan():
                    self._begin_launch(record)
                case ConfirmationChosen():
                    self._confirming |= {trial.spec.key: trial for trial in trials_of(record)}
                    self._store.tag_parent(record.tags)
                case TrialSubmitted():
                    self._begin(TrialSpec.from_record(record.spec))
                case TrialMetrics():
                    points[record.key].append({"step": record.step, "time": record.time, "values": record.values})
                case TrialEnded():
                    self._flush(points, record.key)
                    self._end(record.result)
                case LaunchEnded():
                    self._end_launch(record)
                case TrialLeased() | ResultRefused() | TrialActorLost() | ReplicaRecord() | GroupRecord():
                    pass
                case WarmStarted() | UnknownRecord():
                    pass
                case _ as never:
                    assert_never(never)
        for key in list(points):
            self._flush(points, key)

    def _begin_launch(self, record: LaunchBegan) -> None:
        self._store.begin(record.tags, record.params)
        self._settle_confirmation(record.tags)
        for version in self._launch.versions():
            self._store.attach(self._launch.folder / version.file)
        self._store.attach(self._launch.environment_file)

    def _settle_confirmation(self, tags: Mapping[str, str]) -> None:
        """Forget the confirmation of seeds that an extension added to the study; ``tags`` are those of the launch."""
        fresh = tags.get(run_tags.CONFIRMATION_SEEDS, "").split(",")
        others = {key for key, trial in self._confirming.items() if str(trial.spec.seed) not in fresh}
        if run_tags.STUDY_VERSIONS in tags and others:
            self._confirming = {key: trial for key, trial in self._confirming.items() if key not in others}
            self._store.settle_confirmation(others)

    def _begin(self, spec: TrialSpec) -> None:
        if spec.key not in self._begun:
            confirming = self._confirming.get(spec.key)
            role = confirming.role if confirming is not None else Role.SEARCH
            role = Role.BASELINE if spec.key in self._baselines else role
            confirms = {run_tags.CONFIRMATION: run_tags.TRUE} if spec.key in self._confirming else {}
            words = self._names.words(spec, is_confirmation=bool(confirms))
            self._store.begin_trial(spec, role=role, tags={**self._tags, **confirms}, words=words)
            self._begun.add(spec.key)

    def _flush(self, points: dict[str, list[Point]], key: str) -> None:
        if waiting := points.pop(key, None):
            self._store.log_points(key, waiting)

    def _end(self, result: ResultRecord) -> None:
        self._begun.discard(result["key"])  # a stopped trial begins again when it is resumed
        for digest, record in result.get("initial_masks", {}).items():
            self._store.keep_initial_mask(
                digest, record=record, folder=self._launch.initial_masks_folder, tags=self._tags
            )
        is_finished = result["status"] == TrialStatus.FINISHED
        objective = result.get("metrics", {}).get(self._objective) if is_finished else None
        self._store.end_trial(result, folder=self._launch.trial_folder(result["key"]), objective=objective)

    def _end_launch(self, record: LaunchEnded) -> None:
        write_log(self._launch, self._journal.read())
        self._store.attach(self._launch.log_file)
        self._store.tag_parent(record.tags)
        self._store.end(record.status, time=record.time)


def _about(record: JournalRecord) -> str:
    """Return what a record is about: a trial or an event."""
    fields = record.to_json()
    return f"trial {fields['key']}" if "key" in fields else event_of(record)


def _in_a_line(error: BaseException) -> str:
    """Return the innermost cause of an error in one line; MLflow and its database library wrap it in other errors."""
    while error.__cause__ is not None:
        error = error.__cause__
    return masked(f"{type(error).__name__}: {(str(error).strip() or 'no reason given').splitlines()[0]}")[:300]
