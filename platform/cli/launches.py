"""``nmlab sweep``, ``resume`` and ``status``: launch a study, continue a launch, show a launch."""

import os
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nmlab.platform.cli.next_steps import evaluate_command, export_command, launch_argument, print_steps
from nmlab.platform.cli.options import (
    DEFAULT_URI,
    Json,
    Preset,
    Quiet,
    Results,
    Set,
    TrackingUri,
    console,
    print_json,
)
from nmlab.trials.contract.run_artifacts import REPORT_FOLDER
from nmlab.trials.contract.run_status import LaunchStatus, TrialStatus

if TYPE_CHECKING:
    from nmlab.platform.launches.launch import Launch
    from nmlab.platform.planning.admission import Load
    from nmlab.platform.planning.study_plan import Plan
    from nmlab.platform.sweep import SweepResult

LOCAL = "local"
_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # set by Ray for the command of a submitted job

Address = Annotated[str | None, typer.Option("--address", help="Ray cluster to join. Default: start a local one.")]
NewAddress = Annotated[
    str | None,
    typer.Option("--address", help="Ray cluster to join instead of the stored one; 'local' starts one here."),
]
NewTrackingUri = Annotated[
    str | None, typer.Option("--tracking-uri", help="MLflow store to use from now on instead of the stored one.")
]
MaxFailures = Annotated[int, typer.Option("--max-failures", min=0, help="Losses that a replica, or a trial, survives.")]
LaunchName = Annotated[
    str | None,
    typer.Argument(
        help="A launch, its folder, or a study (its newest launch). Default: the newest.", show_default=False
    ),
]
TakeOver = Annotated[
    bool, typer.Option("--take-over", help="Take the launch over from a process on another machine that is gone.")
]
NoReport = Annotated[bool, typer.Option("--no-report", help="Do not write the report at the end.")]


def sweep(
    study: Annotated[str, typer.Argument(help="Name of a study (see `nmlab studies`) or a YAML file.")],
    preset: Preset = None,
    overrides: Set = None,
    results: Results = Path("results"),
    tracking_uri: TrackingUri = DEFAULT_URI,
    address: Address = None,
    max_failures: MaxFailures = 3,
    no_report: NoReport = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run every trial of a study on shared frozen models, record the trials in MLflow, and write the report.

    Example: nmlab sweep quickstart --set search.samples=12
    """
    from nmlab.platform.launches import launch as launches
    from nmlab.platform.planning.study_plan import plan_study
    from nmlab.platform.tracking.address import absolute_uri, check_store
    from nmlab.search_spaces import loader

    plan = plan_study(loader.load(study, preset=preset, overrides=overrides or []))
    address = None if address == LOCAL else address
    load = _admitted(plan, address, results)
    uri = absolute_uri(tracking_uri)
    check_store(uri, study=plan.study.name)
    settings = {"tracking_uri": uri, "address": address, "max_failures": max_failures}
    launch = launches.create(plan.study, results=results, settings=settings)
    _execute(plan, launch, settings, load=load, report=not no_report, quiet=quiet, as_json=as_json)


def resume(
    name: LaunchName = None,
    results: Results = Path("results"),
    address: NewAddress = None,
    tracking_uri: NewTrackingUri = None,
    take_over: TakeOver = False,
    no_report: NoReport = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Continue a launch that was stopped or killed; each interrupted trial continues from its checkpoint.

    A cluster is joined only if trials are left to run.

    Example: nmlab resume quickstart
    """
    from nmlab.platform.launches import launch as launches
    from nmlab.platform.launches.journal import ended_trials, read_journal
    from nmlab.platform.planning.study_plan import plan_study
    from nmlab.platform.process.credentials import restored_uri
    from nmlab.platform.tracking.address import absolute_uri, check_store

    launch = launches.find(name, results=results)
    settings = launch.settings()
    if tracking_uri is None:
        settings["tracking_uri"] = restored_uri(settings["tracking_uri"])
    else:
        settings["tracking_uri"] = absolute_uri(tracking_uri)
    is_over = len(ended_trials(read_journal(launch))) >= (plan := plan_study(launch.study())).trials
    if address is not None or not is_over:
        settings["address"] = resumed_address(address, stored=settings["address"], launch=launch.name)
    load = None if is_over else _admitted(plan, settings["address"], launch.folder, has_begun=True)
    check_store(settings["tracking_uri"], study=plan.study.name)
    settings |= {"take_over": take_over}
    _execute(plan, launch, settings, load=load, report=not no_report, quiet=quiet, as_json=as_json)


def status(
    name: LaunchName = None,
    results: Results = Path("results"),
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh until the launch ends.")] = False,
    as_json: Json = False,
) -> None:
    """Show a launch, running or ended: replicas, trials, losses, failures, and how often the model was loaded.

    Example: nmlab status quickstart --watch
    """
    from rich.live import Live

    from nmlab.platform.launches import launch as launches
    from nmlab.platform.launches.status import read_status, render_status

    launch = launches.find(name, results=results)
    snapshot = read_status(launch)
    if as_json:
        print_json(snapshot)
        return
    if not watch:
        console().print(render_status(snapshot))
        return
    with Live(render_status(snapshot), console=console(), refresh_per_second=2) as live:
        while snapshot["alive"]:
            time.sleep(1.0)
            snapshot = read_status(launch)
            live.update(render_status(snapshot))


def resumed_address(given: str | None, *, stored: str | None, launch: str) -> str | None:
    """Return the cluster that a resumed launch joins: ``given``, else ``stored``; None is a local one.

    Raises ``ValueError`` if the stored address is ``auto`` and this process is not a job of a cluster. Which cluster
    ``auto`` finds depends on where the command runs, so the user must name it.
    """
    if given is not None:
        return None if given == LOCAL else given
    if stored == "auto" and _JOB not in os.environ:
        raise ValueError(
            f"launch {launch} ran on the cluster that its own machine was part of (address 'auto'); give --address: "
            "HOST:PORT of its head node, auto to join the one this machine is part of, or local; in a job: "
            f"nmlab submit --resume {launch}"
        )
    return stored


def _admitted(plan: "Plan", address: str | None, results: Path, *, has_begun: bool = False) -> "Load":
    """Return the memory that a replica puts on its device; refuse a study that this machine or the cluster cannot hold.

    Without an address this machine is checked. On a cluster that is joined, every replica checks its own node or GPU
    before it loads the model. A launch that has begun needs only one usable node: others may have joined since.
    """
    from nmlab.platform.cluster.nodes import check_nodes, check_room
    from nmlab.platform.cluster.session import cluster
    from nmlab.platform.planning.estimate import Estimate

    estimate = Estimate.here(plan)
    if address is None:
        estimate.check()
    else:
        with cluster(address):
            note = check_nodes(plan.study, results=results, all_of_them=not has_begun)
            if note:
                console(stderr=True).print(f"note: {note}", markup=False)
            check_room(plan.study, estimate.load)
    return estimate.load


def _execute(
    plan: "Plan",
    launch: "Launch",
    settings: dict[str, Any],
    *,
    load: "Load | None",
    report: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    from nmlab.platform.launches.progress import ProgressView
    from nmlab.platform.sweep import Sweep, SweepError

    out = console(stderr=as_json)
    quiet = quiet or as_json
    if not quiet:
        out.print(f"{plan.study.name}: {plan.trials} trials, launch {launch.name}")
        for note in plan.facts.text_notes:
            out.print(f"note: {note}", markup=False)
    with ProgressView(out, quiet=quiet) as view:
        named = launch_argument(launch.folder)
        sweep = Sweep(plan, launch, load=load, watch=view.show, exits=True, resumed_as=named, **settings)
        try:
            # Ray reports lost workers on the standard output, whatever its settings say.
            with (launch.folder / "ray.log").open("a", encoding="utf-8") as noise, redirect_stdout(noise):
                result = sweep.run()
        except SweepError as error:
            console(stderr=True).print(f"nmlab: {error}", markup=False)
            raise typer.Exit(2 if isinstance(error, ValueError) else 1) from error
    finished = result.counts.get(TrialStatus.FINISHED, 0)
    reportable = report and finished and not result.undelivered and not result.interrupted
    written = _report(plan, launch, settings["tracking_uri"]) if reportable else None
    _print_result(result, launch, written, quiet=quiet, as_json=as_json)
    if finished and not result.undelivered and not (quiet or as_json):
        where = {"tracking_uri": settings["tracking_uri"], "results": launch.folder.parents[1]}
        print_steps(console(), [step(launch.name, **where) for step in (evaluate_command, export_command)])
    if not finished:
        _print_nothing_finished(result, launch)
    if result.status != LaunchStatus.FINISHED or result.undelivered or not finished:
        raise typer.Exit(1)


def _print_nothing_finished(result: "SweepResult", launch: "Launch") -> None:
    ended = ", ".join(f"{count} {status}" for status, count in sorted(result.counts.items())) or "none began"
    console(stderr=True).print(
        f"nmlab: no trial of {launch.name} finished ({ended}), so no report was written; "
        f"`nmlab status {launch_argument(launch.folder)}` says why",
        markup=False,
    )


def _report(plan: "Plan", launch: "Launch", tracking_uri: str) -> dict[str, Any]:
    from nmlab.platform.tracking import MlflowStore
    from nmlab.reports.report import write_report

    report = write_report(
        plan.study.name,
        tracking_uri=tracking_uri,
        output=launch.report_folder,
        launch=launch.name,
        mixed=True,  # a launch resumed with other versions is one table; the report says what differs
    )
    store = MlflowStore(plan.study.name, launch=launch.name, uri=tracking_uri)
    store.attach(launch.report_folder, folder=REPORT_FOLDER)
    return {"html": str(report.html), "headline": list(report.headline)}


def _summary(result: "SweepResult") -> str:
    """Return in one line how the launch ended, and what this process did for it."""
    ended = ", ".join(f"{count} {status}" for status, count in sorted(result.counts.items()))
    if result.model_loads:
        times = "once" if result.model_loads == 1 else f"{result.model_loads} times"
        return (
            f"{result.status} in {result.seconds:.0f} s: {ended}; model loaded {times}, "
            f"frozen weights {result.frozen_weights}"
        )
    if result.status == LaunchStatus.FINISHED:
        return f"finished already: {ended}; nothing was left to run, so no model was loaded"
    return f"{result.status} in {result.seconds:.0f} s: {ended or 'no trial began'}; no model was loaded"


def _print_result(
    result: "SweepResult", launch: "Launch", report: dict[str, Any] | None, *, quiet: bool, as_json: bool
) -> None:
    record = {**vars(result), "launch": str(launch.folder), "report": report}
    if as_json:
        print_json(record)
        return
    out = console()
    if not quiet:
        out.print(_summary(result))
    for sentence in report["headline"] if report else ():
        out.print(sentence, markup=False)
    if report:
        out.print(f"report: {report['html']}", markup=False)
    for about, why in result.refused.items():
        out.print(f"MLflow does not take {about}: {why}; `nmlab resume {launch.name}` tries again", markup=False)
    if result.undelivered:
        out.print(f"MLflow does not have all records yet: {result.undelivered}", markup=False)
        out.print(
            f"nothing is lost; deliver them and write the report with: nmlab resume {launch_argument(launch.folder)}",
            markup=False,
        )
    elif result.status == LaunchStatus.STOPPED:
        out.print(f"go on with: nmlab resume {launch_argument(launch.folder)}", markup=False)
