"""Complete the records of trials that end, before they are written to the journal."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import assert_never

from nmlab.platform.launches.known_cost import add_known_cost
from nmlab.platform.launches.launch import Launch
from nmlab.platform.records.events import (
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
)
from nmlab.platform.records.payloads import ResultRecord
from nmlab.trials.contract.run_status import STOPPED_EARLY, TrialStatus


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
            case ReplicaRecord() | GroupRecord() | LaunchBegan() | LaunchEnded() | UnknownRecord():
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
