"""What comes before a sweep runs: plan the study, check that it fits and can be recorded, make or find its launch.

Neither torch nor Ray is loaded before the study itself is checked.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nmlab.platform.launches import launch as launches
from nmlab.platform.launches.journal import begin_with, read_without_metrics, trials_ended_for_good
from nmlab.platform.launches.launch import Launch, LaunchSettings
from nmlab.platform.launches.ownership import check_not_owned
from nmlab.platform.planning.study_plan import LaunchPlan, plan_study
from nmlab.platform.process.credentials import restored_uri
from nmlab.platform.records.events import WarmStarted
from nmlab.platform.tracking.address import absolute_uri, check_store
from nmlab.search_spaces.schema.study import Study

if TYPE_CHECKING:
    from nmlab.platform.planning.admission import Load

LOCAL = "local"
"""The address that asks for a local Ray cluster."""
_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # set by Ray for the command of a submitted job


@dataclass(frozen=True)
class ReadyLaunch:
    """A launch whose trials fit where they will run, and whose records have a place.

    Attributes:
        plan: of its study.
        launch: its folder.
        tracking_uri: the MLflow store, with an absolute path.
        address: the Ray cluster to join; None starts one in this process, `CONNECTED` is the one it has.
        max_failures: see `Sweep`.
        load: what a replica needs on its device; None if no trial is left to run.
        take_over: whether to take the launch from an owner whose machine is gone.
        extends: whether the study of the plan is a version that the launch does not have yet.
        notes: one line for each thing that the user should know before the start.
    """

    plan: LaunchPlan
    launch: Launch
    tracking_uri: str
    address: str | None
    max_failures: int
    load: Load | None
    take_over: bool = False
    extends: bool = False
    notes: tuple[str, ...] = ()


def start_launch(
    study: Study,
    *,
    results: Path,
    tracking_uri: str,
    address: str | None,
    max_failures: int,
    warm_start: Sequence[str] = (),
) -> ReadyLaunch:
    """Make the folder of a new launch of a study, after all checks; ``address`` as in `joined_address`.

    ``warm_start`` names launches whose outcomes its search starts from (`plan_warm_start`).

    Raises ``ValueError`` with one line for a study that is wrong or does not fit, a cluster that cannot be joined, a
    store that cannot be used, a results folder that cannot be written, and a launch of which nothing is of use.
    """
    plan, address = plan_study(study), joined_address(address)
    first = _warm_start(plan, warm_start, results=results, tracking_uri=tracking_uri)
    load, note = _admitted(plan, address, results)
    uri = absolute_uri(tracking_uri)
    check_store(uri, study=study.name)
    settings: LaunchSettings = {
        "tracking_uri": uri,
        "address": recorded_address(address),
        "max_failures": max_failures,
    }
    launch = launches.create(
        study, results=results, settings=settings, prepare=lambda launch: begin_with(launch, first)
    )
    return ReadyLaunch(
        plan=plan,
        launch=launch,
        tracking_uri=uri,
        address=address,
        max_failures=max_failures,
        load=load,
        notes=(*filter(None, [note]), *(source["line"] for each in first for source in each.sources)),
    )


def _warm_start(plan: LaunchPlan, names: Sequence[str], *, results: Path, tracking_uri: str) -> list[WarmStarted]:
    """Return the record of what a launch starts from; none without names."""
    if not names:
        return []
    from nmlab.platform.driver.warm_start import plan_warm_start  # loads Optuna and pandas

    return [plan_warm_start(plan, names, results=results, tracking_uri=tracking_uri)]


def continue_launch(
    launch: Launch,
    *,
    tracking_uri: str | None = None,
    address: str | None = None,
    take_over: bool = False,
    plan: LaunchPlan | None = None,
) -> ReadyLaunch:
    """Make a launch ready that was stopped or killed; a cluster is joined only if trials are left to run.

    Args:
        launch: its folder.
        plan: of a version of its study that it does not have yet; None goes on with the newest.
        tracking_uri: the MLflow store from now on; None is the one it has.
        address: the cluster from now on, as in `resumed_address`.
        take_over: whether to take it from an owner whose machine is gone.

    Raises ``ValueError`` as `start_launch` does, for a damaged launch, and for one that another process owns, before
    any node of a cluster is asked.
    """
    check_not_owned(launch.folder, take_over=take_over)
    stored = launch.settings()
    uri = restored_uri(stored["tracking_uri"]) if tracking_uri is None else absolute_uri(tracking_uri)
    extends, plan = plan is not None, plan or plan_of(launch)
    records = read_without_metrics(launch)
    nothing_left = plan.nothing_left_after(records, trials_ended_for_good(records))
    joined = stored["address"]
    if address is not None or not nothing_left:
        joined = resumed_address(address, stored=joined, launch=launch.name)
    load, note = (None, "") if nothing_left else _admitted(plan, joined, launch.folder, has_begun=True)
    check_store(uri, study=plan.study.name)
    notes = (note,) if note else ()
    return ReadyLaunch(
        plan=plan,
        launch=launch,
        tracking_uri=uri,
        address=joined,
        max_failures=stored["max_failures"],
        load=load,
        take_over=take_over,
        extends=extends,
        notes=notes,
    )


def plan_of(launch: Launch) -> LaunchPlan:
    """Return the plan of the newest version of a launch's study; raises ``ValueError`` as `plan_study` does."""
    *earlier, study = (launch.study(version) for version in launch.versions())
    return plan_study(study, earlier=tuple(earlier))


def recorded_address(address: str | None) -> str | None:
    """Return the address that a launch records for its next process.

    For the Ray of this process that is none if the process started it, and ``auto`` if it joined it.
    """
    from nmlab.platform.cluster.session import CONNECTED, started_here

    if address != CONNECTED:
        return address
    return None if started_here() else "auto"


def joined_address(given: str | None) -> str | None:
    """Return the cluster that a new launch joins; None, which ``local`` asks for too, is one of its own."""
    return None if given == LOCAL else given


def resumed_address(given: str | None, *, stored: str | None, launch: str) -> str | None:
    """Return the cluster that a resumed launch joins: ``given``, else ``stored``; None is a local one.

    Raises ``ValueError`` if the stored address is ``auto`` and this process is not a job of a cluster. Which cluster
    ``auto`` finds depends on where the command runs, so the user must name it.
    """
    if given is not None:
        return joined_address(given)
    if stored == "auto" and _JOB not in os.environ:
        raise ValueError(
            f"launch {launch} ran on the cluster that its own machine was part of (address 'auto'); give --address: "
            "HOST:PORT of its head node, auto to join the one this machine is part of, or local; in a job: "
            f"nmlab submit --resume {launch}"
        )
    return stored


def _admitted(plan: LaunchPlan, address: str | None, results: Path, *, has_begun: bool = False) -> tuple[Load, str]:
    """Return the memory that a replica puts on its device, and a note on the cluster's nodes ("" without one).

    Raises ``ValueError`` for a study that this machine or the cluster cannot hold. Without an address this machine is
    checked. On a cluster that is joined, every replica checks its own node or GPU before it loads the model. A launch
    that has begun needs only one usable node: others may have joined since.
    """
    from nmlab.platform.cluster.nodes import check_nodes, check_room
    from nmlab.platform.cluster.session import cluster
    from nmlab.platform.planning.estimate import Estimate

    estimate = Estimate.here(plan)
    if address is None:
        estimate.check()
        return estimate.load, ""
    with cluster(address):
        note = check_nodes(plan.study, results=results, all_of_them=not has_begun)
        check_room(plan.study, estimate.load)
    return estimate.load, note
