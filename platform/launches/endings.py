"""How a sweep ends: its errors and its result; the record of a trial that no replica ran."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from nmlab.platform.records.events import TrialEnded
from nmlab.platform.records.payloads import ResultRecord
from nmlab.search_spaces.reading.earlier_names import recorded_name
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.contract.run_status import LaunchStatus, TrialStatus
from nmlab.trials.contract.run_tags import FrozenWeights
from nmlab.trials.contract.trial_spec import by_name, joined


class SweepError(RuntimeError):
    """The sweep cannot go on: no replica is left to run its trials."""


class HeadLostError(SweepError):
    """The head node of the cluster is gone, and with it everything that could run trials."""


class RefusedError(SweepError, ValueError):
    """The study fits nowhere in the cluster."""


@dataclass
class LaunchEnding:
    """How a launch ended: trials by status, loads of the model, whether the frozen weights are unchanged."""

    status: LaunchStatus
    counts: dict[str, int]
    model_loads: int
    frozen_weights: FrozenWeights
    seconds: float
    interrupted: bool = False
    """Whether a signal ended it."""
    undelivered: str = ""
    """Why MLflow lacks a part of the launch's journal; empty if it has everything."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """The records that MLflow refuses: what each is about -> why. MLflow has everything else."""
    search_stopped: str = ""
    """Why the search stopped before it had tried everything, and what was not run; empty if it did not."""
    confirmation: tuple[str, ...] = ()
    """How the confirmation of the search came out, in a few lines; none if the study asks for none."""

    @property
    def finished_trials(self) -> int:
        """The number of trials that finished."""
        return self.counts.get(TrialStatus.FINISHED, 0)

    @property
    def is_success(self) -> bool:
        """Whether the launch ended as planned: all trials have ended, one finished at least, MLflow has everything."""
        has_everything = not self.undelivered and not self.refused
        return self.status == LaunchStatus.FINISHED and has_everything and self.finished_trials > 0


def not_run(key: str) -> TrialEnded:
    """Return the record of the end of a trial that no replica was left to run; a later process may continue it."""
    reason = "no replica was left to run it"
    result: ResultRecord = {"key": key, "status": TrialStatus.STOPPED, "step": 0, "metrics": {}, "reason": reason}
    return TrialEnded(key=key, result=result)


def flat_study(study: Study) -> dict[str, object]:
    """Return the study's settings under dotted names, for the parameters of the parent run.

    Keys that had another name in earlier versions are recorded under that, so that all runs have the same parameters.
    """

    def walk(tree: dict[str, object], prefix: str) -> dict[str, object]:
        flat: dict[str, object] = {}
        for name, value in tree.items():
            flat |= walk(value, f"{prefix}{name}.") if isinstance(value, dict) and value else {f"{prefix}{name}": value}
        return flat

    whole = study.model_dump(mode="json", by_alias=True, exclude_none=True)
    if study.data.calibration.is_mixture:
        whole["data"]["calibration"] |= joined(part.model_dump() for part in study.data.calibration.parts)
    if study.data.neutral:
        texts = by_name(study.data.neutral_texts)  # as in the parameters of trials
        whole["data"]["neutral"] = {
            text: {name: value for name, value in own.items() if value is not None} for text, own in texts.items()
        }
    flat = walk(whole, "")
    return {recorded_name(path): value for path, value in flat.items()}
