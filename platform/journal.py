"""The journal of a launch: everything it heard, in order, on disk before anyone else is told.

Whatever comes after (MLflow, the report, a later process) follows the journal and can be told again from it.
"""

import json
import os
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from nmlab.platform.hub_state import is_intermediate
from nmlab.platform.launch import Launch
from nmlab.trials.whole_file import whole_file

Record = dict[str, Any]
ENDED_FOR_GOOD = ("finished", "diverged", "oom", "stopped")
"""Ends that another try would only repeat, unless the result is marked resumable; a failed trial is tried again."""


class Journal:
    """One JSON object a line; safe to use from several threads of one process.

    A line that was cut off by a crash is left out when the journal is read. A write that fails, on a full disk for
    instance, leaves nothing behind: the journal is as it was, and the same records can be written later.
    """

    def __init__(self, launch: Launch) -> None:
        self._path = launch.journal_file
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._guard = threading.Lock()
        size = self.size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")

    @property
    def size(self) -> int:
        """Bytes of all whole records."""
        return os.fstat(self._file).st_size

    def write(self, records: list[Record]) -> None:
        """Append records; those that end a trial or the launch reach the disk before this returns.

        Raises ``OSError`` when the file cannot take them; none of them is in it then.
        """
        data = "".join(json.dumps(record) + "\n" for record in records).encode()
        with self._guard:
            before = self.size
            try:
                while data:  # the system may take a part of it only
                    data = data[os.write(self._file, data) :]
                if any(record["event"] in ("ended", "launch ended") for record in records):
                    os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, before)
                raise

    def close(self) -> None:
        """Close the file; closing twice is allowed."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def read(self) -> Iterator[Record]:
        """Yield every whole record from the beginning."""
        with self._path.open(encoding="utf-8") as file:
            yield from _parsed(file)

    def read_from(self, position: int, *, limit: int) -> tuple[list[Record], int]:
        """Return the whole records after ``position``, about ``limit`` bytes of them, and the position after those."""
        with self._guard:  # so that nothing is seen that a failed write takes back
            room = self.size - position
        with self._path.open("rb") as file:
            file.seek(position)
            lines = file.readlines(min(limit, room)) if room > 0 else []
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()
        return list(_parsed(line.decode() for line in lines)), position + sum(map(len, lines))


def _parsed(lines: Iterator[str]) -> Iterator[Record]:
    for line in lines:
        try:
            record: Record = json.loads(line)
        except json.JSONDecodeError:
            continue
        yield record


def write_log(launch: Launch, records: Iterator[Record]) -> None:
    """Write what happened in a launch, metrics apart, as JSON lines into its log file."""
    lines = [json.dumps(record) for record in records if record["event"] != "metrics"]
    with whole_file(launch.log_file) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")


def is_over(result: Mapping[str, Any]) -> bool:
    """Say whether a trial's result is its last word."""
    return result["status"] in ENDED_FOR_GOOD and not result.get("resumable", False)


def evaluations(records: Iterator[Record], *, metric: str) -> dict[str, dict[int, float]]:
    """Return what trials were found at during training: the values of a metric by step, by key.

    Journals of earlier versions name the evaluation of the start like the others; it is none of them.
    """
    found: dict[str, dict[int, float]] = {}
    for record in records:
        if record["event"] != "metrics" or record["step"] == 0:
            continue
        if metric in record["values"] and is_intermediate(record["values"]):
            found.setdefault(record["key"], {})[record["step"]] = record["values"][metric]
    return found


def ended_trials(records: Iterator[Record]) -> dict[str, Record]:
    """Return the results of the trials that have ended for good, by key; interrupted and failed ones go on."""
    ended = {}
    for record in records:
        if record["event"] == "ended":
            result = record["result"]
            ended[result["key"]] = {**result["metrics"], **result}
    return {key: result for key, result in ended.items() if is_over(result)}
