"""How trials and launches stand and end: in MLflow's tag ``nmlab.status``, in journals and in ``status.json``.

The strings are kept. What is read from a journal or a tag is plain text and equals the member of its value.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal, TypeAlias


class TrialStatus(StrEnum):
    """How a trial stands or ended."""

    WAITING = "waiting"
    """In the live view: no slot runs it at the moment."""
    RUNNING = "running"
    """A slot runs it; in MLflow also one that was cut off with its launch."""
    FINISHED = "finished"
    """Learned as far as its steps and its budget allow, was evaluated, and left its files."""
    DIVERGED = "diverged"
    """Its loss or its perplexity left the finite numbers."""
    OOM = "oom"
    """Did not fit into memory, nor with half of the micro-batch where that could help."""
    FAILED = "failed"
    """Ended with an error; a resumed launch tries it again."""
    STOPPED = "stopped"
    """Saved itself and stopped: early, because others did better (see ``STOPPED_EARLY``), or to go on later."""
    PRUNED = "pruned"
    """In reports: stopped by the search, as a status of its own; nmlab records ``STOPPED`` with a reason instead."""
    DUPLICATE = "duplicate"
    """In reports: another run holds the same trial, and this one counts nowhere."""


TrialEnd: TypeAlias = Literal[
    TrialStatus.FINISHED, TrialStatus.DIVERGED, TrialStatus.OOM, TrialStatus.FAILED, TrialStatus.STOPPED
]
"""How a trial can end."""

ENDED_FOR_GOOD = (TrialStatus.FINISHED, TrialStatus.DIVERGED, TrialStatus.OOM, TrialStatus.STOPPED)
"""Ends that another try would only repeat, unless the result is marked resumable; a failed trial is tried again."""
UNFINISHED = (TrialStatus.RUNNING, TrialStatus.STOPPED, TrialStatus.PRUNED)
"""What reports call unfinished: stopped or not ended."""
WITH_ERROR = (TrialStatus.FAILED, TrialStatus.OOM)
"""What reports call failed: ended in an error or out of memory."""
STOPPED_EARLY = "stopped early"
"""How the reason of a stopped trial begins where the search stopped its configuration, and not a person."""


class LaunchStatus(StrEnum):
    """How a launch stands or ended; in MLflow ``RUNNING`` stands for the first three."""

    STARTING = "starting"
    """No trial has been given to a replica yet."""
    RUNNING = "running"
    """Trials run."""
    STOPPING = "stopping"
    """Nothing new is begun; running trials save themselves and replicas check their weights."""
    FINISHED = "finished"
    """Every planned trial has ended, however."""
    STOPPED = "stopped"
    """Ended before all trials had: interrupted, out of time, or with stopped trials; ``nmlab resume`` goes on."""
    FAILED = "failed"
    """Ended before all trials had, for another reason."""
    KILLED = "killed"
    """In the live view: its process is gone and has not said how it ended."""


AT_WORK = (LaunchStatus.STARTING, LaunchStatus.RUNNING, LaunchStatus.STOPPING)
"""A launch whose process runs."""
MLFLOW_STATUS: Mapping[str, str] = {
    TrialStatus.FINISHED: "FINISHED",
    TrialStatus.DIVERGED: "FAILED",
    TrialStatus.OOM: "FAILED",
    TrialStatus.FAILED: "FAILED",
    TrialStatus.STOPPED: "KILLED",
}
"""The status that MLflow itself is given with the end of a trial; launches end in three of these ways."""
MLFLOW_RUNNING = "RUNNING"
FROM_MLFLOW: Mapping[str, TrialStatus] = {
    "FINISHED": TrialStatus.FINISHED,
    "FAILED": TrialStatus.FAILED,
    "KILLED": TrialStatus.STOPPED,
}
"""What MLflow's own status says of a run that has no tag; of any other status it is still running."""
