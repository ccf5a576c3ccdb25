"""One side of a comparison: a configuration's learned masks, or the initial masks they started from."""

import math
from collections.abc import Hashable
from dataclasses import dataclass

from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.statistics import MeanEstimate
from nmlab.trials.contract.metrics import EVAL, initial_name


@dataclass(frozen=True)
class Side:
    """A configuration, or with ``is_initial`` its own initial masks."""

    item: Configuration
    is_initial: bool = False

    def column(self, metric: str) -> str | None:
        """Return the name under which the runs hold a metric of these masks.

        None for a metric of the evaluation text where initial masks were measured on validation text.
        """
        if not self.is_initial:
            return metric
        return None if self.item.is_validated and metric.startswith(EVAL) else initial_name(metric)

    def estimate(self, metric: str) -> MeanEstimate | None:
        """Return the mean of a metric over the finished runs; None where it has no finite mean."""
        column = self.column(metric)
        return None if column is None else self.item.estimate(column)

    def values(self, metric: str) -> dict[int, float]:
        """Return a metric by seed over the finished runs, leaving out what is missing or not finite."""
        column = self.column(metric)
        found = ((trial.paired_by, trial.metric(column)) for trial in self.item.finished) if column else ()
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

    def runs_with(self, metric: str) -> tuple[str, ...]:
        """Return the finished runs that have a value of a metric of these masks."""
        column = self.column(metric)
        return self.item.runs_with(column) if column else ()

    @property
    def identity(self) -> tuple[str | bool, ...]:
        """What tells this side from every other, of other studies too, where keys of configurations repeat."""
        return (*self.item.run_ids, self.is_initial)


@dataclass(frozen=True)
class Competitor:
    """A side and the group in which it competes for the best mean; None where it does not compete."""

    side: Side
    group: Hashable | None
