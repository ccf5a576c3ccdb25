"""One side of a comparison: a configuration's learned masks, or the initial masks they started from."""

import math
from collections.abc import Hashable
from dataclasses import dataclass

from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.statistics import MeanEstimate
from nmlab.trials.contract.metrics import initial_name


@dataclass(frozen=True)
class Side:
    """A configuration, or with ``is_initial`` its own initial masks."""

    item: Configuration
    is_initial: bool = False

    def column(self, metric: str) -> str:
        """Return the name under which the runs hold a metric of these masks."""
        return initial_name(metric) if self.is_initial else metric

    def estimate(self, metric: str) -> MeanEstimate | None:
        """Return the mean of a metric over the finished runs; None where it has no finite mean."""
        return self.item.estimate(self.column(metric))

    def values(self, metric: str) -> dict[int, float]:
        """Return a metric by seed over the finished runs, leaving out what is missing or not finite."""
        column = self.column(metric)
        found = ((trial.paired_by, trial.metric(column)) for trial in self.item.finished)
        return {seed: value for seed, value in found if math.isfinite(value)}

    @property
    def has_training_noise(self) -> bool:
        """Whether results vary between seeds, as far as is known; false where several seeds gave the same value.

        Seeds with equal values have no spread, so a t-test over them would find any difference significant.
        """
        ends = self.values(self.item.objective.metric)
        if self.is_initial or len(ends) > 1:
            return len(set(ends.values())) > 1
        return self.item.depends_on_seed

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The finished runs behind the values."""
        return tuple(trial.run_id for trial in self.item.finished)

    @property
    def identity(self) -> tuple[str | bool, ...]:
        """What tells this side from every other, of other studies too, where keys of configurations repeat."""
        return (*self.item.run_ids, self.is_initial)


@dataclass(frozen=True)
class Competitor:
    """A side and the group in which it competes for the best mean; None where it does not compete."""

    side: Side
    group: Hashable | None
