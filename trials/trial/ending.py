"""The end of an attempt at a trial: its result, or the error that ended it, with what the trial has cost by then."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from nmlab.trials.contract.errors import DivergedError, GroupClosedError, attach_account
from nmlab.trials.contract.run_status import TrialEnd, TrialStatus
from nmlab.trials.contract.training_losses import train_loss_of
from nmlab.trials.contract.values import JsonObject
from nmlab.trials.evaluation import TaskResults
from nmlab.trials.files.disk import DiskFullError
from nmlab.trials.files.file_digest import FileDescription
from nmlab.trials.measure.out_of_memory import NOT_RETRIED_NOTE, depends_on_batch_size, is_out_of_memory
from nmlab.trials.methods import registry
from nmlab.trials.trial.attempt import Attempt
from nmlab.trials.trial.outcome import TrialResult, facts_of


class TrialInProgress(Protocol):
    """What is known of a trial while it runs: `TrialStart` before its run is started, then `TrialLoop`."""

    @property
    def attempt(self) -> Attempt: ...

    @property
    def step(self) -> int:
        """The number of steps taken."""

    @property
    def notes(self) -> list[str]:
        """What a reader of the result must know besides its numbers."""

    @property
    def started_from(self) -> Mapping[str, JsonObject]:
        """The initial masks so far, by digest."""

    @property
    def tasks(self) -> TaskResults | None:
        """The results of the evaluation tasks, once they have run."""

    @property
    def runs_model(self) -> bool:
        """Whether the trial takes steps or evaluates, where most of the memory allocated is activations."""

    def spent(self) -> dict[str, float]:
        """Return cost and memory as metrics, without asking other ranks of a pipeline group, which may have failed."""


@dataclass(frozen=True)
class AttemptResult:
    """The result of an attempt, and whether another one with halved batches may succeed where it ran out of memory."""

    result: TrialResult
    retry_with_halved_batches: bool = False


def result_of(
    trial: TrialInProgress,
    status: TrialEnd,
    *,
    metrics: Mapping[str, float],
    reason: str = "",
    files: Mapping[str, FileDescription] | None = None,
) -> TrialResult:
    """Return the result of a trial at its current step; ``files`` are size and digest of its artifacts by name."""
    spec, tasks = trial.attempt.spec, None if trial.tasks is None else trial.tasks.facts_line()
    return TrialResult(
        key=spec.key,
        status=status,
        step=trial.step,
        metrics=metrics,
        reason=reason,
        artifacts=tuple(files or ()),
        files=files or {},
        model_digest=trial.attempt.replica.frozen.digest,
        notes=tuple(trial.notes),
        initial_masks=dict(trial.started_from),
        facts=facts_of(
            depends_on_seed=registry.uses_seed(spec.method, spec.hyperparameters),
            tasks=tasks,
            train_loss=train_loss_of(spec.hyperparameters),
        ),
    )


def result_of_error(error: Exception, trial: TrialInProgress) -> AttemptResult:
    """Return the result for an error that ends a trial, or raise any other error with an account of the cost."""
    if isinstance(error, DivergedError):
        return AttemptResult(result_of(trial, TrialStatus.DIVERGED, reason=str(error), metrics=trial.spent()))
    if isinstance(error, DiskFullError | GroupClosedError):
        return AttemptResult(result_of(trial, TrialStatus.STOPPED, reason=str(error), metrics=trial.spent()))
    if not is_out_of_memory(error):
        attach_cost(error, trial)
        raise error
    may_fit = depends_on_batch_size(error, otherwise=trial.runs_model)
    trial.notes.extend([] if may_fit else [NOT_RETRIED_NOTE])
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    result = result_of(trial, TrialStatus.OOM, reason=reason, metrics=trial.spent())
    return AttemptResult(result, retry_with_halved_batches=may_fit)


def attach_cost(error: BaseException, trial: TrialInProgress) -> None:
    """Attach to an error how far the trial came and what it has cost."""
    attach_account(error, step=trial.step, metrics=trial.spent())
