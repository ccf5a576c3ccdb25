"""The journal file of an Optuna study: checked when it is opened, patient when the disk is full."""

import logging
import os
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend

from nmlab.trials.files.checked_json import DamagedFileError, checksum_of, has_checksum, read_line
from nmlab.trials.files.disk import retry_while_disk_full

_log = logging.getLogger(__name__)


class OptunaJournalFile(JournalFileBackend):
    """The file of an Optuna journal: waits for room on a full disk, and takes a failed write back.

    The sweep proposes nothing while it waits; running trials go on. Each line has a checksum, which Optuna ignores. A
    line that a crash cut off is removed when the file is opened. Raises ``DamagedFileError`` for a file that is not
    what was written.
    """

    def __init__(self, file_path: str) -> None:
        self._path = Path(file_path)
        if self._path.exists():
            _check_lines(self._path)
        super().__init__(file_path)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        checked = [{**log, "crc": checksum_of(log)} for log in logs]

        def append() -> None:
            before = self._path.stat().st_size
            try:
                super(OptunaJournalFile, self).append_logs(checked)
            except OSError:
                os.truncate(self._path, before)
                raise

        retry_while_disk_full(append, given_up=lambda: False)  # Ctrl-C ends the wait


def _check_lines(path: Path) -> None:
    """Remove a last line that was cut off, and check that every other line is what was written.

    Lines of the first version have no checksum; after one that has, all have.
    """
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)
        _log.info("removed the last line of Optuna's journal %s, which a crash had cut off", path)
    is_checked = False
    for number, line in enumerate(content[:whole].splitlines(), start=1):
        try:
            record = read_line(line, needs_checksum=is_checked)
            if record is None or "op_code" not in record:
                raise ValueError("expected an entry of Optuna")
        except ValueError as error:
            raise DamagedFileError(f"Optuna's journal {path} is damaged in line {number}: {error}") from error
        is_checked = is_checked or has_checksum(line)
