"""One side of a contrast: a configuration's learned masks, or the initial masks they started from."""

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
        """Whether another seed could have ended elsewhere, as far as is known: not where several ended alike.

        Seeds whose masks stayed as they were would have a t-test tell anything apart, however little the text says.
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
    """Return a seed; a method without one has the seed 0."""
    return int(value) if isinstance(value, int | float) and not math.isnan(value) else 0
