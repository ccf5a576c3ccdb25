"""Run a launch that is ready, show it, and write its report: for `sweep` and `resume`, and for the command line."""

import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nmlab.platform.api.progress import Display
from nmlab.platform.api.study import Study, as_study
from nmlab.platform.api.sweep_result import SweepResult
from nmlab.platform.process.shutdown import SIGNALS
from nmlab.search_spaces import loader
from nmlab.search_spaces.schema import study as schema

if TYPE_CHECKING:
    from nmlab.platform.driver.extend_launch import Extension
    from nmlab.platform.driver.launch_report import LaunchReport
    from nmlab.platform.driver.start_launch import ReadyLaunch
    from nmlab.platform.launches.endings import LaunchEnding
    from nmlab.platform.process.posting import SecretUrl

__all__ = [
    "Extension",
    "ReadyLaunch",
    "extension_of",
    "kept_signal_handlers",
    "ready_to_extend",
    "ready_to_resume",
    "ready_to_start",
    "run_ready",
]


def ready_to_start(
    study: Study,
    *,
    results: Path,
    tracking_uri: str,
    address: str | None,
    max_failures: int,
    warm_start: Sequence[str] = (),
) -> "ReadyLaunch":
    """Make the folder of a new launch after all checks; see `nmlab.sweep`."""
    from nmlab.platform.driver.start_launch import start_launch

    return start_launch(
        study,
        results=results,
        tracking_uri=tracking_uri,
        address=address,
        max_failures=max_failures,
        warm_start=warm_start,
    )


def ready_to_resume(
    launch: str | None, *, results: Path, tracking_uri: str | None, address: str | None, take_over: bool
) -> "ReadyLaunch":
    """Make a launch ready that was stopped or killed; see `nmlab.resume`."""
    from nmlab.platform.driver.start_launch import continue_launch
    from nmlab.platform.launches import launch as launches

    found = launches.find(launch, results=results)
    return continue_launch(found, tracking_uri=tracking_uri, address=address, take_over=take_over)


def extension_of(
    launch: str | None,
    study: Study | str | Path | Mapping[str, object] | None,
    *,
    overrides: Sequence[str],
    results: Path,
) -> "Extension":
    """Return what a launch becomes by another version of its study, after all checks; see `nmlab.extend`."""
    from nmlab.platform.driver.extend_launch import plan_extension
    from nmlab.platform.launches import launch as launches

    found = launches.find(launch, results=results)
    return plan_extension(found, _next_version(found.study(), study, overrides=overrides))


def ready_to_extend(
    extension: "Extension", *, tracking_uri: str | None, address: str | None, take_over: bool
) -> "ReadyLaunch":
    """Make an extended launch ready; see `nmlab.extend`."""
    from nmlab.platform.driver.extend_launch import extend_launch

    return extend_launch(extension, tracking_uri=tracking_uri, address=address, take_over=take_over)


def _next_version(
    before: schema.Study, given: Study | str | Path | Mapping[str, object] | None, *, overrides: Sequence[str]
) -> Study:
    """Return the study of a launch, or another at the preset of the launch where it has that, with overrides."""
    if given is None:
        return Study.of(before).with_overrides(*overrides)
    preset = before.preset if isinstance(given, str | Path) and before.preset in loader.presets(given) else None
    return as_study(given, preset=preset, overrides=overrides)


def run_ready(
    ready: "ReadyLaunch",
    *,
    display: Display,
    report: bool,
    exits: bool = False,
    resumed_as: str = "",
    notify: "SecretUrl | None" = None,
) -> SweepResult:
    """Run a launch that is ready, and write its report where a trial has finished.

    Args:
        ready: the launch.
        display: shows it.
        report: whether to write the report at the end.
        exits: whether this process is nmlab's own command, which a second signal, or anything that hangs, may end.
        resumed_as: what ``nmlab resume`` is given to find the launch; empty for its name.
        notify: where messages on the launch are posted; None posts none.

    Raises:
        SweepError: no replica is left to run its trials, or records cannot be kept.
        OwnedError: another process owns the launch.
    """
    from nmlab.platform.driver.notifications import both, notifications
    from nmlab.platform.sweep import run_launch

    for note in ready.notes:
        display.note(note)
    texts = [f"note: {note}" for note in ready.plan.facts.text_notes]
    display.begin([f"{ready.plan.study.name}: {ready.plan.trials_text}, launch {ready.launch.name}", *texts])
    with notifications(notify, study=ready.plan.study.name, launch=ready.launch.name) as messages:
        with display.watching() as show:
            ending = run_launch(ready, watch=both(show, messages), exits=exits, resumed_as=resumed_as)
        if messages is not None:
            messages.end(ending)
        written = _written(ready, ending) if report else None
    return SweepResult(
        study=ready.plan.study.name,
        launch=ready.launch.name,
        status=ending.status,
        counts=ending.counts,
        folder=ready.launch.folder,
        tracking_uri=ready.tracking_uri,
        model_loads=ending.model_loads,
        frozen_weights=ending.frozen_weights,
        seconds=ending.seconds,
        interrupted=ending.interrupted,
        undelivered=ending.undelivered,
        refused=ending.refused,
        search_stopped=ending.search_stopped,
        confirmation=ending.confirmation,
        page=None if written is None else written.html,
        headline=() if written is None else written.headline,
    )


def _written(ready: "ReadyLaunch", ending: "LaunchEnding") -> "LaunchReport | None":
    """Write the report; what it needs, figures and statistics, is imported now."""
    from nmlab.platform.driver.launch_report import report_launch

    return report_launch(ready, ending)


@contextmanager
def kept_signal_handlers() -> Iterator[None]:
    """Put the signal handlers of this process back when the block ends; Ray installs its own when it starts.

    Only the main thread has signal handlers; in another one nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None is a handler of C code, which Python cannot put back
                signal.signal(number, handler)
