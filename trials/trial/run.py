"""Run one trial from configuration to result, or follow a trial that another slot leads.

A trial that runs out of memory runs again with smaller micro-batches; a peer that follows a trial replays its steps.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.errors import DivergedError, GroupClosedError, ReloadError
from nmlab.trials.contract.run_status import TrialStatus
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.measure.memory import empty_cache
from nmlab.trials.parallel.mask_parallel import MaskEvaluators, SingleEvaluator
from nmlab.trials.parallel.pipeline_group import SINGLE_PROCESS, PipelineGroup
from nmlab.trials.trial.loop import TrialLoop
from nmlab.trials.trial.outcome import Events, NullEvents, TrialResult


def run_trial(
    spec: TrialSpec,
    *,
    replica: ReplicaContext,
    folder: Path,
    events: Events,
    pipeline: PipelineGroup = SINGLE_PROCESS,
    evaluators: MaskEvaluators | None = None,
    smaller_because: str = "",
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
        smaller_because: why the first attempt must use half as many sequences at a time already; "" if it need not.

    Raises ``ValueError`` for bad input, and ``PeerError`` where another rank failed. Divergence and lack of memory are
    results, not exceptions. ``account_of`` returns the cost up to an exception.
    """
    trial = partial(
        TrialLoop,
        spec,
        replica,
        folder,
        events if pipeline.leads else NullEvents(),
        pipeline,
        evaluators or SingleEvaluator(),
    )
    with replica.results.in_use():
        return _run_or_halve(trial, smaller_because=smaller_because)


def _run_or_halve(trial: "Callable[..., TrialLoop]", *, smaller_because: str) -> TrialResult:
    first = trial()
    spec, replica = first.spec, first.replica
    can_be_halved = spec.batches_can_be_halved and first.pipeline.size == 1
    if smaller_because and can_be_halved:
        return _attempt(trial(halved=True, why=smaller_because))
    result = _attempt(first)
    if result.status != TrialStatus.OOM or not can_be_halved or not first.shrinks:
        return result
    del first
    empty_cache(replica.frozen.device)
    why = f"ran out of memory with micro-batches of {spec.calibration.at_once}"
    return _attempt(trial(halved=True, why=why))


def _attempt(trial: "TrialLoop") -> TrialResult:
    try:
        trial.begin()
        return trial.go()
    except Exception as error:
        return trial.ended_by(trial.pipeline.recover(error))
    except BaseException as interruption:  # of this very process
        trial.account_for(interruption)
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
    again = True
    with replica.results.in_use():
        while again:
            again = _follow(TrialLoop(spec, replica, folder, NullEvents(), pipeline, evaluators, follows=True))


def _follow(trial: "TrialLoop") -> bool:
    """Follow a trial until it ends; return whether to start again from the newest checkpoint."""
    try:
        trial.begin()
        trial.replay()
        return False
    except Exception as error:
        ended = trial.pipeline.recover(error)
    if not isinstance(ended, ReloadError | GroupClosedError | DivergedError):
        raise ended
    return isinstance(ended, ReloadError)  # divergence is reported by the leader, which has the same losses
