"""Close a launch: record how it ended, wait for MLflow, and return the result."""

import time

from nmlab.platform.driver.open_launch import OpenLaunch
from nmlab.platform.driver.record_keeper import RecordKeeper
from nmlab.platform.launches.confirming import confirmation_lines
from nmlab.platform.launches.endings import LaunchEnding
from nmlab.platform.launches.ownership import OwnershipLostError
from nmlab.platform.records.events import LaunchEnded
from nmlab.platform.tracking import DELIVERY_SECONDS, UndeliveredError
from nmlab.trials.contract import run_tags
from nmlab.trials.contract.run_status import LaunchStatus, TrialStatus
from nmlab.trials.files.disk import DiskFullError

_INTERRUPTED_DELIVERY_SECONDS = 2.0
"""How long the end after Ctrl-C waits for a store that takes nothing; `nmlab resume` delivers the rest."""


def close_launch(opened: OpenLaunch, *, keeper: RecordKeeper, is_interrupted: bool) -> LaunchEnding:
    """Record how a launch ended, in any case, so that no MLflow run is left running; return the result."""
    keeper.claim()  # also from a driver loop that has not ended
    state, loads = opened.state, keeper.model_loads
    status, frozen = _final_status(opened, is_interrupted=is_interrupted), state.frozen_weights
    undelivered = ""
    try:
        keeper.keep_enqueued()
        keeper.keep([_ended(opened, status=status, loads=loads)])
        opened.recorder.close(grace=_INTERRUPTED_DELIVERY_SECONDS if is_interrupted else DELIVERY_SECONDS)
    except (UndeliveredError, DiskFullError, OwnershipLostError) as error:
        undelivered = str(error)
    state.phase = status
    keeper.publish(force=True)
    opened.recorder.give_up()
    opened.journal.close()
    return LaunchEnding(
        status,
        dict(state.counts()),
        model_loads=loads,
        frozen_weights=frozen,
        seconds=time.time() - state.started,
        interrupted=is_interrupted,
        undelivered=undelivered,
        refused=dict(opened.recorder.refused),
        search_stopped=state.search_stopped,
        confirmation=confirmation_lines(state.snapshot()),
    )


def _ended(opened: OpenLaunch, *, status: LaunchStatus, loads: int) -> LaunchEnded:
    tags: dict[str, str] = {run_tags.FROZEN_WEIGHTS: opened.state.frozen_weights}
    if opened.plan.added_seeds or opened.plan.search_limits().is_set:  # how many trials there are is known now
        tags[run_tags.PLANNED] = str(opened.state.trials_in_all)
    if opened.state.search_stopped:
        tags[run_tags.SEARCH_STOPPED] = opened.state.search_stopped
    if loads:  # a resumed launch without trials to run has loaded no model
        tags[run_tags.MODEL_LOADS] = str(loads)
        digests = sorted({replica["model_digest"] for replica in opened.state.replicas.values()} - {""})
        if digests:
            tags[run_tags.MODEL_DIGEST] = ",".join(digests)
    return LaunchEnded(status=status, time=int(time.time() * 1000), tags=tags)


def _final_status(opened: OpenLaunch, *, is_interrupted: bool) -> LaunchStatus:
    state, plan = opened.state, opened.plan
    if state.nothing_left_to_run:
        return LaunchStatus.FINISHED
    limit = plan.study.budget.time_limit_seconds
    out_of_time = limit is not None and time.time() - state.started >= limit
    was_stopped = is_interrupted or out_of_time or state.counts()[TrialStatus.STOPPED]
    return LaunchStatus.STOPPED if was_stopped else LaunchStatus.FAILED
