"""Run one trial from configuration to result, or follow a trial that another slot leads.

A trial that runs out of memory runs again with smaller micro-batches; a peer that follows a trial replays its steps.
"""

from dataclasses import replace
from pathlib import Path

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.errors import DivergedError, GroupClosedError, ReloadError
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.measure.memory import empty_cache
from nmlab.trials.parallel.mask_parallel import MaskEvaluators, SingleEvaluator
from nmlab.trials.parallel.pipeline_group import SINGLE_PROCESS, PipelineGroup
from nmlab.trials.trial.attempt import Attempt
from nmlab.trials.trial.ending import AttemptResult, TrialInProgress, attach_cost, result_of_error
from nmlab.trials.trial.outcome import Events, NullEvents, TrialResult
from nmlab.trials.trial.start import TrialStart


def run_trial(
    spec: TrialSpec,
    *,
    replica: ReplicaContext,
    folder: Path,
    events: Events,
    pipeline: PipelineGroup = SINGLE_PROCESS,
    evaluators: MaskEvaluators | None = None,
    halved_batches_reason: str = "",
) -> TrialResult:
    """Run a trial on a replica, from its newest checkpoint in ``folder`` if there is one, and return its result.

    A trial that runs out of memory on a whole model runs once more, from its newest checkpoint, with half as many
    sequences at a time; a note in the result says so. It does not if memory was missing for its state or a checkpoint,
    which that does not make smaller.

    Args:
        spec: the trial.
        replica: the replica context; in a pipeline group that of this rank.
        folder: the trial's folder, for checkpoints and artifacts.
        events: receives metrics and can cancel the trial; in a pipeline group only the leader uses it.
        pipeline: the pipeline group. Every rank calls this function; all ranks end with the same status, the leader
            alone writes artifacts, and its metrics are those of the trial.
        evaluators: evaluates a part of the masks of each step in other slots; the result is the same.
        halved_batches_reason: why already the first attempt uses half as many sequences at a time; "" if it does not.

    Raises ``ValueError`` for bad input, and ``PeerError`` where another rank failed. Divergence and lack of memory are
    results, not exceptions. ``account_of`` returns the cost up to an exception.
    """
    attempt = Attempt(
        spec=spec,
        replica=replica,
        folder=folder,
        events=events if pipeline.leads else NullEvents(),
        pipeline=pipeline,
        evaluators=evaluators or SingleEvaluator(),
    )
    with replica.results.in_use():
        return _run_with_retry(attempt, halved_batches_reason=halved_batches_reason)


def _run_with_retry(attempt: Attempt, *, halved_batches_reason: str) -> TrialResult:
    """Make one attempt, and where that runs out of memory another one with half as many sequences at a time."""
    may_halve = attempt.spec.can_halve_batches and attempt.pipeline.size == 1
    if halved_batches_reason and may_halve:
        return _run_attempt(replace(attempt, halved_batches_reason=halved_batches_reason)).result
    first = _run_attempt(attempt)
    if not (may_halve and first.retry_with_halved_batches):
        return first.result
    empty_cache(attempt.replica.frozen.device)
    why = f"ran out of memory with micro-batches of {attempt.spec.calibration.at_once}"
    return _run_attempt(replace(attempt, halved_batches_reason=why)).result


def _run_attempt(attempt: Attempt) -> AttemptResult:
    """Start the trial, resume it from its newest checkpoint, and complete it."""
    start = TrialStart(attempt)
    trial: TrialInProgress = start
    try:
        trial = loop = start.begin()
        loop.resume()
        return AttemptResult(loop.complete())
    except Exception as error:
        return result_of_error(attempt.pipeline.recover(error), trial)
    except BaseException as interruption:  # of this very process
        attach_cost(interruption, trial)
        raise


def follow_trial(
    spec: TrialSpec,
    *,
    replica: ReplicaContext,
    folder: Path,
    evaluators: MaskEvaluators,
    pipeline: PipelineGroup = SINGLE_PROCESS,
) -> None:
    """Evaluate masks of a trial that another slot leads, from its newest checkpoint until the trial ends.

    Steps that the group has taken since the checkpoint are replayed from their losses alone. Nothing is written. In a
    pipeline group every rank calls this function.
    """
    attempt = Attempt(
        spec=spec,
        replica=replica,
        folder=folder,
        events=NullEvents(),
        pipeline=pipeline,
        evaluators=evaluators,
        follows=True,
    )
    with replica.results.in_use():
        while _follow(attempt):
            pass


def _follow(attempt: Attempt) -> bool:
    """Follow a trial until it ends; return whether to start again from the newest checkpoint."""
    try:
        trial = TrialStart(attempt).begin()
        trial.resume()
        trial.replay()
        return False
    except Exception as error:
        ended = attempt.pipeline.recover(error)
    if not isinstance(ended, ReloadError | GroupClosedError | DivergedError):
        raise ended
    return isinstance(ended, ReloadError)  # divergence is reported by the leader, which has the same losses
