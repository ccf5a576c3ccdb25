"""Quality against tokens spent: the searched metric at every evaluation of a run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nmlab.reports.analysis.budgets import trajectories_of
from nmlab.reports.analysis.configurations import Configuration, baselines
from nmlab.reports.analysis.summary_rows import SummaryRow
from nmlab.reports.read.histories import Curves
from nmlab.reports.values import wants_log

KIND = "tokens"
LEAST_SHARE = 0.2  # of the height that is left to the curves


@dataclass(frozen=True, slots=True)
class ProgressCurve:
    """One configuration at its evaluations: mean tokens spent, mean over seeds, and the range of the seeds."""

    label: str
    tokens: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    key: str = ""


@dataclass(frozen=True, slots=True)
class ProgressByTokens:
    """Curves of learned masks, and the values of untrained masks as lines; or why there are none.

    ``outside`` are values so far off that drawing them would flatten the curves.
    """

    metric: str
    curves: tuple[ProgressCurve, ...]
    references: tuple[tuple[str, float], ...]
    is_log: bool
    outside: tuple[tuple[str, float], ...] = ()
    skipped: str = ""


def progress_by_tokens(
    configurations: Sequence[Configuration], *, summary_rows: Sequence[SummaryRow], progress: Curves
) -> ProgressByTokens:
    """Return the curves of the best configuration of each learned method that was evaluated during training.

    Args:
        configurations: all of a launch.
        summary_rows: the rows of the summary; the learned ones are drawn.
        progress: the searched metric of each run by step.
    """
    learned = list({row.item.key: row.item for row in summary_rows if row.item.is_learned}.values())
    several = len({item.pattern for item in learned}) > 1
    found = [_curve(item, progress, several=several) for item in learned]
    curves = tuple(curve for curve in found if curve is not None and len(curve.tokens) > 2)
    metric = configurations[0].objective.metric
    if not curves:
        return ProgressByTokens(
            metric, (), (), False, skipped="no learned mask was evaluated between its start and its end"
        )
    rules = [item for item in baselines(configurations) if not item.is_learned and item.selection is not None]
    references = tuple((_name(item, several), item.selection.mean) for item in rules if item.selection is not None)
    low, high = (end(value for curve in curves for value in (*curve.low, *curve.high)) for end in (min, max))
    near = tuple((name, value) for name, value in references if _is_near(value, low, high))
    values = [low, high, *(value for _, value in near)]
    outside = tuple(reference for reference in references if reference not in near)
    return ProgressByTokens(metric, curves, near, wants_log(values, ratio=10.0), outside)


def _curve(item: Configuration, progress: Curves, *, several: bool) -> ProgressCurve | None:
    """Return the curve of a configuration over the steps at which each of its seeds was evaluated."""
    paths = trajectories_of(item, progress=progress, kinds=(KIND,))
    if not paths:
        return None
    shared = sorted(set.intersection(*(set(path.steps) for path in paths)))
    values_ST = np.array([[path.values[path.steps.index(step)] for step in shared] for path in paths])
    tokens = [float(np.mean([path.cost_at(step, kind=KIND) for path in paths])) for step in shared]
    return ProgressCurve(
        _name(item, several),
        tuple(tokens),
        tuple(values_ST.mean(axis=0).tolist()),
        tuple(values_ST.min(axis=0).tolist()),
        tuple(values_ST.max(axis=0).tolist()),
        item.key,
    )


def _name(item: Configuration, several: bool) -> str:
    return f"{item.method} {item.pattern}" if several and not item.is_dense else item.method


def _is_near(value: float, low: float, high: float) -> bool:
    """Return whether a line at a value leaves the curves, from low to high, a fifth of the height."""
    return high - low >= LEAST_SHARE * (max(high, value) - min(low, value))
