"""One attempt at a trial: everything that it is given, and how many sequences go through the model at a time.

A trial has a second attempt only where the first ran out of memory; it takes half as many sequences at a time.
"""

from dataclasses import dataclass
from pathlib import Path

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.sections import HeldOutText
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.parallel.mask_parallel import MaskEvaluators
from nmlab.trials.parallel.pipeline_group import PipelineGroup
from nmlab.trials.trial.checkpoint import CheckpointFolder
from nmlab.trials.trial.outcome import Events


@dataclass(frozen=True, eq=False)
class Attempt:
    """What one attempt at a trial is given; ``run_trial`` and ``follow_trial`` describe the fields."""

    spec: TrialSpec
    replica: ReplicaContext
    folder: Path
    events: Events
    pipeline: PipelineGroup
    evaluators: MaskEvaluators
    follows: bool = False
    """Whether another slot leads the trial and writes its checkpoints."""
    halved_batches_reason: str = ""
    """Why half as many sequences as specified go through the model at a time, after out of memory; "" where all do."""

    @property
    def micro_batch(self) -> int | None:
        """The number of sequences of a minibatch that go through the model at a time; None means all."""
        calibration = self.spec.calibration
        return _half(calibration.at_once) if self.halved_batches_reason else calibration.micro_batch

    def windows_at_once(self, text: HeldOutText) -> int:
        """Return the number of windows of a text that go through the model at a time."""
        return _half(text.batch_size) if self.halved_batches_reason else text.batch_size

    @property
    def notes(self) -> list[str]:
        """What a reader of the result must know about this attempt."""
        ran_with = f"ran with {self.micro_batch} (windows: {self.windows_at_once(self.spec.evaluation)})"
        return [f"{self.halved_batches_reason}, {ran_with}"] if self.halved_batches_reason else []

    def checkpoints(self) -> CheckpointFolder:
        """Return the checkpoints of the trial; each rank of a pipeline group has a folder of its own."""
        rank, size = self.pipeline.rank, self.pipeline.size
        own = self.folder / f"shard-{rank}-of-{size}" if size > 1 else self.folder
        return CheckpointFolder(own, key=self.spec.key, read_only=self.follows)


def _half(count: int) -> int:
    return -(-count // 2)
