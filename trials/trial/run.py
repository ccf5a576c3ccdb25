"""One trial from configuration to result, run or followed: what the platform calls.

A trial that runs out of memory runs again with smaller micro-batches; a process that follows a trial repeats its steps.
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
    """Run a trial on a replica's workbench, from its newest checkpoint in ``folder`` if there is one.

    Where shards hold the model, every member of the ``crew`` calls this, each on its own workbench. The leader alone
    tells ``events``, asks them, and writes artifacts; all end alike, and the metrics of the leader are the trial's.
    With a ``party`` others evaluate a share of the masks of each step; the result is the same.

    A trial that runs out of memory on a whole model runs once more, from its newest checkpoint, with half as many
    sequences at a time; a note in the result says so. Not where memory was missing for its state or a checkpoint, which
    that does not make smaller. ``smaller_because`` says why it must not even try all at once.

    Raises ``ValueError`` for bad input, ``PeerError`` where that or another failure befell another member. Divergence
    and lack of memory are results, not exceptions. What was spent by then ``account_of`` finds in the exception.
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
    """Take part in a trial that another slot leads, from its newest checkpoint on, until it is over.

    Steps that the others have taken since the checkpoint are repeated from their losses alone. Nothing is written.
    Where shards hold the model, every member of the ``crew`` calls this.
    """
    again = True
    with replica.results.in_use():
        while again:
            again = _keeps_up(TrialLoop(spec, replica, folder, NullEvents(), pipeline, evaluators, assists=True))


def _keeps_up(trial: "TrialLoop") -> bool:
    """Take part until the trial is over; say whether to start anew from the newest checkpoint."""
    try:
        trial.begin()
        trial.replay()
        return False
    except Exception as error:
        ended = trial.pipeline.recover(error)
    if not isinstance(ended, ReloadError | GroupClosedError | DivergedError):
        raise ended
    return isinstance(ended, ReloadError)  # that it diverged, on the same losses, the leader says itself
