"""One side of a comparison: a configuration's learned masks, or the initial masks they started from."""

import math
from dataclasses import dataclass

from nmlab.reports.analysis.configurations import Configuration
from nmlab.trials.contract.metrics import initial_name


@dataclass(frozen=True)
class Side:
    """A configuration, or with ``is_initial`` its own initial masks."""

    item: Configuration
    is_initial: bool = False

    def values(self, metric: str) -> dict[int, float]:
        """Return a metric by seed over the finished runs, leaving out what is missing or not finite."""
        rows, column = self.item.finished, initial_name(metric) if self.is_initial else metric
        if column not in rows:
            return {}
        pairs = zip(rows["seed"], rows[column], strict=True)
        return {_seed(seed): float(value) for seed, value in pairs if math.isfinite(value)}

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
        return tuple(self.item.finished["run_id"])


def _seed(value: object) -> int:
    """Return a seed; a method without seeds has the seed 0."""
    return int(value) if isinstance(value, int | float) and not math.isnan(value) else 0
