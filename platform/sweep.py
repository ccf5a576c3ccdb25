"""One launch, from the first process to the last: its phases in order.

Signals, Tune and the phases run in the thread that calls `Sweep.run`. What other threads report, the driver loop's
apart, only sets an event (`StopRequests`) or is put into a queue (`RecordKeeper.enqueue`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass

from nmlab.platform.cluster.head_watch import watch_head
from nmlab.platform.cluster.proof import expected_proof
from nmlab.platform.cluster.session import cluster
from nmlab.platform.driver.close_launch import close_launch
from nmlab.platform.driver.open_launch import OpenLaunch, open_launch
from nmlab.platform.driver.record_keeper import RecordKeeper
from nmlab.platform.driver.start_launch import ReadyLaunch, recorded_address
from nmlab.platform.driver.stop_requests import StopRequests
from nmlab.platform.launches.endings import (
    HeadLostError,
    LaunchEnding,
    RefusedError,
    SweepError,
    flat_study,
)
from nmlab.platform.launches.launch import Launch
from nmlab.platform.launches.ownership import owned
from nmlab.platform.launches.snapshot import Snapshot
from nmlab.platform.planning.admission import Load
from nmlab.platform.planning.study_plan import LaunchPlan
from nmlab.platform.records.events import LaunchBegan
from nmlab.platform.tracking.extension_tags import extension_tags
from nmlab.platform.tracking.warm_start_tags import warm_start_tags
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.contract import run_tags

__all__ = ["HeadLostError", "LaunchEnding", "RefusedError", "Sweep", "SweepError", "run_launch"]


@dataclass(frozen=True)
class Sweep:
    """One process of a launch: runs the trials of a study that have not ended yet.

    Attributes:
        plan: the study with its baselines and what was found out about model and texts.
        launch: the folder of the launch.
        tracking_uri: of MLflow.
        load: what a replica needs on its device; None if every trial has ended and no replica is needed.
        address: of the Ray cluster to join; None starts one in this process, `CONNECTED` is the one it has.
        max_failures: how often a trial may lose its replica, a replica its worker, and a trial its actor (at least 3).
        watch: is called with a snapshot of the launch, to show progress, by one thread at a time.
        take_over: whether to take the launch from an owner whose machine is gone.
        extends: whether the study of the plan is a version that the launch does not have yet, and gets first of all.
        exits: whether this process is nmlab's own command: a second signal, or anything that hangs at the end, then
            ends it.
        resumed_as: what `nmlab resume` is given to find the launch; empty for its name.
    """

    plan: LaunchPlan
    launch: Launch
    tracking_uri: str
    load: Load | None
    address: str | None = None
    max_failures: int = 3
    watch: Callable[[Snapshot], None] = lambda snapshot: None
    take_over: bool = False
    extends: bool = False
    exits: bool = False
    resumed_as: str = ""

    def run(self) -> LaunchEnding:
        """Run the trials that have not ended, and return how the launch ended.

        Ctrl-C stops trials at their next step, with a checkpoint each, and ends the launch as stopped. Raises
        ``SweepError`` if no replica is left or records cannot be kept, and ``OwnedError`` if another process owns the
        launch.
        """
        stop = StopRequests(resume=f"nmlab resume {self.resumed_as or self.launch.name}", exits=self.exits)
        with owned(self.launch.folder, take_over=self.take_over) as ownership, stop.shutdown:
            self._settle_version()
            self.launch.change_settings(tracking_uri=self.tracking_uri, address=recorded_address(self.address))
            opened = open_launch(self.plan, self.launch, tracking_uri=self.tracking_uri)
            keeper = RecordKeeper(opened, ownership=ownership, gives_up=stop.is_interrupted, watch=self.watch)
            try:
                with _tidied(self.launch):
                    keeper.keep([_launch_began(opened)])
                    keeper.publish(force=True)
                    if opened.has_trials_left:
                        self._run_trials(opened, keeper=keeper, stop=stop)
            finally:
                result = close_launch(opened, keeper=keeper, is_interrupted=stop.is_interrupted())
            return result

    def _settle_version(self) -> None:
        """Give the launch the version of the study that this process runs.

        Raises ``ValueError`` if another process has extended the launch since this one planned it.
        """
        if len(self.launch.versions()) != len(self.plan.earlier) + (not self.extends):
            raise ValueError(f"launch {self.launch.name} was extended meanwhile; give the command again")
        if self.extends:
            self.launch.extend(self.plan.study)

    def _run_trials(self, opened: OpenLaunch, *, keeper: RecordKeeper, stop: StopRequests) -> None:
        """Start or join the cluster, and run the trials there; what an interruption leaves is recorded as it is."""
        assert self.load is not None, "trials are left to run"
        with suppress(KeyboardInterrupt), self._cluster(stop), expected_proof(self.launch.folder) as proof:
            from nmlab.platform.driver.run_trials import run_trials

            run_trials(
                opened,
                keeper=keeper,
                stop=stop,
                load=self.load,
                max_failures=self.max_failures,
                stays_up=self.address is not None,
                proof=proof,
            )

    @contextmanager
    def _cluster(self, stop: StopRequests) -> Iterator[None]:
        """Start or join the cluster until the block ends, and watch its head meanwhile."""
        with cluster(self.address, cpus=_local_cpus(self.plan.study)):
            stop.shutdown.listen()
            watch = watch_head(stop.lose_head)
            try:
                yield
            finally:
                watch.stop()


def run_launch(
    ready: ReadyLaunch, *, watch: Callable[[Snapshot], None], exits: bool = False, resumed_as: str = ""
) -> LaunchEnding:
    """Run a launch that is ready; the other arguments, what is returned and raised are as for `Sweep`.

    What Ray prints on the standard output meanwhile goes to ``ray.log`` in the launch's folder.
    """
    sweep = Sweep(
        ready.plan,
        ready.launch,
        tracking_uri=ready.tracking_uri,
        load=ready.load,
        address=ready.address,
        max_failures=ready.max_failures,
        watch=watch,
        take_over=ready.take_over,
        extends=ready.extends,
        exits=exits,
        resumed_as=resumed_as,
    )
    # Ray reports lost workers there, whatever its settings say.
    with (ready.launch.folder / "ray.log").open("a", encoding="utf-8") as noise, redirect_stdout(noise):
        return sweep.run()


@contextmanager
def _tidied(launch: Launch) -> Iterator[None]:
    """Remove what killed processes of a launch did not finish, once this one runs none any more."""
    try:
        yield
    finally:
        launch.tidy()


def _launch_began(opened: OpenLaunch) -> LaunchBegan:
    study = opened.plan.study
    reproduces = {run_tags.REPRODUCES: ",".join(items)} if (items := study.reproduces) else {}
    fresh = opened.state.confirmation.seeds
    confirmed = {run_tags.CONFIRMATION_SEEDS: ",".join(map(str, fresh))} if fresh else {}
    extended = extension_tags(opened.plan, opened.launch.versions())
    began = {**extended, **warm_start_tags(opened.warm)}
    tags = {**opened.tags, run_tags.PLANNED: str(opened.state.trials_in_all), **reproduces, **confirmed, **began}
    return LaunchBegan(tags=tags, params=flat_study(study))


def _local_cpus(study: Study) -> float:
    cpus = study.replica.resources.cpus
    return study.replica.count * study.replica.pipeline_stages * (1.0 if cpus is None else cpus)
