"""The journal of a launch: every record in order, before anything else learns of it; on disk once a trial ends.

Everything else (MLflow, the report, a later process) reads the journal and can be rebuilt from it.
"""

import json
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from nmlab.platform.launches.launch import Launch
from nmlab.platform.records.events import (
    ConfirmationChosen,
    JournalRecord,
    LaunchEnded,
    TrialEnded,
    TrialMetrics,
    WarmStarted,
    event_of,
    record_from_json,
)
from nmlab.platform.records.payloads import FlatResult
from nmlab.trials.contract.declarations import is_intermediate
from nmlab.trials.contract.run_status import ENDED_FOR_GOOD
from nmlab.trials.contract.values import JsonMapping
from nmlab.trials.files.atomic_file import atomic_file
from nmlab.trials.files.checked_json import DamagedFileError, check_format, checked_line, nmlab_version, read_line

FORMAT = 2
"""From format 2 on every line has a checksum; the first format had no number."""
_HEADER = "journal"


class Journal:
    """The journal file, open for writing: one JSON object a line. Only one process may write; its threads share this.

    A line that a crash cut off was not acknowledged; it is removed when the journal is opened. A write that fails, on a
    full disk for instance, is undone: the journal is as before, and the same records can be written later.

    Raises ``DamagedFileError``, with file and line, if the journal is not what was written, and ``NewerFormatError``
    if a newer nmlab wrote it.
    """

    def __init__(self, launch: Launch) -> None:
        self._path = launch.journal_file
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._guard = threading.Lock()
        try:
            self._drop_torn_line()
            if not sum(event_of(record) == _HEADER for record in self._lines()):  # checks every line
                self._append([{"event": _HEADER, "format": FORMAT, "nmlab": nmlab_version()}], on_disk=False)
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:
        """Bytes of all whole records."""
        return os.fstat(self._file).st_size

    def write(self, records: Sequence[JournalRecord]) -> None:
        """Append records.

        All are on disk (fsync) when this returns if one of them ends a trial or the launch, chooses the confirmation,
        or holds what the search starts from.

        Raises ``OSError`` if they cannot be written; then none of them is in the file.
        """
        is_end = any(
            isinstance(record, TrialEnded | ConfirmationChosen | WarmStarted | LaunchEnded) for record in records
        )
        self._append([record.to_json() for record in records], on_disk=is_end)

    def _append(self, lines: Iterable[JsonMapping], *, on_disk: bool) -> None:
        data = b"".join(checked_line(line) + b"\n" for line in lines)
        with self._guard:
            before = self.size
            try:
                while data:  # the system may take a part of it only
                    data = data[os.write(self._file, data) :]
                if on_disk:
                    os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, before)
                raise

    def close(self) -> None:
        """Close the file; closing twice is allowed."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def read(self) -> Iterator[JournalRecord]:
        """Yield every record from the beginning."""
        return without_header(self._lines())

    def read_from(self, position: int, *, limit: int) -> tuple[list[JournalRecord], int]:
        """Return the whole records after ``position``, about ``limit`` bytes of them, and the position after those."""
        with self._guard:  # so that a write that fails and is undone is never read
            room = self.size - position
        with self._path.open("rb") as file:
            file.seek(position)
            lines = file.readlines(min(limit, room)) if room > 0 else []
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()
        records = (
            read_line(line, needs_checksum=False) for line in lines
        )  # all were checked when the journal was opened
        kept = [record_from_json(record) for record in records if record is not None and record["event"] != _HEADER]
        return kept, position + sum(map(len, lines))

    def _lines(self) -> Iterator[JournalRecord]:
        with self._path.open("rb") as file:
            yield from checked_records(file, name=str(self._path))

    def _drop_torn_line(self) -> None:
        """Remove an incomplete last line: the process that wrote it died."""
        with self._path.open("rb") as file:
            whole = 0
            for line in file:
                whole += len(line) if line.endswith(b"\n") else 0
        if whole < self.size:
            os.ftruncate(self._file, whole)


def checked_records(lines: Iterable[bytes], *, name: str) -> Iterator[JournalRecord]:
    """Yield the records of a journal's lines, with its header, an ``UnknownRecord``.

    Raises ``ValueError`` as ``Journal`` does. Lines before the header are of the first format, without checksums. An
    incomplete one among them was cut off by a crash, and the next process added its line end; it is left out.
    """
    is_checked = False
    for number, line in enumerate(lines, start=1):
        try:
            record = read_line(line, needs_checksum=is_checked)
            if record is not None and not isinstance(record.get("event"), str):
                raise ValueError("it has no event")
            known = None if record is None else record_from_json(record)
        except ValueError as error:
            raise DamagedFileError(
                f"journal {name} is damaged in line {number}: {error}; without that line `nmlab resume` runs again "
                "what it recorded"
            ) from error
        if known is not None:
            if event_of(known) == _HEADER:
                check_format(known.to_json(), kind="journal", path=Path(name), format=FORMAT)
                is_checked = True
            yield known


def without_header(records: Iterable[JournalRecord]) -> Iterator[JournalRecord]:
    """Yield the records that `checked_records` yields, without the header."""
    return (record for record in records if event_of(record) != _HEADER)


def read_journal(launch: Launch) -> Iterator[JournalRecord]:
    """Yield the complete records of a launch's journal without opening it for writing; none if there is no journal.

    A line without an end is being written, or was cut off; it is left out.
    """
    if not launch.journal_file.exists():
        return
    with launch.journal_file.open("rb") as file:
        whole = (line for line in file if line.endswith(b"\n"))
        yield from without_header(checked_records(whole, name=str(launch.journal_file)))


def read_without_metrics(launch: Launch) -> list[JournalRecord]:
    """Return what `read_journal` yields without the points of trials, which are most of a journal."""
    return [record for record in read_journal(launch) if not isinstance(record, TrialMetrics)]


def begin_with(launch: Launch, records: Sequence[JournalRecord]) -> None:
    """Write the first records of a launch that no process has run; raises ``OSError`` if they cannot be written."""
    if records:
        journal = Journal(launch)
        try:
            journal.write(records)
        finally:
            journal.close()


def write_log(launch: Launch, records: Iterator[JournalRecord]) -> None:
    """Write the records of a launch, without metrics, as JSON lines into its log file."""
    lines = [json.dumps(record.to_json()) for record in records if not isinstance(record, TrialMetrics)]
    with atomic_file(launch.log_file) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")


def has_ended_for_good(status: str, *, is_resumable: bool) -> bool:
    """Return whether a trial has ended for good, so that a resumed launch does not run it again."""
    return status in ENDED_FOR_GOOD and not is_resumable


def evaluations(records: Iterable[JournalRecord], *, metric: str) -> dict[str, dict[int, float]]:
    """Return the evaluations of trials during training: trial key -> step -> value of ``metric``.

    Journals of earlier versions record the evaluation of the start under the same name, at step 0; it is left out.
    """
    found: dict[str, dict[int, float]] = {}
    for record in records:
        if not isinstance(record, TrialMetrics) or record.step == 0:
            continue
        if metric in record.values and is_intermediate(record.values):
            found.setdefault(record.key, {})[record.step] = record.values[metric]
    return found


def trials_ended_for_good(records: Iterable[JournalRecord]) -> dict[str, FlatResult]:
    """Return the results of the trials that have ended for good, by key; interrupted and failed ones are run again."""
    ended: dict[str, FlatResult] = {}
    for record in records:
        if isinstance(record, TrialEnded):
            result = record.result
            ended[result["key"]] = {**result["metrics"], **result}
    return {
        key: result
        for key, result in ended.items()
        if has_ended_for_good(result["status"], is_resumable=result.get("resumable", False))
    }
