"""The one writer: takes what the hub says, writes it to the journal, then to MLflow, on a thread of its own."""

import queue
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from nmlab.platform.launch import Journal, Launch, Record
from nmlab.platform.tracking.store import MlflowStore
from nmlab.trials.spec import TrialSpec


class Recorder:
    """No trial waits for it: records are queued, and MLflow is written in batches."""

    def __init__(
        self,
        launch: Launch,
        *,
        journal: Journal,
        store: MlflowStore,
        baselines: Iterable[str],
        tags: Mapping[str, str],
    ) -> None:
        self._launch, self._journal, self._store = launch, journal, store
        self._baselines, self._tags = frozenset(baselines), dict(tags)
        self._begun: set[str] = set()
        self._queue: queue.Queue[list[Record] | None] = queue.Queue()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="mlflow-writer", daemon=True)
        self._thread.start()

    def record(self, records: list[Record]) -> None:
        """Take records; they are in the journal when this returns, and in MLflow some time later."""
        self._journal.write(records)
        self._queue.put(records)

    def redeliver(self) -> None:
        """Hand everything the journal holds to MLflow again; what is there already stays as it is."""
        self._queue.put(list(self._journal.read()))

    def close(self) -> None:
        """Wait until MLflow has everything; raises what the writer could not cope with."""
        self._queue.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            while (records := self._gather()) is not None:
                self._deliver(records)
        except BaseException as error:  # carried to the driver's thread by close()
            self._error = error

    def _gather(self) -> list[Record] | None:
        """Return all that is queued, or None once the end was reached and everything before it delivered."""
        records = self._queue.get()
        while records is not None and not self._queue.empty():
            more = self._queue.get()
            if more is None:
                self._queue.put(None)
                break
            records = records + more
        return records

    def _deliver(self, records: list[Record]) -> None:
        points: dict[str, list[Record]] = defaultdict(list)
        for record in records:
            if record["event"] == "trial":
                self._begin(TrialSpec.model_validate(record["spec"]))
            elif record["event"] == "metrics":
                points[record["key"]].append(record)
            elif record["event"] == "ended":
                self._flush(points, record["key"])
                self._end(record["result"])
        for key in list(points):
            self._flush(points, key)

    def _begin(self, spec: TrialSpec) -> None:
        if spec.key not in self._begun:
            self._begun.add(spec.key)
            role = "baseline" if spec.key in self._baselines else "search"
            self._store.begin_trial(spec, role=role, tags=self._tags)

    def _flush(self, points: dict[str, list[Record]], key: str) -> None:
        if waiting := points.pop(key, None):
            self._store.log_points(key, waiting)

    def _end(self, result: Mapping[str, Any]) -> None:
        self._begun.discard(result["key"])  # a trial that was stopped begins again when it goes on
        for digest, record in result.get("initial_masks", {}).items():
            self._store.keep_initial_mask(
                digest, record=record, folder=self._launch.initial_masks_folder, tags=self._tags
            )
        self._store.end_trial(result, folder=self._launch.trial_folder(result["key"]))
