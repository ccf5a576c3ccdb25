"""Run the trials of an open launch on the connected cluster: dispatcher, coordinator, replicas and Tune.

Importing this module imports Ray, whose environment `cluster` sets; import it only once the cluster is connected.
"""

from pathlib import Path

from nmlab.platform.dispatch.dispatcher import start_dispatcher
from nmlab.platform.driver.open_launch import OpenLaunch
from nmlab.platform.driver.record_keeper import RecordKeeper
from nmlab.platform.driver.running_trials import RunningTrials
from nmlab.platform.driver.stop_requests import UNRESPONSIVE_SECONDS, StopRequests
from nmlab.platform.launches.journal import evaluations
from nmlab.platform.mask_parallel.coordinator import start_coordinator
from nmlab.platform.planning.admission import Load
from nmlab.platform.records.events import TrainRunLost
from nmlab.platform.records.payloads import Proof
from nmlab.platform.replicas.replica import start_replicas
from nmlab.platform.search.successor import extended_strategy
from nmlab.platform.search.warm_start import warm_start_of
from nmlab.platform.tuning.tune import tune_trials

_ACTOR_FAILURES = 3
"""How often a trial may lose its actor, at least."""


def run_trials(
    opened: OpenLaunch,
    *,
    keeper: RecordKeeper,
    stop: StopRequests,
    load: Load,
    max_failures: int,
    stays_up: bool,
    proof: tuple[Path, Proof],
) -> None:
    """Run every trial that has not ended; returns when all have ended, the time is over or a request to stop is done.

    The model loads while Tune starts actors.

    Args:
        opened: the launch.
        keeper: keeps its records; it belongs to the calling thread before and after.
        stop: why the sweep is to end early.
        load: what a replica needs on its device.
        max_failures: how often a trial may lose its replica, and a replica its worker.
        stays_up: whether the cluster stays when the sweep has ended.
        proof: the file that every replica must read, and what it must show.

    Raises:
        SweepError: no replica is left, the head is lost, or records cannot be kept.
    """

    def lost(name: str, error: str) -> None:
        keeper.enqueue(TrainRunLost(host=name, error=error))

    nonce, expected = proof
    dispatcher = start_dispatcher(opened.launch.name, max_failures=max_failures, expected=expected)
    # Held until the end: Ray ends an actor when nothing refers to it any more.
    coordinator = start_coordinator(opened.launch.name, size=opened.plan.study.replica.mask_parallel)
    replicas = start_replicas(
        opened.plan.study,
        dispatcher=dispatcher.name,
        folder=opened.launch.folder,
        max_failures=max_failures,
        load=load,
        nonce=nonce,
        mask_parallel=coordinator.settings if coordinator else None,
        lost=lost,
    )
    try:
        trials = RunningTrials(
            opened, keeper=keeper, stop=stop, dispatcher=dispatcher, replicas=replicas, stays_up=stays_up
        )
        try:
            _tune(opened, trials, dispatcher=dispatcher.name, max_failures=max_failures)
        finally:
            stop.shutdown.wind_down()
            trials.watch.starts_no_more_trials = True
            trials.stop_and_save()
    finally:
        if stop.is_shutting_down:
            replicas.call_off(within=UNRESPONSIVE_SECONDS)
        else:
            replicas.call_off()


def _tune(opened: OpenLaunch, trials: RunningTrials, *, dispatcher: str, max_failures: int) -> None:
    plan, launch = opened.plan, opened.launch
    tune_trials(
        plan,
        extended_strategy(
            plan.study,
            earlier=plan.earlier,
            journal=launch.optuna_journal,
            warm=warm_start_of([] if opened.warm is None else [opened.warm]),
        ),
        dispatcher=dispatcher,
        ended=opened.ended,
        evaluated=evaluations(opened.journal.read(), metric=plan.study.search.metrics[0]),
        later=plan.later_seeds(opened.journal.read()),
        search_limits=opened.state.search_limits,
        stopped_early=opened.stopping.reasons,
        folder=launch.folder,
        watch=trials.watch,
        max_failures=max(_ACTOR_FAILURES, max_failures),
    )
