"""Loss residual by training step: the loss of sampled masks minus that of the initial mask."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nmlab.reports.analysis.configurations import (
    Configuration,
    best_of,
    comparable_group,
    groups_of,
    labels_of,
    searched,
)
from nmlab.reports.read.histories import Curve, Curves

ESTIMATOR = "estimator"
HIGHLIGHTED = 4
MAX_BINS = 60
POINTS_PER_BIN = 5
FEW_POINTS = 20


@dataclass(frozen=True, slots=True)
class ResidualCurve:
    """Mean over seeds of the binned residual of one configuration, and the range of its seeds, one per bin."""

    key: str
    label: str
    steps: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    seeds: int


@dataclass(frozen=True, slots=True)
class ResidualInfo:
    """Curves of which the first ``highlighted`` are named: the best of each method and pattern, then by order."""

    curves: tuple[ResidualCurve, ...]
    highlighted: int
    steps_per_bin: float


def residual_info(
    configurations: Sequence[Configuration],
    *,
    curves: Curves,
    highlighted: int = HIGHLIGHTED,
    diverged: Sequence[Configuration] = (),
) -> ResidualInfo:
    """Average the recorded residuals into bins of steps, then over seeds.

    Every curve uses the same bins: as many as leave a typical run about five recorded points to a bin, at most
    60, and one bin for each point where few points were recorded.

    Args:
        configurations: best first; only finished runs are drawn.
        curves: the residual of each run by step.
        highlighted: how many curves to name.
        diverged: configurations of which none finished, drawn last, up to the step that every seed reached.
    """
    learned = _leaders_first([item for item in configurations if item.value is not None])
    runs = {item.key: [trial.run_id for trial in item.finished] for item in learned}
    runs |= {item.key: list(item.run_ids) for item in diverged}
    owned = {key: [curves[run] for run in own if run in curves] for key, own in runs.items()}
    parts = [part for own in owned.values() for part in own]
    if not parts:
        return ResidualInfo((), 0, 0.0)
    edges = _edges(parts)
    drawn_items = [item for item in (*learned, *diverged) if owned[item.key]]
    labels = labels_of(drawn_items)
    labels |= {item.key: f"{labels[item.key]} (diverged)" for item in diverged if owned[item.key]}
    drawn = tuple(_curve(item, label=labels[item.key], parts=owned[item.key], edges=edges) for item in drawn_items)
    return ResidualInfo(drawn, min(highlighted, len(drawn)), float(edges[1] - edges[0]))


def _leaders_first(items: Sequence[Configuration]) -> list[Configuration]:
    """Put the best of each method in each group of comparable configurations first."""
    leaders: dict[tuple[str, ...], Configuration] = {}
    for item in items:
        leaders.setdefault((item.method, *comparable_group(item)), item)
    chosen = list(leaders.values())
    return [*chosen, *(item for item in items if item.key not in {leader.key for leader in chosen})]


def estimators_info(configurations: Sequence[Configuration], *, curves: Curves) -> ResidualInfo | None:
    """Return the curve of each estimator at its own best configuration, within the largest group; None for fewer
    than two estimators.

    An estimator that diverged everywhere is shown too, at its configuration with the least residual.

    Args:
        configurations: all of a launch, best first.
        curves: the residual of each run by step.
    """
    groups = groups_of(item for item in searched(configurations) if ESTIMATOR in item.settings)
    members = max(groups.values(), key=len, default=[])
    losses = {run_id: _mean(curve.value_T) for run_id, curve in curves.items()}
    best: list[Configuration] = []
    diverged: list[Configuration] = []
    for name in dict.fromkeys(item.settings[ESTIMATOR] for item in members):
        own = [item for item in members if item.settings[ESTIMATOR] == name]
        found = best_of(own)
        if found is not None:
            best.append(found)
        else:
            diverged.append(min(own, key=lambda item: max(losses.get(run, math.inf) for run in item.run_ids)))
    if len(best) + len(diverged) < 2:
        return None
    info = residual_info(best, curves=curves, highlighted=len(best) + len(diverged), diverged=diverged)
    return info if len(info.curves) > 1 else None


def _edges(parts: Sequence[Curve]) -> npt.NDArray[np.float64]:
    """Return the edges of the bins of steps that all curves share."""
    typical = sorted(len(part.step_T) for part in parts)[len(parts) // 2]
    bins = min(MAX_BINS, max(typical // POINTS_PER_BIN, min(typical, FEW_POINTS)))
    first, last = min(part.step_T[0] for part in parts), max(part.step_T[-1] for part in parts)
    return np.linspace(first - 0.5, last + 0.5, bins + 1)


def _curve(item: Configuration, *, label: str, parts: Sequence[Curve], edges: npt.NDArray[np.float64]) -> ResidualCurve:
    """Take mean and range over the seeds in each bin; a bin that any seed lacks is left out."""
    middles = (edges[:-1] + edges[1:]) / 2
    seeds_SB = np.stack([_binned(part, edges) for part in parts])
    whole = np.isfinite(seeds_SB).all(axis=0)
    return ResidualCurve(
        key=item.key,
        label=label,
        steps=tuple(middles[whole].tolist()),
        mean=tuple(seeds_SB[:, whole].mean(axis=0).tolist()),
        low=tuple(seeds_SB[:, whole].min(axis=0).tolist()),
        high=tuple(seeds_SB[:, whole].max(axis=0).tolist()),
        seeds=len(parts),
    )


def _binned(part: Curve, edges: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the mean of a curve in each bin, NaN where it has no value."""
    known = ~np.isnan(part.value_T)
    place = np.digitize(part.step_T[known], edges) - 1
    bins = len(edges) - 1
    total_B = np.bincount(place, weights=part.value_T[known], minlength=bins)
    count_B = np.bincount(place, minlength=bins)
    return np.where(count_B > 0, total_B / np.maximum(count_B, 1), np.nan)


def _mean(values: npt.NDArray[np.float64]) -> float:
    """Return the mean of the values that are not NaN; infinite where there is none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.inf
