"""The state of a launch at this moment, computed from the records of its journal.

Phase and trouble are set by the driver. The limits of the search, which the state keeps up to date, are also read by
the searcher, in Tune's thread.
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import assert_never, cast

from nmlab.platform.launches.confirming import ConfirmationState
from nmlab.platform.launches.snapshot import ConfirmationSnapshot, ReplicaSnapshot, Snapshot
from nmlab.platform.launches.standings import Entrant, Standing, plain, standings
from nmlab.platform.launches.time_left import StepPace, TimeLeft, time_left
from nmlab.platform.launches.trial_line import TrialLine
from nmlab.platform.records.events import (
    ConfirmationChosen,
    GroupRecord,
    JournalRecord,
    LaunchBegan,
    LaunchEnded,
    ReplicaLeft,
    ReplicaLost,
    ReplicaRefused,
    ReplicaStarted,
    ResultRefused,
    TrainRunLost,
    TrialActorLost,
    TrialEnded,
    TrialLeased,
    TrialMetrics,
    TrialSubmitted,
    UnknownRecord,
    WarmStarted,
    WeightsChecked,
)
from nmlab.platform.records.payloads import SpecRecord
from nmlab.platform.search.later_seeds import LaterSeeds
from nmlab.platform.search.search_limits import SearchLimits
from nmlab.search_spaces.schema.constraints import Constraint
from nmlab.trials.contract.metrics import initial_name
from nmlab.trials.contract.run_params import CALIBRATION_SAMPLES as SAMPLES
from nmlab.trials.contract.run_status import LaunchStatus, TrialStatus
from nmlab.trials.contract.run_tags import FrozenWeights, Role
from nmlab.trials.contract.trial_spec import without_later_defaults


@dataclass
class LaunchState:
    """The counts, trials and replicas of a launch."""

    study: str
    launch: str
    search_trials: int
    """Trials of the search and its baselines; `trials_in_all` counts those of the confirmation too."""
    metric: str
    mode: str = "min"
    searched: tuple[str, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    """The constraints of the search."""
    seeds: int = 1
    """Seeds of every configuration of the search."""
    baselines: Mapping[str, int] = field(default_factory=dict)
    """Trial key of each baseline -> number of seeds of its configuration."""
    confirmation: ConfirmationState = field(default_factory=ConfirmationState)
    later: LaterSeeds = field(default_factory=LaterSeeds.none)
    """Follows the trials with seeds that were added to the study."""
    search_limits: SearchLimits | None = None
    """Follows what ends the search before it has tried everything; None where nothing does."""
    started: float = field(default_factory=time.time)
    at_work_since: float | None = None
    """When this process gave the first trial to a replica."""
    loads: int = 0
    """How often a replica loaded the model, in all processes of this launch."""
    trials: dict[str, TrialLine] = field(default_factory=dict)
    replicas: dict[str, ReplicaSnapshot] = field(default_factory=dict)
    phase: LaunchStatus = LaunchStatus.STARTING
    trouble: dict[str, str] = field(default_factory=dict)
    """Why records do not reach a place (the store, the disk, a node): place -> one line."""
    unchanged: bool | None = None
    """Whether every replica that checked its frozen weights found them unchanged; None before the first check."""

    def recall(self, records: Iterable[JournalRecord], *, ended_for_good: Container[str]) -> None:
        """Handle the records of earlier processes of this launch; those not in ``ended_for_good`` run again."""
        self.update(records)
        self.replicas, self.phase = {}, LaunchStatus.STARTING
        for key, line in self.trials.items():
            line.ended = key in ended_for_good
            line.status = line.status if line.ended else TrialStatus.WAITING
            line.earlier_step, line.is_earlier = line.step, line.ended
            line.pace = StepPace()
        self.at_work_since = None

    def update(self, records: Iterable[JournalRecord]) -> None:
        """Handle records in order."""
        beside_points = []  # points are most of a journal
        for record in records:
            if self._is_known(record):
                self._handle(record)
                self.later.follow([record])
                if not isinstance(record, TrialMetrics):
                    beside_points.append(record)
        if self.search_limits is not None:
            self.search_limits.follow(beside_points)

    def _is_known(self, record: JournalRecord) -> bool:
        """Return whether the trial or replica of a record is known; a user may have removed a damaged journal line."""
        match record:
            case TrialLeased() | TrialMetrics() | TrialEnded() | ResultRefused():
                return record.key in self.trials
            case ReplicaLost() | ReplicaLeft():
                return record.host in self.replicas
            case _:
                return True

    def _handle(self, record: JournalRecord) -> None:
        match record:
            case TrialSubmitted():
                self._submitted(record)
            case TrialLeased():
                self._leased(record)
            case TrialMetrics():
                self._metrics(record)
            case TrialEnded():
                self._ended(record)
            case ResultRefused():
                self.trials[record.key].status = TrialStatus.WAITING
            case ReplicaStarted():
                self._started(record)
            case ReplicaLost():
                self._lost(record)
            case ReplicaLeft():
                self.replicas[record.host]["state"] = "done"
            case ReplicaRefused():
                self.replicas[record.host] = {
                    "loads": 0,
                    "slots": 0,
                    "model_digest": "",
                    "reason": record.reason,
                    "state": "refused",
                }
            case ConfirmationChosen():
                self.confirmation.choose(record)
            case WeightsChecked():
                self.unchanged = self.unchanged is not False and record.unchanged
            case TrialActorLost() | TrainRunLost() | GroupRecord() | UnknownRecord():
                pass
            case WarmStarted() | LaunchBegan() | LaunchEnded():
                pass
            case _ as never:
                assert_never(never)

    @property
    def frozen_weights(self) -> FrozenWeights:
        """What the replicas found: unverified if every one was killed before it could check."""
        found = {True: FrozenWeights.VERIFIED, False: FrozenWeights.MISMATCH, None: FrozenWeights.UNVERIFIED}
        return found[self.unchanged]

    @property
    def trials_in_all(self) -> int:
        """The number of planned trials; ``planned`` in ``status.json`` and MLflow.

        It falls when the search is confirmed by fewer than were planned, and by the trials that are left out.
        """
        return self.search_trials + self.confirmation.expected_trials - self.withheld

    @property
    def withheld(self) -> int:
        """The number of trials that are left out.

        They are those with added seeds of each configuration that ends and is not complete, and those of configurations
        that a search which has stopped does not propose.
        """
        not_proposed = 0 if self.search_limits is None else self.search_limits.withheld
        return self.later.withheld + not_proposed

    @property
    def search_stopped(self) -> str:
        """Why the search stopped before it had tried everything, in one line; "" if it did not."""
        return "" if self.search_limits is None else self.search_limits.line

    @property
    def nothing_left_to_run(self) -> bool:
        """Whether no trial is left to run."""
        return self.ended >= self.trials_in_all and (self.confirmation.is_settled or not self.confirmation.is_asked)

    @property
    def ended(self) -> int:
        """The number of trials that need no more work, those of earlier processes of this launch included."""
        return sum(line.ended for line in self.trials.values())

    def counts(self) -> Counter[str]:
        """Return the number of trials by status."""
        return Counter(line.status for line in self.trials.values())

    def time_left(self) -> TimeLeft | None:
        """Return the time to go, from what trials took and take; None as long as nothing is measured."""
        elapsed = 0.0 if self.at_work_since is None else time.time() - self.at_work_since
        to_come = max(0, self.trials_in_all - len(self.trials))
        return time_left([line.work for line in self.trials.values()], to_come=to_come, elapsed=elapsed)

    def snapshot(self) -> Snapshot:
        """Return the whole state as plain JSON."""
        left = self.time_left()
        found: Snapshot = {
            "study": self.study,
            "launch": self.launch,
            "phase": self.phase,
            "metric": self.metric,
            "mode": self.mode,
            "planned": self.trials_in_all,
            "ended": self.ended,
            "counts": dict(self.counts()),
            "elapsed_seconds": round(time.time() - self.started, 1),
            "eta_seconds": None if left is None or left.unmeasured else left.seconds,
            "model_loads": self.loads,
            "trouble": self.trouble,
            "replicas": self.replicas,
            "best": [plain(standing) for standing in self.standings()],
            "trials": {key: line.snapshot() for key, line in self.trials.items()},
        }
        if left is not None and left.unmeasured:
            found["eta_at_least"] = {"seconds": left.seconds, "unmeasured": left.unmeasured}
        if (confirmation := self.confirmation_snapshot()) is not None:
            found["confirmation"] = confirmation
        if self.search_stopped:
            found["search_stopped"] = self.search_stopped
        return found

    def standings(self) -> list[Standing]:
        """Return the best configuration of each pattern, and the best baseline."""
        return standings(self._entrants(), mode=self.mode, metric=self.metric, constraints=self.constraints)

    def confirmation_snapshot(self) -> ConfirmationSnapshot | None:
        """Return how the confirmation stands; None where there is none."""
        if not self.confirmation.is_asked:
            return None
        return self.confirmation.snapshot([key for key, line in self.trials.items() if line.ended])

    def _submitted(self, record: TrialSubmitted) -> None:
        spec = record.spec
        own = without_later_defaults(spec["hyperparameters"], method=spec["method"])
        chosen = {name: value for name, value in own.items() if name in self.searched}
        if SAMPLES in self.searched:
            chosen = {"samples": spec["calibration"]["samples"], **chosen}
        settings = " ".join(f"{name}={_short(value)}" for name, value in chosen.items())
        label = f"{spec['method']} {spec['pattern']} {settings}".strip()
        steps = int(spec["hyperparameters"].get("steps", 0))
        line = TrialLine(
            label=label,
            seed=spec["seed"],
            steps=steps,
            configuration=_configuration(spec),
            pattern=spec["pattern"],
            method=spec["method"],
            settings={name: _short(value) for name, value in chosen.items()},
        )
        if record.key in self.baselines:
            line.role = "dense" if spec["method"] == "dense" else Role.BASELINE
        line.replicates = self.baselines.get(record.key, self.seeds)
        if (trial := self.confirmation.trial(record.key)) is not None:
            line.role, line.confirmation = trial.role, True
            line.configuration = _configuration(trial.first)
        self.trials.setdefault(record.key, line)

    def _entrants(self) -> list[Entrant]:
        return [
            Entrant(
                configuration=line.configuration,
                label=line.label,
                pattern=line.pattern,
                role=line.role,
                replicates=len(self.confirmation.seeds) if line.confirmation else line.replicates,
                value=line.perplexity if line.status == TrialStatus.FINISHED else None,
                is_confirmation=line.confirmation,
                ended=line.ended,
                limited=line.limited,
            )
            for line in self.trials.values()
        ]

    def _leased(self, record: TrialLeased) -> None:
        line = self.trials[record.key]
        line.status, line.host, line.pace = TrialStatus.RUNNING, record.host, StepPace()
        self.at_work_since = self.at_work_since or time.time()
        self.phase = LaunchStatus.RUNNING

    def _metrics(self, record: TrialMetrics) -> None:
        line, values = self.trials[record.key], record.values
        line.step = max(line.step, record.step)
        line.pace.follow(record.step, record.time)
        line.loss = values.get("train/loss", line.loss)
        line.initial = values.get(initial_name(self.metric), line.initial)
        if self.metric in values:
            line.perplexity = values[self.metric]
            # Journals of earlier versions record the evaluation of the start under the same name.
            line.initial = values[self.metric] if record.step == 0 and line.steps else line.initial

    def _ended(self, record: TrialEnded) -> None:
        self.confirmation.found.follow([record])
        line, result = self.trials[record.key], record.result
        line.status, line.reason, line.step = result["status"], result["reason"], result["step"]
        line.ended = not result.get("resumable", False)
        line.perplexity = result["metrics"].get(self.metric, line.perplexity)
        line.seconds = result["metrics"].get("cost/spent_seconds", result["metrics"].get("cost/seconds"))
        names = [constraint.metric for constraint in self.constraints]
        line.limited = {name: result["metrics"][name] for name in names if name in result["metrics"]}

    def _started(self, record: ReplicaStarted) -> None:
        facts = {name: value for name, value in record.to_json().items() if name not in ("event", "host")}
        self.replicas[record.host] = cast(ReplicaSnapshot, {**facts, "state": "ready"})
        self.loads += 1

    def _lost(self, record: ReplicaLost) -> None:
        self.replicas[record.host]["state"] = "lost"
        for line in self.trials.values():
            if line.host == record.host and line.status == TrialStatus.RUNNING:
                line.status = TrialStatus.WAITING


def _configuration(spec: SpecRecord) -> str:
    """Return a digest of the specification without its seed, the same for all seeds of one configuration."""
    own = {**spec, "hyperparameters": without_later_defaults(spec["hyperparameters"], method=spec["method"])}
    text = json.dumps({name: value for name, value in own.items() if name != "seed"}, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
