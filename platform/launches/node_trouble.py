"""Which nodes of a cluster are in the way, and whether the driver can read what a trial left on one."""

import time
from collections.abc import Mapping
from typing import Any

from nmlab.platform.launches.launch import Launch
from nmlab.trials.contract.run_status import TrialStatus
from nmlab.trials.files.file_digest import why_not_readable

Record = dict[str, Any]
SLOW_FILES_S = 3.0
"""How long the driver looks for files that a replica says it has written."""


class NodeTrouble:
    """Keeps in view which nodes were refused or left what cannot be read: ``lines``, one for each node."""

    def __init__(self) -> None:
        self.lines: dict[str, str] = {}

    def note(self, record: Record, *, replicas: Mapping[str, Record]) -> None:
        """Take a record of the hub; one that tells of a refused result is given the address of its node."""
        if record["event"] == "replica refused":
            for node in record.get("nodes", ()):
                self.lines[f"node {node}"] = f"refused: {record['reason']}"
        elif record["event"] == "result refused":
            node = record["node"] = replicas.get(record["host"], {}).get("node", "")
            where = f"{record['host']} on node {node} left trial {record['key']} unreadable"
            self.lines[f"node {node}"] = f"{where}: {record['reason']}; it is run again"


def why_unreadable(record: Record, *, launch: Launch) -> str:
    """Return why the artifacts of a finished trial cannot be read here, after a moment for a slow file system."""
    result, folder = record["result"], launch.trial_folder(record["key"])
    if result["status"] != TrialStatus.FINISHED:
        return ""
    if not result.get("files"):
        return "it says of no file what is in it"
    deadline = time.monotonic() + SLOW_FILES_S
    while (reason := why_not_readable(folder, result["files"])) and time.monotonic() < deadline:
        time.sleep(0.2)
    return reason
