"""Loss residual by training step: the loss of sampled masks minus that of the initial mask."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nmlab.reports.analysis.configurations import Configuration, comparable_group, groups_of, searched
from nmlab.reports.analysis.settings import labels_of
from nmlab.reports.read.histories import Curve, Curves
from nmlab.trials.contract.training_losses import loss_noun

ESTIMATOR = "estimator"
NAMED, MOST_NAMED = 4, 6
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
class Residuals:
    """The curves, of which the first ``named`` have a name in the figure; or the reason why there are none.

    ``has_diverged`` is set where one of them is of an estimator of which no run finished.
    """

    curves: tuple[ResidualCurve, ...]
    named: int
    steps_per_bin: float
    has_diverged: bool = False
    skipped: str = ""
    noun: str = "loss"
    """What the losses are called, see `loss_noun`."""


def residuals_of(configurations: Sequence[Configuration], *, curves: Curves) -> Residuals:
    """Average the recorded residuals into bins of steps, then over the finished seeds of each configuration.

    Named are the best of each method and estimator in each group of comparable configurations, then the next best. An
    estimator of which no run finished is named too, at its configuration with the least residual.

    Every curve uses the same bins: as many as leave a typical run about five recorded points to a bin, at most
    60, and one bin for each point where few points were recorded.

    Args:
        configurations: all of a launch, best first.
        curves: the residual of each run by step.
    """
    finished = [item for item in configurations if item.selection is not None]
    owned = {item.key: [curves[trial.run_id] for trial in item.finished if trial.run_id in curves] for item in finished}
    drawn = [item for item in finished if owned[item.key]]
    if not drawn:
        return Residuals((), 0, 0.0, skipped="no finished run recorded train/residual")
    leaders, gone = _leaders(drawn), _diverged(configurations, curves)
    owned |= {item.key: [curves[run_id] for run_id in item.run_ids if run_id in curves] for item in gone}
    first = {item.key for item in leaders}
    ordered = [*leaders, *gone, *(item for item in drawn if item.key not in first)]
    labels = labels_of(ordered)
    labels |= {item.key: f"{labels[item.key]} (diverged)" for item in gone}
    edges = _edges([part for item in ordered for part in owned[item.key]])
    found = tuple(_curve(item.key, label=labels[item.key], parts=owned[item.key], edges=edges) for item in ordered)
    named = min(len(found), MOST_NAMED, max(NAMED, len(leaders) + len(gone)))
    noun = loss_noun(item.settings for item in ordered)
    return Residuals(found, named, float(edges[1] - edges[0]), has_diverged=bool(gone), noun=noun)


def _leaders(items: Sequence[Configuration]) -> list[Configuration]:
    """Return the best of each method and estimator in each group of comparable configurations."""
    leaders: dict[tuple[object, ...], Configuration] = {}
    for item in items:
        leaders.setdefault((item.method, item.settings.get(ESTIMATOR), comparable_group(item)), item)
    return list(leaders.values())


def _diverged(configurations: Sequence[Configuration], curves: Curves) -> list[Configuration]:
    """Return for each estimator of which no run finished, though others did, the configuration that came furthest."""
    found = []
    for members in groups_of(item for item in searched(configurations) if ESTIMATOR in item.settings).values():
        finished = {item.settings[ESTIMATOR] for item in members if item.selection is not None}
        lost = [item for item in members if item.settings[ESTIMATOR] not in finished]
        kept = [item for item in lost if any(run_id in curves for run_id in item.run_ids)]
        for name in dict.fromkeys(item.settings[ESTIMATOR] for item in kept if finished):
            own = [item for item in kept if item.settings[ESTIMATOR] == name]
            found.append(min(own, key=lambda item: _largest_mean(item, curves)))
    return found


def _largest_mean(item: Configuration, curves: Curves) -> float:
    """Return the largest mean residual of a configuration's runs; infinite where one has none."""
    means = []
    for run_id in item.run_ids:
        known = curves[run_id].value_T if run_id in curves else np.empty(0)
        known = known[~np.isnan(known)]
        means.append(float(known.mean()) if len(known) else math.inf)
    return max(means)


def _edges(parts: Sequence[Curve]) -> npt.NDArray[np.float64]:
    """Return the edges of the bins of steps that all curves share."""
    typical = sorted(len(part.step_T) for part in parts)[len(parts) // 2]
    bins = min(MAX_BINS, max(typical // POINTS_PER_BIN, min(typical, FEW_POINTS)))
    first, last = min(part.step_T[0] for part in parts), max(part.step_T[-1] for part in parts)
    return np.linspace(first - 0.5, last + 0.5, bins + 1)


def _curve(key: str, *, label: str, parts: Sequence[Curve], edges: npt.NDArray[np.float64]) -> ResidualCurve:
    """Take mean and range over the seeds in each bin; a bin that any seed lacks is left out."""
    middles = (edges[:-1] + edges[1:]) / 2
    seeds_SB = np.stack([_binned(part, edges) for part in parts])
    whole = np.isfinite(seeds_SB).all(axis=0)
    return ResidualCurve(
        key=key,
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
