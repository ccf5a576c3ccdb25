"""Nodes of a cluster that cause trouble, and whether the driver can read the files of a finished trial."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nmlab.platform.launches.launch import Launch
from nmlab.platform.records.events import JournalRecord, ReplicaRefused, ResultRefused, TrialEnded
from nmlab.trials.contract.run_status import TrialStatus
from nmlab.trials.files.file_digest import unreadable_reason

SLOW_FILES_S = 3.0
"""Seconds for which the driver looks for files that a replica reports as written."""


class NodeTrouble:
    """Collects the nodes that were refused or left unreadable files: ``lines`` holds one line for each."""

    def __init__(self) -> None:
        self.lines: dict[str, str] = {}

    def note(self, record: JournalRecord, *, replicas: Mapping[str, Mapping[str, Any]]) -> JournalRecord:
        """Return a record of the dispatcher; a ``ResultRefused`` gets the address of its node."""
        match record:
            case ReplicaRefused():
                self.lines |= {f"node {node}": f"refused: {record.reason}" for node in record.nodes or ()}
            case ResultRefused():
                node = replicas.get(record.host, {}).get("node", "")
                where = f"{record.host} on node {node} left trial {record.key} unreadable"
                self.lines[f"node {node}"] = f"{where}: {record.reason}; it is run again"
                return replace(record, node=node)
        return record


def why_unreadable(record: TrialEnded, *, launch: Launch) -> str:
    """Return why the artifacts of a finished trial cannot be read here, "" if they can; waits for slow file systems."""
    result, folder = record.result, launch.trial_folder(record.key)
    if result["status"] != TrialStatus.FINISHED:
        return ""
    if not result.get("files"):
        return "its result has no digests of its files"
    deadline = time.monotonic() + SLOW_FILES_S
    while (reason := unreadable_reason(folder, result["files"])) and time.monotonic() < deadline:
        time.sleep(0.2)
    return reason
