"""The end of a trial, before it counts: can the driver read its files, why was it stopped, what did it cost.

The driver asks `why_unreadable` for every end that a replica reports (`dispatch/received.py`). Ends that it accepts are
completed by `RecordCompletion` before they are written to the journal (`driver/record_keeper.py`).
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import assert_never

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
)
from nmlab.platform.records.payloads import ResultRecord
from nmlab.trials.contract.run_status import STOPPED_EARLY, TrialStatus
from nmlab.trials.contract.run_tags import Fact, KnownCost
from nmlab.trials.files.file_digest import unreadable_reason
from nmlab.trials.measure.cost import Cost, nothing_spent
from nmlab.trials.trial.checkpoint import saved_values

SLOW_FILES_SECONDS = 3.0
"""How long the driver looks for files that a replica reports as written; a network file system shows them late."""


def why_unreadable(record: TrialEnded, *, launch: Launch) -> str:
    """Return why the artifacts of a finished trial cannot be read here, "" if they can; waits for slow file systems."""
    result, folder = record.result, launch.trial_folder(record.key)
    if result["status"] != TrialStatus.FINISHED:
        return ""
    if not result.get("files"):
        return "its result has no digests of its files"
    deadline = time.monotonic() + SLOW_FILES_SECONDS
    while (reason := unreadable_reason(folder, result["files"])) and time.monotonic() < deadline:
        time.sleep(0.2)
    return reason


class RecordCompletion:
    """Adds to ``ended`` records why a trial was stopped, its cost if no replica reported it, and notes on the texts.

    Args:
        launch: the launch, whose folder holds the checkpoints with the cost of lost trials.
        stopped_early: why trials are stopped early, by key; it grows while the launch runs.
        text_notes: notes on the study's texts that belong to every result; a trial does not compare its texts.
    """

    def __init__(self, launch: Launch, *, stopped_early: Mapping[str, str], text_notes: Iterable[str]) -> None:
        self._launch, self._stopped_early, self._text_notes = launch, stopped_early, tuple(text_notes)
        self._leased: set[str] = set()

    def recall(self, records: Iterable[JournalRecord]) -> None:
        """Read the records of earlier processes of the launch, which are complete already."""
        self._leased |= {record.key for record in records if isinstance(record, TrialLeased)}

    def complete(self, records: Iterable[JournalRecord]) -> list[JournalRecord]:
        """Return new records, in their order, with the ends among them complete."""
        return [self._completed(record) for record in records]

    def _completed(self, record: JournalRecord) -> JournalRecord:
        match record:
            case TrialLeased():
                self._leased.add(record.key)
            case TrialEnded():
                result = record.result.copy()
                self._say_why(record.key, result)
                folder = self._launch.trial_folder(record.key)
                add_known_cost(result, folder=folder, was_leased=record.key in self._leased)
                self._add_notes(result)
                return replace(record, result=result)
            case TrialSubmitted() | TrialMetrics() | ResultRefused() | TrialActorLost():
                pass
            case ReplicaRecord() | GroupRecord():
                pass
            case WarmStarted() | LaunchBegan() | ConfirmationChosen() | LaunchEnded() | UnknownRecord():
                pass
            case _ as never:
                assert_never(never)
        return record

    def _say_why(self, key: str, result: ResultRecord) -> None:
        """Add the reason to a stopped trial. Unless its configuration fell behind, a resumed launch continues it."""
        if result["status"] == TrialStatus.STOPPED:
            why = self._stopped_early.get(key)
            result["resumable"] = why is None
            result["reason"] = f"{result['reason']}; resumable" if why is None else f"{STOPPED_EARLY}: {why}"

    def _add_notes(self, result: ResultRecord) -> None:
        if self._text_notes:
            result["notes"] = list(dict.fromkeys((*result.get("notes", ()), *self._text_notes)))


def add_known_cost(result: ResultRecord, *, folder: Path, was_leased: bool) -> None:
    """Add the cost to the result of a trial that ended without a report of it.

    A trial that no replica took cost nothing. For one that was lost, the newest checkpoint holds the cost up to then;
    later cost, or all of it if there is no checkpoint, is marked as unknown.

    Args:
        result: the fields of a ``TrialResult``, changed in place.
        folder: the trial's folder.
        was_leased: whether a replica ever took it.
    """
    if any(name.startswith("cost/") for name in result["metrics"]):
        return
    if not was_leased:
        result["metrics"] = {**result["metrics"], **nothing_spent()}
        return
    saved = saved_values(folder, key=result["key"])
    if saved is None:
        _mark(result, KnownCost.UNKNOWN, "what it cost is not known: it was lost before its first checkpoint")
        return
    step, values = saved
    account = Cost()
    account.restore(values["cost"])
    known = {
        **account.bill.metrics("cost/"),
        **account.initial.metrics("cost/initial_"),
        **account.spent.metrics("cost/spent_"),
    }
    result["metrics"] = {**result["metrics"], **known}
    result["step"] = max(result["step"], step)
    note = f"its cost is that of its newest checkpoint, after step {step}; later work is not in it"
    _mark(result, KnownCost.IN_PART, note)


def _mark(result: ResultRecord, fact: KnownCost, note: str) -> None:
    result["facts"] = {**result.get("facts", {}), Fact.COST: fact}
    result["notes"] = [*result.get("notes", ()), note]
