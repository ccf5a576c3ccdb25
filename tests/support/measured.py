"""Configurations and curves of tests that need no store."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import pandas as pd

from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.read.histories import Curve, curves_of
from nmlab.reports.read.trials import TrialRecord


def with_metrics(item: Configuration, metrics: Mapping[str, float | Sequence[float]]) -> Configuration:
    """Give the runs of a configuration these values, one for all or one for each; NaN takes a value away."""
    trials = []
    for place, trial in enumerate(item.trials):
        own = {name: float(np.broadcast_to(value, len(item.trials))[place]) for name, value in metrics.items()}
        present = {name: value for name, value in {**trial.metrics, **own}.items() if not np.isnan(value)}
        trials.append(replace(trial, metrics=present))
    return _changed(item, trials)


def with_facts(item: Configuration, **facts: object) -> Configuration:
    """Give every run of a configuration these fields."""
    return _changed(item, [replace(trial, **facts) for trial in item.trials])


def as_curves(points: Sequence[Mapping[str, object]] | pd.DataFrame) -> dict[str, Curve]:
    """Return curves of points with ``run_id``, ``step`` and ``value``."""
    frame = pd.DataFrame(points, columns=["run_id", "step", "value"])
    return curves_of(frame.sort_values(["run_id", "step"], kind="stable", ignore_index=True))


def _changed(item: Configuration, trials: Sequence[TrialRecord]) -> Configuration:
    """Change a configuration in place, so that whoever holds it sees the change, and forget what it derived."""
    object.__setattr__(item, "trials", tuple(trials))
    for name, own in vars(Configuration).items():
        if isinstance(own, cached_property):
            item.__dict__.pop(name, None)
    return item
