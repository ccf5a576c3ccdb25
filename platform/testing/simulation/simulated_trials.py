"""A stand-in for trials: steps on the virtual clock, whose values depend on the trial and the step alone.

What it keeps on disk are its checkpoints, which outlive every process, and the file of its result.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nmlab.platform.testing.simulation.scheduler import Scheduler
from nmlab.trials.contract.errors import GroupClosedError, ReloadError
from nmlab.trials.contract.run_status import TrialEnd, TrialStatus
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.files.file_digest import FileDescription, describe_files
from nmlab.trials.parallel.mask_parallel import MaskEvaluators
from nmlab.trials.trial.outcome import Events, TrialResult

_FILE = "result.txt"
Curve = Callable[[TrialSpec], Mapping[int, float]]
"""The perplexity of a trial by step, from step 0 to its last; it diverges at a NaN."""


def value_of(key: str, *numbers: int) -> float:
    """Return a number between 1 and 2 that depends on a trial's key and further numbers alone."""
    digest = hashlib.blake2b(f"{key} {numbers}".encode(), digest_size=6).digest()
    return 1.0 + int.from_bytes(digest) / 2**48


@dataclass
class SimulatedTrials:
    """Runs trials, and follows those of other slots, with the functions that a replica calls.

    Attributes:
        scheduler: of the simulation.
        seconds: the shortest and the longest virtual time of a step.
        curve: see `Curve`; None is a curve of its own for each trial.
        checkpoints: the step of the newest checkpoint by trial key.
    """

    scheduler: Scheduler
    seconds: tuple[float, float] = (0.05, 0.3)
    curve: Curve | None = None
    checkpoints: dict[str, int] = field(default_factory=dict)

    def run(
        self, spec: TrialSpec, *, folder: Path, events: Events, evaluators: MaskEvaluators | None = None, **rest: Any
    ) -> TrialResult:
        """Run a trial from its newest checkpoint; see ``run_trial``."""
        evaluations, last, at = self._evaluations(spec), steps_of(spec), self.checkpoints.get(spec.key, 0)
        for step in range(at + 1):
            self._tell(spec, step, evaluations=evaluations, events=events)
        for step in range(at, last):
            if events.cancelled():
                self._save(spec, step, evaluators)
                return _result(spec, TrialStatus.STOPPED, step, reason="saved itself")
            try:
                self._learn(spec, step, evaluators)
            except GroupClosedError:
                return _result(spec, TrialStatus.STOPPED, step, reason="another slot leads it")
            if math.isnan(evaluations.get(step + 1, 0.0)):
                return _result(spec, TrialStatus.DIVERGED, step + 1)
            self._tell(spec, step + 1, evaluations=evaluations, events=events)
            if (step + 1) % spec.cadence.checkpoint_every == 0:
                self._save(spec, step + 1, evaluators)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _FILE).write_text(spec.key, encoding="ascii")
        files = describe_files(folder, [_FILE])
        return _result(spec, TrialStatus.FINISHED, last, files=files, perplexity=evaluations[last])

    def follow(self, spec: TrialSpec, *, evaluators: MaskEvaluators, **rest: Any) -> None:
        """Evaluate masks of a trial that another slot leads; see ``follow_trial``."""
        while True:
            try:
                for step in range(self.checkpoints.get(spec.key, 0), steps_of(spec)):
                    self._losses(spec, step, evaluators)
                return
            except ReloadError:
                continue
            except GroupClosedError:
                return

    def _learn(self, spec: TrialSpec, step: int, evaluators: MaskEvaluators | None) -> None:
        if evaluators is None:
            self._wait()
            return
        expected = [value_of(spec.key, step, index) for index in range(_masks(spec))]
        assert self._losses(spec, step, evaluators) == expected, "the losses are those of another step or order"

    def _losses(self, spec: TrialSpec, step: int, evaluators: MaskEvaluators) -> list[float]:
        def evaluate(index: int) -> float:
            self._wait()
            return value_of(spec.key, step, index)

        return evaluators.losses(step, _masks(spec), evaluate=evaluate, digest=lambda: f"{spec.key} {step}".encode())

    def _tell(self, spec: TrialSpec, step: int, *, evaluations: Mapping[int, float], events: Events) -> None:
        values = {"train/loss": value_of(spec.key, step)} if step else {}
        if step in evaluations and (step == 0 or step < steps_of(spec)):
            values[_objective(spec) if step else "initial/perplexity"] = evaluations[step]
        if values:
            events.metrics(step, values)

    def _evaluations(self, spec: TrialSpec) -> Mapping[int, float]:
        if self.curve is not None:
            return self.curve(spec)
        last, every = steps_of(spec), spec.cadence.evaluate_every
        steps = {0, last, *(range(every, last, every) if every else ())}
        return {step: 100 * value_of(spec.key, step) for step in steps}

    def _save(self, spec: TrialSpec, step: int, evaluators: MaskEvaluators | None) -> None:
        self.checkpoints[spec.key] = max(self.checkpoints.get(spec.key, 0), step)
        if evaluators is not None:
            evaluators.saved(step)

    def _wait(self) -> None:
        self.scheduler.pause(until=self.scheduler.now + self.scheduler.random.uniform(*self.seconds))


class SimulatedModel:
    """A frozen model without weights, which takes some time to load."""

    digest, bytes, layers = "simulated", 0, ()

    def __init__(self, is_unchanged: bool = True) -> None:
        self._is_unchanged = is_unchanged

    def unchanged(self) -> bool:
        """Return what the check of the weights finds."""
        return self._is_unchanged


class SimulatedReplicaContext:
    """What the trials of a replica share: the model."""

    def __init__(self, frozen: SimulatedModel, *, initial_masks: Path) -> None:
        self.frozen, self.initial_masks = frozen, initial_masks


def steps_of(spec: TrialSpec) -> int:
    """Return how many steps a trial takes; 0 for a method that does not learn."""
    return int(spec.hyperparameters.get("steps") or 0)


def _objective(spec: TrialSpec) -> str:
    """Return the metric by which configurations are chosen."""
    return "eval/perplexity" if spec.validation is None else "validation/perplexity"


def _masks(spec: TrialSpec) -> int:
    return spec.masks_a_step


def _result(
    spec: TrialSpec,
    status: TrialEnd,
    step: int,
    *,
    reason: str = "",
    files: Mapping[str, FileDescription] | None = None,
    perplexity: float | None = None,
) -> TrialResult:
    metrics = {"cost/forwards": float(step)}
    metrics |= {} if perplexity is None else {"eval/perplexity": perplexity, _objective(spec): perplexity}
    return TrialResult(spec.key, status, step, metrics, reason=reason, files=files or {})
