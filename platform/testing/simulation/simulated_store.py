"""A stand-in for the MLflow store of a launch: in memory, and at times out of reach.

It outlives the drivers of its launch, and keeps what it is given once, as ``MlflowStore`` does.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from nmlab.platform.launches.journal import has_ended_for_good
from nmlab.platform.records.payloads import Point, ResultRecord
from nmlab.platform.tracking.store import Recorded
from nmlab.trials.contract import run_tags
from nmlab.trials.contract.run_status import TrialStatus


@dataclass
class SimulatedRun:
    """The run of one trial: how it stands, why it was run, and its points."""

    status: str = TrialStatus.RUNNING
    resumable: bool = False
    role: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    points: dict[tuple[str, int], float] = field(default_factory=dict)


@dataclass
class SimulatedStore:
    """The runs of a launch, by trial key.

    Attributes:
        check: is called first by every call; raises if the caller has been killed, or the store is out of reach.
        status: how the launch ended; "" while it has not.
        tags: of the run of the launch.
        params: of the run of the launch, as the newest driver gave them.
        contradictions: points that came again with another value.
    """

    check: Callable[[], None] = lambda: None
    runs: dict[str, SimulatedRun] = field(default_factory=dict)
    parent: str = ""
    status: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, object] = field(default_factory=dict)
    contradictions: list[tuple[str, str, int]] = field(default_factory=list)

    @property
    def keys(self) -> set[str]:
        """The keys of all trials that have a run."""
        return set(self.runs)

    def recall(self) -> None:
        """See ``MlflowStore.recall``."""
        self.check()

    def works(self) -> bool:
        """See ``MlflowStore.works``."""
        return True

    def begin(self, tags: Mapping[str, str], params: Mapping[str, object]) -> None:
        """See ``MlflowStore.begin``."""
        self.check()
        kept = {name: text for name, text in self.tags.items() if name not in run_tags.OF_THE_NEWEST}
        self.tags = {**kept, **tags}
        self.params = dict(params)
        self.parent, self.status = "parent", ""

    def settle_confirmation(self, keys: Set[str]) -> None:
        """See ``MlflowStore.settle_confirmation``."""
        self.check()
        for key in keys & self.runs.keys():
            self.runs[key].tags.pop(run_tags.CONFIRMATION, None)

    def begin_trial(self, spec: Recorded, *, role: str, tags: Mapping[str, str], words: str = "") -> None:
        """See ``MlflowStore.begin_trial``."""
        self.check()
        run = self.runs.setdefault(spec.key, SimulatedRun(role=role, tags=dict(tags)))
        if not has_ended_for_good(run.status, is_resumable=run.resumable):
            run.status, run.resumable = TrialStatus.RUNNING, False

    def log_points(self, key: str, points: Sequence[Point]) -> None:
        """See ``MlflowStore.log_points``; a value that differs from the one that is there is noted."""
        self.check()
        kept = self.runs[key].points
        for point in points:
            for name, value in point["values"].items():
                if kept.setdefault((name, point["step"]), value) != value:
                    self.contradictions.append((key, name, point["step"]))

    def end_trial(self, result: ResultRecord, *, folder: Path, objective: float | None = None) -> None:
        """See ``MlflowStore.end_trial``."""
        self.check()
        run, status = self.runs[result["key"]], result["status"]
        run.status, run.resumable = status, bool(result.get("resumable"))

    def keep_initial_mask(self, digest: str, **record: object) -> None:
        """See ``MlflowStore.keep_initial_mask``."""

    def tag_parent(self, tags: Mapping[str, str]) -> None:
        """See ``MlflowStore.tag_parent``."""
        self.check()
        self.tags |= tags

    def attach(self, path: Path, *, folder: str | None = None) -> None:
        """See ``MlflowStore.attach``."""
        self.check()

    def end(self, status: str, *, time: int) -> None:
        """See ``MlflowStore.end``."""
        self.check()
        self.status = status
