"""How a sweep ends, and what is recorded of its study and of trials that nobody ran."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nmlab.search_spaces.schema.study import Study
from nmlab.trials.contract.run_status import LaunchStatus, TrialStatus
from nmlab.trials.contract.run_tags import FrozenWeights


class SweepError(RuntimeError):
    """A sweep that cannot go on: no replica is left to run its trials."""


class HeadLostError(SweepError):
    """The head of the cluster is gone, and with it all that could run trials."""


class RefusedError(SweepError, ValueError):
    """A study that fits nowhere in the cluster."""


@dataclass
class SweepResult:
    """How a launch ended: trials by status, loads of the model, whether the frozen weights were found unchanged."""

    status: LaunchStatus
    counts: dict[str, int]
    model_loads: int
    frozen_weights: FrozenWeights
    seconds: float
    interrupted: bool = False
    """Whether somebody asked for the end."""
    undelivered: str = ""
    """Why MLflow does not have everything that the launch's journal holds; empty where it has."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """What MLflow does not take, by what it is about, and why; everything else it has."""


def not_run(key: str) -> dict[str, Any]:
    """Return the end of a trial that nobody was left to run; it may go on in a later process."""
    reason = "no replica was left to run it"
    return {
        "event": "ended",
        "key": key,
        "result": {"key": key, "status": TrialStatus.STOPPED, "step": 0, "metrics": {}, "reason": reason},
    }


def flat_study(study: Study) -> dict[str, Any]:
    """Return the study's settings under dotted names, as parameters of the parent run."""

    def walk(tree: dict[str, Any], prefix: str) -> dict[str, Any]:
        flat: dict[str, Any] = {}
        for name, value in tree.items():
            flat |= walk(value, f"{prefix}{name}.") if isinstance(value, dict) and value else {f"{prefix}{name}": value}
        return flat

    return walk(study.model_dump(mode="json", by_alias=True, exclude_none=True), "")
