"""Sweep a study, resume a launch, and extend one: on the Ray of this process, else on a local one."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nmlab.platform.api.named_results import GivenLaunch, launch_text, launch_texts
from nmlab.platform.api.places import notify_url, results_folder, store_uri
from nmlab.platform.api.study import Study, as_study
from nmlab.platform.api.sweep_result import SweepResult

if TYPE_CHECKING:
    from nmlab.platform.driver.start_launch import ReadyLaunch


class SweepInterrupted(KeyboardInterrupt):
    """Ctrl-C ended a sweep, after its trials had saved themselves; `resume` goes on.

    It is a ``KeyboardInterrupt``, so that a script or a queue of notebook cells stops too.

    Attributes:
        result: how far the launch came; its status is ``"stopped"``.
    """

    def __init__(self, result: SweepResult) -> None:
        super().__init__(
            f"launch {result.launch} is {result.status} and saved; resume({result.launch!r}) goes on with it"
        )
        self.result = result


def sweep(
    study: Study | str | Path | Mapping[str, object],
    *,
    preset: str | None = None,
    overrides: Sequence[str] = (),
    results: str | Path | None = None,
    tracking_uri: str | None = None,
    address: str | None = None,
    max_failures: int = 3,
    warm_start: GivenLaunch | Sequence[GivenLaunch] = (),
    report: bool = True,
    progress: bool = True,
    notify: str | None = None,
) -> SweepResult:
    """Run every trial of a study on shared frozen models, record the trials in MLflow, and write the report.

    It runs on the Ray that this process is connected to, which stays as it is. Without one it starts a local Ray of its
    own, which only this user can reach, and ends it at the end. It joins another cluster only if ``address`` names it:
    neither ``RAY_ADDRESS`` nor a cluster on this machine is found by itself.

    It works in a script, in a notebook and in a Ray task. Ctrl-C in the main thread lets each trial save itself at its
    next step.

    Args:
        study: a study, or what `load_study` takes.
        preset: the size of the study, where it is given by its name.
        overrides: settings as ``--set`` takes them, such as ``"search.samples=4"``.
        results: the folder for launches; by default ``NMLAB_RESULTS``, else ``results``. All nodes must see it.
        tracking_uri: the MLflow store; by default ``MLFLOW_TRACKING_URI``, else ``sqlite:///nmlab.db``.
        address: ``HOST:PORT`` of a cluster to join, or ``"local"`` for a Ray of its own, in a process that is connected
            to none. By default the one of this process, else a local one.
        max_failures: how often a trial may lose its replica, and a replica its worker.
        warm_start: earlier launches, whose folders may be gone where MLflow has them. Configurations that were measured
            with the same weights, texts and objective enter the search with their outcomes; the best ones of others
            are tried first. They do not count as tried, and are in none of the tables; what entered is kept with the
            launch.
        report: write the report at the end.
        progress: show how far it is: live on a terminal and in a notebook, elsewhere a line for each configuration that
            ends.
        notify: an address of http or https that gets one JSON message when the launch ends, when an error ends it, and
            when the disk is full; by default ``NMLAB_NOTIFY``, else none. It is kept nowhere.

    Returns:
        How the launch ended, with its trials and configurations. A launch whose trials all diverged or failed is
        returned too; see `SweepResult.is_success`.

    Raises:
        StudyError: a study that cannot be read.
        ValueError: a study that does not fit, a cluster that cannot be joined, a store or folder that cannot be used,
            or a warm start that is of no use.
        SweepError: no replica is left to run trials, the cluster's head is lost, or records cannot be kept; `resume`
            goes on.
        SweepInterrupted: Ctrl-C, after everything was saved.

    Example:
        >>> import nmlab
        >>> study = nmlab.load_study("quickstart").with_overrides(seeds=[0], search={"samples": 2})
        >>> result = nmlab.sweep(study, progress=False)  # doctest: +SKIP
        >>> result.best().mask.apply()  # doctest: +SKIP
    """
    from nmlab.platform.api.connection import chosen_address
    from nmlab.platform.api.launching import ready_to_start

    def ready() -> "ReadyLaunch":
        return ready_to_start(
            as_study(study, preset=preset, overrides=overrides),
            results=results_folder(results),
            tracking_uri=store_uri(tracking_uri),
            address=chosen_address(address),
            max_failures=max_failures,
            warm_start=launch_texts(warm_start),
        )

    return _ran(ready, report=report, progress=progress, notify=notify)


def resume(
    launch: str | SweepResult | None = None,
    *,
    results: str | Path | None = None,
    tracking_uri: str | None = None,
    address: str | None = None,
    take_over: bool = False,
    report: bool = True,
    progress: bool = True,
    notify: str | None = None,
) -> SweepResult:
    """Continue a launch that was stopped or killed; each interrupted trial continues from its checkpoint.

    A cluster is joined, or a local Ray started, only if trials are left to run; which one, `sweep` says.

    Args:
        launch: a launch, its folder, or a study (its newest launch); by default the newest of all.
        results: the folder for launches; by default ``NMLAB_RESULTS``, else ``results``.
        tracking_uri: the MLflow store from now on; by default the one it has.
        address: the cluster from now on; by default the Ray of this process, else the one it has.
        take_over: take the launch from a process on another machine that is gone.
        report: write the report at the end.
        progress: show how far it is.
        notify: where messages are posted, as in `sweep`; a launch does not remember it.

    Returns:
        How the launch ended.

    Raises:
        ValueError: there is no such launch, or it is damaged, or as `sweep`.
        OwnedError: another process owns the launch.
        SweepError: as `sweep`.
        SweepInterrupted: as `sweep`.

    Example:
        >>> import nmlab
        >>> nmlab.resume("quickstart")  # doctest: +SKIP
    """
    from nmlab.platform.api.connection import chosen_address
    from nmlab.platform.api.launching import ready_to_resume

    def ready() -> "ReadyLaunch":
        return ready_to_resume(
            None if launch is None else launch_text(launch),
            results=results_folder(results),
            tracking_uri=None if tracking_uri is None else store_uri(tracking_uri),
            address=chosen_address(address),
            take_over=take_over,
        )

    return _ran(ready, report=report, progress=progress, notify=notify)


def extend(
    launch: str | SweepResult,
    study: Study | str | Path | Mapping[str, object] | None = None,
    *,
    overrides: Sequence[str] = (),
    results: str | Path | None = None,
    tracking_uri: str | None = None,
    address: str | None = None,
    take_over: bool = False,
    report: bool = True,
    progress: bool = True,
    notify: str | None = None,
) -> SweepResult:
    """Add to a launch: more configurations, seeds, baselines, fresh seeds, another space, other limits; then run them.

    Trials that have run are kept, and what the search was told stays told. A seed that is added runs for every
    configuration that is complete; it feeds the report and the confirmation, not the search. Model, texts, pattern,
    method, fixed hyperparameters, the objective and the limits of a trial stay as they are. Every version of the study
    is kept in the launch, and `resume` goes on with the newest.

    Args:
        launch: a launch, its folder, or a study (its newest launch).
        study: the study as it is to be: one of Python, or what `load_study` takes; by default the one of the launch.
        overrides: settings as ``--set`` takes them, such as ``"search.samples=40"``.
        results: the folder for launches; by default ``NMLAB_RESULTS``, else ``results``.
        tracking_uri: the MLflow store from now on; by default the one it has.
        address: the cluster from now on; by default the Ray of this process, else the one it has.
        take_over: take the launch from a process on another machine that is gone.
        report: write the report at the end.
        progress: show how far it is.
        notify: where messages are posted, as in `sweep`; a launch does not remember it.

    Returns:
        How the launch ended.

    Raises:
        StudyError: a setting that must stay differs, with one line for each.
        ValueError: there is no such launch, or it is damaged, or nothing differs, or as `sweep`.
        OwnedError: another process owns the launch.
        SweepError: as `sweep`.
        SweepInterrupted: as `sweep`.

    Example:
        >>> import nmlab
        >>> nmlab.extend("quickstart", overrides=["search.samples=12", "seeds=[0, 1, 2, 3, 4]"])  # doctest: +SKIP
    """
    from nmlab.platform.api.connection import chosen_address
    from nmlab.platform.api.launching import extension_of, ready_to_extend

    def ready() -> "ReadyLaunch":
        return ready_to_extend(
            extension_of(launch_text(launch), study, overrides=overrides, results=results_folder(results)),
            tracking_uri=None if tracking_uri is None else store_uri(tracking_uri),
            address=chosen_address(address),
            take_over=take_over,
        )

    return _ran(ready, report=report, progress=progress, notify=notify)


def _ran(ready: "Callable[[], ReadyLaunch]", *, report: bool, progress: bool, notify: str | None) -> SweepResult:
    """Run what ``ready`` makes ready; raises ``SweepInterrupted`` if a signal ended it."""
    from nmlab.platform.api.launching import kept_signal_handlers, run_ready
    from nmlab.platform.api.progress import display_for

    url = notify_url(notify)  # refused before anything is made
    with kept_signal_handlers():
        result = run_ready(ready(), display=display_for(progress), report=report, notify=url)
    if result.interrupted:
        raise SweepInterrupted(result)
    return result
