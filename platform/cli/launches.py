"""``nmlab sweep``, ``resume``, ``extend`` and ``status``: launch a study, continue, extend and show a launch."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import nmlab
from nmlab.platform.cli.completion import complete_launch, complete_study
from nmlab.platform.cli.next_steps import evaluate_command, export_command, launch_argument, print_steps
from nmlab.platform.cli.options import (
    DEFAULT_URI,
    Json,
    Notify,
    Preset,
    Quiet,
    Results,
    Set,
    StudyName,
    TrackingUri,
    WarmStart,
    console,
    print_json,
)
from nmlab.trials.contract.run_status import LaunchStatus

if TYPE_CHECKING:
    from nmlab.platform.api.launching import ReadyLaunch
    from nmlab.platform.api.sweep_result import SweepResult

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
        help="A launch, its folder, or a study (its newest launch). Default: the newest.",
        show_default=False,
        autocompletion=complete_launch,
    ),
]
ExtendedLaunch = Annotated[
    str,
    typer.Argument(help="A launch, its folder, or a study (its newest launch).", autocompletion=complete_launch),
]
NextStudy = Annotated[
    str | None,
    typer.Argument(
        help="The study as it is to be, as a YAML file. Default: the one of the launch.",
        show_default=False,
        autocompletion=complete_study,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would change, and how many trials that adds.")]
TakeOver = Annotated[
    bool, typer.Option("--take-over", help="Take the launch over from a process on another machine that is gone.")
]
NoReport = Annotated[bool, typer.Option("--no-report", help="Do not write the report at the end.")]


def sweep(
    study: StudyName,
    *,
    preset: Preset = None,
    overrides: Set = None,
    results: Results = Path("results"),
    tracking_uri: TrackingUri = DEFAULT_URI,
    address: Address = None,
    max_failures: MaxFailures = 3,
    warm_start: WarmStart = None,
    no_report: NoReport = False,
    notify: Notify = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run every trial of a study on shared frozen models, record the trials in MLflow, and write the report.

    Example: nmlab sweep quickstart --set search.samples=12
    """
    from nmlab.platform.api.launching import ready_to_start
    from nmlab.platform.api.study import load_study

    ready = ready_to_start(
        load_study(study, preset=preset, overrides=overrides or ()),
        results=results,
        tracking_uri=tracking_uri,
        address=address,
        max_failures=max_failures,
        warm_start=warm_start or (),
    )
    _run(ready, report=not no_report, notify=notify, quiet=quiet, as_json=as_json)


def resume(
    name: LaunchName = None,
    *,
    results: Results = Path("results"),
    address: NewAddress = None,
    tracking_uri: NewTrackingUri = None,
    take_over: TakeOver = False,
    no_report: NoReport = False,
    notify: Notify = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Continue a launch that was stopped or killed; each interrupted trial continues from its checkpoint.

    A cluster is joined only if trials are left to run.

    Example: nmlab resume quickstart
    """
    from nmlab.platform.api.launching import ready_to_resume

    ready = ready_to_resume(name, results=results, tracking_uri=tracking_uri, address=address, take_over=take_over)
    _run(ready, report=not no_report, notify=notify, quiet=quiet, as_json=as_json)


def extend(
    name: ExtendedLaunch,
    *,
    study: NextStudy = None,
    overrides: Set = None,
    results: Results = Path("results"),
    address: NewAddress = None,
    tracking_uri: NewTrackingUri = None,
    take_over: TakeOver = False,
    dry_run: DryRun = False,
    no_report: NoReport = False,
    notify: Notify = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Add to a launch: more configurations, seeds or baselines, another space, other limits; then run what is new.

    Trials that have run are kept. What would make new trials incomparable with them is refused by name.

    Example: nmlab extend quickstart --set search.samples=12 --set 'seeds=[0, 1, 2, 3, 4]'
    """
    from nmlab.platform.api.launching import extension_of, ready_to_extend

    extension = extension_of(name, study, overrides=overrides or (), results=results)
    if dry_run and as_json:
        print_json(extension.record())
        return
    for line in () if quiet else extension.lines:
        console(stderr=as_json).print(line, markup=False, highlight=False, soft_wrap=True)
    if not dry_run:
        ready = ready_to_extend(extension, tracking_uri=tracking_uri, address=address, take_over=take_over)
        _run(ready, report=not no_report, notify=notify, quiet=quiet, as_json=as_json)


def status(
    name: LaunchName = None,
    *,
    results: Results = Path("results"),
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh until the launch ends.")] = False,
    as_json: Json = False,
) -> None:
    """Show a launch, running or ended: replicas, trials, losses, failures, and how often the model was loaded.

    Example: nmlab status quickstart --watch
    """
    from nmlab.platform.api.launch_status import status as status_of
    from nmlab.platform.api.progress import print_status, watch_status

    found = status_of(name, results=results)
    if as_json:
        print_json(found.record())
    elif watch:
        watch_status(found, console(), again=lambda: status_of(found.launch, results=results))
    else:
        print_status(found, console())


def _run(ready: "ReadyLaunch", *, report: bool, notify: str | None, quiet: bool, as_json: bool) -> None:
    """Run a launch and print how it ended; exit code 1 unless it ended as planned, 2 if it fits nowhere."""
    from nmlab.platform.api.launching import run_ready
    from nmlab.platform.api.places import notify_url
    from nmlab.platform.api.progress import Lines

    quiet = quiet or as_json
    display = Lines(console(stderr=as_json), notes=console(stderr=True), quiet=quiet)
    argument = launch_argument(ready.launch.folder)
    try:
        result = run_ready(
            ready, display=display, report=report, exits=True, resumed_as=argument, notify=notify_url(notify)
        )
    except nmlab.SweepError as error:
        console(stderr=True).print(f"nmlab: {error}", markup=False)
        raise typer.Exit(2 if isinstance(error, ValueError) else 1) from error
    _print_result(result, argument=argument, quiet=quiet, as_json=as_json)
    if result.finished_trials and not result.undelivered and not quiet:
        uri, folder = result.tracking_uri, ready.launch.folder.parents[1]
        steps = (evaluate_command, export_command)
        print_steps(console(), [step(result.launch, tracking_uri=uri, results=folder) for step in steps])
    if not result.finished_trials:
        _print_nothing_finished(result, argument)
    if not result.is_success:
        raise typer.Exit(1)


def _print_nothing_finished(result: "SweepResult", argument: str) -> None:
    counts = _counts(result) or "none began"
    console(stderr=True).print(
        f"nmlab: no trial of {result.launch} finished ({counts}), so no report was written; "
        f"`nmlab status {argument}` says why",
        markup=False,
    )


def _counts(result: "SweepResult") -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(result.counts.items()))


def _summary(result: "SweepResult") -> str:
    """Return in one line how the launch ended, and what this process did for it."""
    counts = _counts(result)
    if result.model_loads:
        times = "once" if result.model_loads == 1 else f"{result.model_loads} times"
        return (
            f"{result.status} in {result.seconds:.0f} s: {counts}; model loaded {times}, "
            f"frozen weights {result.frozen_weights}"
        )
    if result.status == LaunchStatus.FINISHED:
        return f"finished already: {counts}; nothing was left to run, so no model was loaded"
    return f"{result.status} in {result.seconds:.0f} s: {counts or 'no trial began'}; no model was loaded"


def _print_result(result: "SweepResult", *, argument: str, quiet: bool, as_json: bool) -> None:
    if as_json:
        print_json(result.record())
        return
    from nmlab.platform.api.progress import print_words

    out = console()
    if not quiet:
        print_words(_summary(result), out)
    for sentence in (result.search_stopped, *result.headline, *result.confirmation):
        if sentence:
            print_words(sentence, out)
    if result.page is not None:
        out.print(f"report: {result.page}", markup=False)
    for line in _what_is_left(result, argument):
        out.print(line, markup=False)


def _what_is_left(result: "SweepResult", argument: str) -> Iterator[str]:
    """Yield what MLflow does not have, and the command that goes on."""
    for about, why in result.refused.items():
        yield f"MLflow does not take {about}: {why}; `nmlab resume {result.launch}` tries again"
    if result.undelivered:
        yield f"MLflow does not have all records yet: {result.undelivered}"
        yield f"nothing is lost; deliver them and write the report with: nmlab resume {argument}"
    elif result.status == LaunchStatus.STOPPED:
        yield f"go on with: nmlab resume {argument}"
