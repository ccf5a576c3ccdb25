"""Constraints of a search: limits on metrics, beyond which a configuration cannot be the best.

The worst seed of a configuration counts. One whose value is missing or not finite on any seed is not feasible,
since nobody can say that it keeps the limit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Constraint:
    """Limits on a metric: it is at most ``max`` and at least ``min``; None is no limit."""

    metric: str
    max: float | None = None
    min: float | None = None

    def excess(self, values: Iterable[float]) -> float:
        """Return by how much the worst of some values breaks the limits, in the unit of the metric; 0 or less if none.

        It is infinite without a value, and where one is not finite.
        """
        found = list(values)
        if not found or not all(map(math.isfinite, found)):
            return math.inf
        over = [] if self.max is None else [max(found) - self.max]
        under = [] if self.min is None else [self.min - min(found)]
        return max(over + under)

    def describe(self) -> str:
        """Return the limits in words: ``memory/peak_bytes at most 2e+09``."""
        limits = [("at most", self.max), ("at least", self.min)]
        return f"{self.metric} {' and '.join(f'{word} {limit:g}' for word, limit in limits if limit is not None)}"


def excesses(constraints: Sequence[Constraint], seeds: Sequence[Mapping[str, object]]) -> dict[str, float]:
    """Return by how much a configuration breaks each constraint, by metric; see `Constraint.excess`.

    Args:
        constraints: of the search.
        seeds: the metrics of each seed of the configuration.
    """
    return {
        constraint.metric: constraint.excess([_number(seed.get(constraint.metric)) for seed in seeds])
        for constraint in constraints
    }


def is_feasible(constraints: Sequence[Constraint], seeds: Sequence[Mapping[str, object]]) -> bool:
    """Return whether a configuration keeps every constraint on every seed."""
    return all(excess <= 0 for excess in excesses(constraints, seeds).values())


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
