"""How many runs of a launch there are, by how they ended: the completeness of its evidence."""

from dataclasses import dataclass

from nmlab.reports.read.collect import StudyRuns
from nmlab.trials.contract.run_status import UNFINISHED, WITH_ERROR, TrialStatus


@dataclass(frozen=True, slots=True)
class RunCounts:
    """The runs of a launch; ``planned`` is None where that was not recorded, ``fresh`` are those on fresh seeds."""

    planned: int | None
    recorded: int
    finished: int
    diverged: int
    failed: int
    stopped_early: int
    unfinished: int
    fresh: int
    external_models: int

    @property
    def whole(self) -> int:
        """All runs that there should be."""
        return self.recorded if self.planned is None else max(self.planned, self.recorded)

    @property
    def by_outcome(self) -> dict[str, int]:
        """The recorded runs by how they ended, in words; what does not occur is left out, ``finished`` apart."""
        counts = {
            "finished": self.finished,
            "diverged": self.diverged,
            "failed": self.failed,
            "stopped early": self.stopped_early,
            "unfinished": self.unfinished,
        }
        return {name: count for name, count in counts.items() if count or name == "finished"}

    @property
    def ended(self) -> int:
        """The runs that ended as the study provides: finished, diverged, or stopped by the search."""
        return self.finished + self.diverged + self.stopped_early


def run_counts(runs: StudyRuns) -> RunCounts:
    """Count the runs of a launch."""
    return RunCounts(
        planned=runs.launch.planned_runs,
        recorded=runs.recorded,
        finished=runs.count(TrialStatus.FINISHED),
        diverged=runs.count(TrialStatus.DIVERGED),
        failed=sum(runs.count(status) for status in WITH_ERROR),
        stopped_early=runs.pruned,
        unfinished=sum(runs.count(status) for status in UNFINISHED) - runs.pruned,
        fresh=sum(trial.is_confirmation for trial in runs.trials),
        external_models=runs.external_models,
    )
