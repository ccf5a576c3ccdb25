"""``nmlab sweep``, ``resume`` and ``status``: launch a study, continue a launch, show a launch."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

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
from nmlab.trials.contract.run_status import LaunchStatus

if TYPE_CHECKING:
    from nmlab.platform.driver.launch_report import LaunchReport
    from nmlab.platform.driver.start_launch import ReadyLaunch
    from nmlab.platform.launches.launch import Launch
    from nmlab.platform.sweep import SweepResult

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
    from nmlab.platform.driver.start_launch import start_launch
    from nmlab.search_spaces import loader

    ready = start_launch(
        loader.load(study, preset=preset, overrides=overrides or []),
        results=results,
        tracking_uri=tracking_uri,
        address=address,
        max_failures=max_failures,
    )
    _run(ready, report=not no_report, quiet=quiet, as_json=as_json)


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
    from nmlab.platform.driver.start_launch import continue_launch
    from nmlab.platform.launches import launch as launches

    ready = continue_launch(
        launches.find(name, results=results), tracking_uri=tracking_uri, address=address, take_over=take_over
    )
    _run(ready, report=not no_report, quiet=quiet, as_json=as_json)


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


def _run(ready: "ReadyLaunch", *, report: bool, quiet: bool, as_json: bool) -> None:
    """Run a launch and print how it ended; exit code 1 unless it ended as planned, 2 if it fits nowhere."""
    from nmlab.platform.driver.launch_report import report_launch

    quiet = quiet or as_json
    for note in ready.notes:
        console(stderr=True).print(f"note: {note}", markup=False)
    result = _result_of(ready, quiet=quiet, out=console(stderr=as_json))
    written = report_launch(ready, result) if report else None
    _print_result(result, ready.launch, written, quiet=quiet, as_json=as_json)
    if result.finished_trials and not result.undelivered and not quiet:
        uri, results = ready.tracking_uri, ready.launch.folder.parents[1]
        steps = (evaluate_command, export_command)
        print_steps(console(), [step(ready.launch.name, tracking_uri=uri, results=results) for step in steps])
    if not result.finished_trials:
        _print_nothing_finished(result, ready.launch)
    if not result.is_success:
        raise typer.Exit(1)


def _result_of(ready: "ReadyLaunch", *, quiet: bool, out: Console) -> "SweepResult":
    """Run a launch with its progress on ``out``; print why it could not go on, and exit."""
    from nmlab.platform.launches.status import ProgressView
    from nmlab.platform.sweep import SweepError, run_launch

    plan, launch = ready.plan, ready.launch
    if not quiet:
        out.print(f"{plan.study.name}: {plan.trials} trials, launch {launch.name}")
        for note in plan.facts.text_notes:
            out.print(f"note: {note}", markup=False)
    with ProgressView(out, quiet=quiet) as view:
        try:
            return run_launch(ready, watch=view.show, exits=True, resumed_as=launch_argument(launch.folder))
        except SweepError as error:
            console(stderr=True).print(f"nmlab: {error}", markup=False)
            raise typer.Exit(2 if isinstance(error, ValueError) else 1) from error


def _print_nothing_finished(result: "SweepResult", launch: "Launch") -> None:
    ended = _counts(result) or "none began"
    console(stderr=True).print(
        f"nmlab: no trial of {launch.name} finished ({ended}), so no report was written; "
        f"`nmlab status {launch_argument(launch.folder)}` says why",
        markup=False,
    )


def _counts(result: "SweepResult") -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(result.counts.items()))


def _summary(result: "SweepResult") -> str:
    """Return in one line how the launch ended, and what this process did for it."""
    ended = _counts(result)
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
    result: "SweepResult", launch: "Launch", report: "LaunchReport | None", *, quiet: bool, as_json: bool
) -> None:
    if as_json:
        written = {"html": str(report.html), "headline": list(report.headline)} if report else None
        print_json({**vars(result), "launch": str(launch.folder), "report": written})
        return
    out = console()
    if not quiet:
        out.print(_summary(result))
    for sentence in report.headline if report else ():
        out.print(sentence, markup=False)
    if report:
        out.print(f"report: {report.html}", markup=False)
    for line in _what_is_left(result, launch):
        out.print(line, markup=False)


def _what_is_left(result: "SweepResult", launch: "Launch") -> Iterator[str]:
    """Yield what MLflow does not have, and the command that goes on."""
    resume_it = f"nmlab resume {launch_argument(launch.folder)}"
    for about, why in result.refused.items():
        yield f"MLflow does not take {about}: {why}; `nmlab resume {launch.name}` tries again"
    if result.undelivered:
        yield f"MLflow does not have all records yet: {result.undelivered}"
        yield f"nothing is lost; deliver them and write the report with: {resume_it}"
    elif result.status == LaunchStatus.STOPPED:
        yield f"go on with: {resume_it}"
