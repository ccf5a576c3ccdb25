"""The direction of a search for a metric: `min` or `max`, as the metric is declared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nmlab.trials.contract.declarations import declared_metric
from nmlab.trials.contract.measures import Direction
from nmlab.trials.contract.metrics import Metric

MODES = {Direction.LOWER: "min", Direction.HIGHER: "max"}
DEFAULT_MODE = "min"
"""The mode of a metric without a direction if a study gives none."""


def mode_problems(metric: Metric, *, mode: str) -> Iterator[str]:
    """Check that a search goes in the metric's better direction; a metric without a direction allows both."""
    right = MODES.get(metric.direction, mode)
    if mode != right:
        yield f"search.mode {mode!r}: {metric.name} is better when it is {metric.direction}; expected {right}"


def with_modes(search: object) -> object:
    """Return the section `search`, with the mode of each metric filled in if it gives none."""
    if not isinstance(search, Mapping) or "mode" in search or "metric" not in search:
        return search
    metrics = search["metric"]
    names = metrics if isinstance(metrics, list | tuple) else [metrics]
    if not names or not all(isinstance(name, str) for name in names):
        return search  # the types refuse it later
    modes = [_mode_of(name.strip()) for name in names]
    return {**search, "mode": modes if isinstance(metrics, list | tuple) else modes[0]}


def _mode_of(name: str) -> str:
    metric = declared_metric(name)
    return DEFAULT_MODE if metric is None else MODES.get(metric.direction, DEFAULT_MODE)
