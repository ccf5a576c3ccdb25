"""Nodes of a cluster that cause trouble: refused ones, and those that left files which cannot be read."""

from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

from nmlab.platform.launches.snapshot import ReplicaSnapshot
from nmlab.platform.records.events import (
    ConfirmationChosen,
    GroupRecord,
    JournalRecord,
    LaunchBegan,
    LaunchEnded,
    ReplicaLeft,
    ReplicaLost,
    ReplicaRefused,
    ReplicaStarted,
    ResultRefused,
    TrainRunLost,
    TrialActorLost,
    TrialEnded,
    TrialLeased,
    TrialMetrics,
    TrialSubmitted,
    UnknownRecord,
    WarmStarted,
    WeightsChecked,
)


class NodeTrouble:
    """Collects the nodes that were refused or left unreadable files: ``lines`` holds one line for each."""

    def __init__(self) -> None:
        self.lines: dict[str, str] = {}

    def collect(self, record: JournalRecord, *, replicas: Mapping[str, ReplicaSnapshot]) -> JournalRecord:
        """Add what a record says of a node to `lines`; return it, a refused result with its node's address."""
        match record:
            case ReplicaRefused():
                self.lines |= {f"node {node}": f"refused: {record.reason}" for node in record.nodes or ()}
            case ResultRefused():
                known = replicas.get(record.host)
                node = known.get("node", "") if known is not None else ""
                where = f"{record.host} on node {node} left trial {record.key} unreadable"
                self.lines[f"node {node}"] = f"{where}: {record.reason}; it is run again"
                return replace(record, node=node)
            case ReplicaStarted() | ReplicaLost() | ReplicaLeft() | WeightsChecked() | TrainRunLost():
                pass
            case TrialSubmitted() | TrialLeased() | TrialMetrics() | TrialEnded() | TrialActorLost():
                pass
            case GroupRecord() | WarmStarted() | LaunchBegan() | ConfirmationChosen() | LaunchEnded() | UnknownRecord():
                pass
            case _ as never:
                assert_never(never)
        return record
