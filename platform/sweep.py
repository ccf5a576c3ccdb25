"""Runs a launch on a Ray cluster: starts replicas, dispatcher and Tune, and takes their records to the journal."""

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from nmlab.platform.cluster.head_watch import watch_head
from nmlab.platform.cluster.proof import expected_proof
from nmlab.platform.cluster.session import cluster
from nmlab.platform.dispatch.driver_loop import FINAL_RECORDS_S, DriverLoop
from nmlab.platform.dispatch.received import ReceivedRecords
from nmlab.platform.failures import reason_line
from nmlab.platform.launches.endings import (
    HeadLostError,
    RefusedError,
    SweepError,
    SweepResult,
    flat_study,
    not_run,
)
from nmlab.platform.launches.journal import Journal, ended_trials, evaluations
from nmlab.platform.launches.launch import Launch
from nmlab.platform.launches.node_trouble import NodeTrouble, why_unreadable
from nmlab.platform.launches.ownership import OwnershipLostError, owned
from nmlab.platform.launches.progress import StatusFile
from nmlab.platform.launches.record_completion import RecordCompletion
from nmlab.platform.launches.state import LaunchState
from nmlab.platform.planning.admission import Load
from nmlab.platform.planning.planned_stopping import early_stopping
from nmlab.platform.planning.study_plan import Plan
from nmlab.platform.process.leaving import Leaving
from nmlab.platform.records import events
from nmlab.platform.search.strategies import strategy_of
from nmlab.platform.tracking import GRACE_S, MlflowStore, Recorder, UndeliveredError
from nmlab.platform.tracking.provenance import environment, facts_tags, provenance
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.contract import run_tags
from nmlab.trials.contract.run_status import LaunchStatus, TrialStatus
from nmlab.trials.files.disk import DiskFullError, is_disk_full, once_there_is_room

__all__ = ["HeadLostError", "RefusedError", "Sweep", "SweepError", "SweepResult"]

_STOP_S, _TIDY_S = 30.0, 4.0
_INTERRUPTED_GRACE_S = 2.0
_SAVE_S, _SILENT_S, _LET_GO_S = 4.0, 2.0, 1.5
"""Once this process is to end: how long it waits for replicas in any case, after how long without a message they count
as hanging, and how long it waits for anything else."""


@dataclass
class Sweep:
    """One process of a launch: runs the trials of a study that have not ended yet.

    Attributes:
        plan: the study with its baselines and what was found out about model and texts.
        launch: the folder of the launch.
        tracking_uri: of MLflow.
        address: of the Ray cluster to join; None starts one in this process.
        max_failures: how often a trial may lose its replica, a replica its worker, and a trial its actor (at least 3).
        watch: is called with a snapshot of the launch, to show progress.
        take_over: whether to take the launch from an owner whose machine is gone.
    """

    plan: Plan
    launch: Launch
    tracking_uri: str
    load: Load | None
    """What a replica needs on its device; None if every trial has ended and no replica is needed."""
    address: str | None = None
    max_failures: int = 3
    watch: Callable[[dict[str, Any]], None] = lambda snapshot: None
    take_over: bool = False
    exits: bool = False
    """Whether this process is nmlab's own command: a second signal, or anything that hangs at the end, then ends it."""
    resumed_as: str = ""
    """What `nmlab resume` is given to find the launch; empty for its name."""
    _head_lost: str = field(default="", init=False)
    _saved_until: float = field(default=math.inf, init=False)
    _interrupted: bool = field(default=False, init=False)
    _driver_loop: DriverLoop | None = field(default=None, init=False)
    _disk_trouble: str = field(default="", init=False)
    _refusals: dict[str, str] = field(default_factory=dict, init=False)
    _nodes: NodeTrouble = field(default_factory=NodeTrouble, init=False)

    def run(self) -> SweepResult:
        """Run the trials that have not ended, and return how the launch ended.

        Ctrl-C stops trials at their next step, with a checkpoint each, and ends the launch as stopped. Raises
        ``SweepError`` if no replica is left or records cannot be kept, and ``OwnedError`` if another process owns the
        launch.
        """
        self._leaving = Leaving(
            self._asked_to_stop, is_saving=self._is_saving, resume=self._resume_command, exits=self.exits
        )
        with owned(self.launch.folder, take_over=self.take_over) as self._ownership, self._leaving:
            return self._run_owned()

    @property
    def _resume_command(self) -> str:
        return f"nmlab resume {self.resumed_as or self.launch.name}"

    def _run_owned(self) -> SweepResult:
        study = self.plan.study
        self.launch.change_settings(tracking_uri=self.tracking_uri, address=self.address)
        store = MlflowStore(study.name, launch=self.launch.name, uri=self.tracking_uri)
        self._journal = Journal(self.launch)
        ended = ended_trials(self._journal.read())
        self._state = self._new_state()
        self._state.recall(self._journal.read(), over=ended)
        self._stopping = early_stopping(self.plan)
        self._stopping.follow(self._journal.read())
        self._completion = RecordCompletion(
            self.launch, stopped_early=self._stopping.reasons, text_notes=self.plan.facts.text_notes
        )
        self._completion.recall(self._journal.read())
        self._status = StatusFile(self.launch.status_file)
        self.launch.environment_file.write_text(json.dumps(environment(), indent=2) + "\n", encoding="utf-8")
        baselines = [spec.key for spec in self.plan.baselines]
        self._recorder = Recorder(
            self.launch, journal=self._journal, store=store, baselines=baselines, tags=self._common_tags()
        )
        with ExitStack() as stack:
            stack.callback(self._close)
            stack.callback(self.launch.tidy)
            self._keep([events.LaunchBegan(tags=self._parent_tags(), params=flat_study(study))])
            self._publish(force=True)
            if len(ended) < self.plan.trials:
                stack.enter_context(suppress(KeyboardInterrupt))  # what was recorded is returned below
                stack.enter_context(cluster(self.address, cpus=_local_cpus(study)))
                self._leaving.listen()
                stack.callback(watch_head(self._head_is_lost).stop)
                self._fit(ended, *stack.enter_context(expected_proof(self.launch.folder)))
        return self._result

    def _fit(self, ended: dict[str, Any], nonce: Path, expected: dict[str, Any]) -> None:
        """Start dispatcher, coordinator and replicas, and run Tune; the model loads while Tune starts actors."""
        from nmlab.platform.dispatch.dispatcher import start_dispatcher
        from nmlab.platform.mask_parallel.coordinator import start_coordinator
        from nmlab.platform.replicas.replica import start_replicas
        from nmlab.platform.tuning.tune import TuneWatch, tune_trials

        assert self.load is not None, "trials are left to run"
        dispatcher = start_dispatcher(self.launch.name, max_failures=self.max_failures, expected=expected)
        coordinator = start_coordinator(self.launch.name, size=self.plan.study.replica.participants)
        self._watch = TuneWatch(self._check, self._actor_lost)
        self._replicas = start_replicas(
            self.plan.study,
            dispatcher=dispatcher.name,
            folder=self.launch.folder,
            max_failures=self.max_failures,
            load=self.load,
            nonce=nonce,
            mask_parallel=coordinator.settings if coordinator else None,
            lost=self._run_lost,
        )
        try:
            self._driver_loop = DriverLoop(
                dispatcher,
                accept=self._accept,
                look=self._look,
                unwanted=self._unwanted,
                unreadable=partial(why_unreadable, launch=self.launch),
            )
            tune_trials(
                self.plan,
                strategy_of(self.plan.study, journal=self.launch.optuna_journal),
                dispatcher=dispatcher.name,
                ended=ended,
                evaluated=evaluations(self._journal.read(), metric=self.plan.study.search.metrics[0]),
                stopped=self._stopping.reasons,
                folder=self.launch.folder,
                watch=self._watch,
                max_failures=max(3, self.max_failures),
            )
        finally:
            self._leaving.wind_down()
            self._watch.is_over = True
            try:
                if self._driver_loop is not None:
                    self._stop_and_save(self._driver_loop)
            finally:
                self._replicas.call_off(**({"within": _LET_GO_S} if self._is_leaving else {}))

    @property
    def _is_leaving(self) -> bool:
        return self._leaving.began is not None

    def _check(self) -> None:
        """Raise if no replica is left or records cannot be kept; called by Tune between its events."""
        if self._head_lost:
            raise HeadLostError(self._head_lost)
        self._check_records()
        if not self._replicas.alive:
            if self._refusals:
                raise RefusedError("; ".join(self._refusals.values()))
            reasons = "; ".join(f"{name}: {reason_line(error)}" for name, error in self._replicas.errors.items())
            raise SweepError(f"no replica is left to run trials ({reasons or 'all ended'})")

    def _check_records(self) -> None:
        if self._driver_loop is not None and self._driver_loop.error is not None:
            error = self._driver_loop.error
            raise SweepError(f"records can no longer be kept: {reason_line(error)}") from error

    def _asked_to_stop(self) -> None:
        """Note the interruption before Tune stops its trials: what stops from now on was not stopped by the search."""
        self._interrupted = True

    def _is_saving(self) -> bool:
        """Return whether replicas still send messages, while trials save themselves or weights are checked."""
        driver_loop = self._driver_loop
        return (
            driver_loop is not None
            and not self._head_lost
            and bool(driver_loop.received.replicas)
            and driver_loop.error is None
            and driver_loop.silent_seconds < _SILENT_S
            and time.monotonic() < self._saved_until
        )

    def _head_is_lost(self, reason: str) -> None:
        """End the launch because the cluster's head is lost; called by the thread that watches it."""
        message = f"{reason}; nothing that is recorded is lost, go on with: {self._resume_command}"
        self._head_lost = message
        self._leaving.begin(message, within=_LET_GO_S)

    def _unwanted(self) -> tuple[str, ...]:
        """Return the trials to stop: those stopped early, and once Tune has ended, all that have not."""
        unended = self._driver_loop.received.unended() if self._watch.is_over and self._driver_loop is not None else ()
        return (*tuple(self._stopping.reasons), *unended)

    def _actor_lost(self, key: str, error: str) -> None:
        """Record that a trial's actor died; called by Tune, which starts another for the same trial."""
        self._keep([events.TrialActorLost(key=key, error=error)])

    def _run_lost(self, name: str, error: str) -> None:
        """Record that a replica's Train run ended with an error; called by the thread that watches the run."""
        self._keep([events.TrainRunLost(host=name, error=error)])

    def _stop_and_save(self, driver_loop: DriverLoop) -> None:
        """Let running trials write checkpoints and replicas check their weights, and take the last records."""
        self._state.phase = LaunchStatus.STOPPING
        self._replicas.stop()
        deadline = self._saved_until = time.monotonic() + _STOP_S
        while not self._is_leaving and driver_loop.received.unended() and time.monotonic() < deadline:
            if driver_loop.error is not None or not self._replicas.alive:
                break
            time.sleep(0.05)
        if driver_loop.error is None:
            self._end_replicas(driver_loop, until=max(deadline, time.monotonic() + 1.0))
        within = _LET_GO_S if self._is_leaving else FINAL_RECORDS_S
        if not driver_loop.finish(within=within) and not self._is_leaving:
            raise SweepError(f"the last records of the replicas have not arrived within {within:g} s")
        self._check_records()
        self._accept([not_run(key) for key in driver_loop.received.unended()])

    def _end_replicas(self, driver_loop: DriverLoop, *, until: float) -> None:
        """End the replicas, and wait while they check their weights.

        On a cluster that stays, their Train runs also remove what they started, which takes a second, and 12 seconds
        without a dashboard, for which nothing needs to wait.
        """
        up = list(driver_loop.received.replicas)
        driver_loop.stop_replicas()
        while (
            driver_loop.received.replicas
            and driver_loop.error is None
            and self._replicas.alive
            and self._may_wait(until)
        ):
            time.sleep(0.05)
        if self.address is not None:
            self._replicas.join(up, timeout=1.0 if self._is_leaving else _TIDY_S)

    def _may_wait(self, until: float) -> bool:
        """Return whether to wait for replicas; once this process is to end, not long for silent ones."""
        now, began = time.monotonic(), self._leaving.began
        return now < until and (began is None or now - began < _SAVE_S or self._is_saving())

    def _look(self) -> None:
        """Publish the state; once interrupted, end the replicas, while Tune still stops. Called by the driver loop."""
        if self._interrupted and self._driver_loop is not None:
            self._driver_loop.stop_replicas()
        self._publish()

    def _accept(self, records: Sequence[events.JournalRecord]) -> None:
        """Accept new records of the dispatcher; they are in the journal when this returns."""
        for record in records:
            if isinstance(record, events.ReplicaStarted):
                self._replicas.came_up(record.host)
            elif isinstance(record, events.ReplicaRefused):
                self._refusals[record.host] = record.reason
                self._replicas.refused(record.host, record.reason, filter(None, record.nodes or ()))
        located = [self._nodes.note(record, replicas=self._state.replicas) for record in records]
        records = self._completion.complete(located)
        self._keep(records)
        self._state.update(records)
        self._stopping.follow(records)

    def _keep(self, records: Sequence[events.JournalRecord]) -> None:
        """Write records into the journal; on a full disk wait for room, until the launch is interrupted."""

        def write() -> None:
            self._ownership.check()
            try:
                self._recorder.record(records)
                self._disk_trouble = ""
            except OSError as error:
                if is_disk_full(error):
                    self._disk_trouble = f"{self.launch.folder}: {error.strerror}; waiting for room"
                    self._publish()
                raise

        once_there_is_room(write, given_up=lambda: self._interrupted)

    def _publish(self, *, force: bool = False) -> None:
        self._state.trouble = self._trouble()
        snapshot = self._state.snapshot()
        self._status.write(snapshot, force=force)
        self.watch(snapshot)

    def _trouble(self) -> dict[str, str]:
        mlflow = self._recorder.trouble
        behind = f"MLflow takes nothing ({mlflow}); {self._recorder.waiting_bytes} bytes wait in the journal"
        lines = {"disk": self._disk_trouble, "mlflow": behind if mlflow else ""}
        return {source: line for source, line in (lines | self._nodes.lines).items() if line}

    def _close(self) -> None:
        """Record how the launch ended, in any case, so that no MLflow run is left running."""
        received = self._driver_loop.received if self._driver_loop is not None else ReceivedRecords()
        status, undelivered = self._final_status(), ""
        frozen, loads = self._state.frozen_weights, received.loads.total()
        tags: dict[str, str] = {run_tags.FROZEN_WEIGHTS: frozen}
        if loads:  # a resumed launch without trials to run has loaded no model
            tags |= {run_tags.MODEL_LOADS: str(loads), **self._digest_tag()}
        ended = events.LaunchEnded(status=status, time=int(time.time() * 1000), tags=tags)
        try:
            self._keep([ended])
            self._recorder.close(grace=_INTERRUPTED_GRACE_S if self._interrupted else GRACE_S)
        except (UndeliveredError, DiskFullError, OwnershipLostError) as error:
            undelivered = str(error)
        self._state.phase = status
        self._publish(force=True)
        self._journal.close()
        counts = dict(self._state.counts())
        seconds = time.time() - self._state.started
        self._result = SweepResult(
            status, counts, loads, frozen, seconds, self._interrupted, undelivered, dict(self._recorder.refused)
        )

    def _final_status(self) -> LaunchStatus:
        if self._state.ended >= self.plan.trials:
            return LaunchStatus.FINISHED
        limit = self.plan.study.budget.time_limit_seconds
        out_of_time = limit is not None and time.time() - self._state.started >= limit
        was_stopped = self._interrupted or out_of_time or self._state.counts()[TrialStatus.STOPPED]
        return LaunchStatus.STOPPED if was_stopped else LaunchStatus.FAILED

    def _new_state(self) -> LaunchState:
        study = self.plan.study
        metric, mode = study.search.metrics[0], study.search.modes[0]
        seeds = Counter(spec.configuration for spec in self.plan.baselines)
        return LaunchState(
            study.name,
            self.launch.name,
            self.plan.trials,
            metric,
            mode,
            searched=study.searched,
            seeds=len(study.seeds),
            baselines={spec.key: seeds[spec.configuration] for spec in self.plan.baselines},
        )

    def _common_tags(self) -> dict[str, str]:
        return {**provenance(), **facts_tags(self.plan.facts)}

    def _parent_tags(self) -> dict[str, str]:
        reproduces = {run_tags.REPRODUCES: ",".join(items)} if (items := self.plan.study.reproduces) else {}
        return {**self._common_tags(), run_tags.PLANNED: str(self.plan.trials), **reproduces}

    def _digest_tag(self) -> dict[str, str]:
        digests = {replica["model_digest"] for replica in self._state.replicas.values() if replica["model_digest"]}
        return {run_tags.MODEL_DIGEST: ",".join(sorted(digests))} if digests else {}


def _local_cpus(study: Study) -> float:
    cpus = study.replica.resources.cpus
    return study.replica.count * study.replica.shards * (1.0 if cpus is None else cpus)
