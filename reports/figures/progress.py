"""Quality against tokens spent: the searched metric at every evaluation of a run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

from nmlab.reports.analysis.budgets import trajectories_of
from nmlab.reports.analysis.configurations import Configuration, baselines
from nmlab.reports.analysis.metrics import plain_name, style_of
from nmlab.reports.analysis.summary_rows import SummaryRow
from nmlab.reports.figures.style import (
    DASHES,
    MUTED,
    SETTINGS,
    FigureFile,
    look_of,
    new_figure,
    numbers_on_log_axis,
    saved,
    wants_log,
)
from nmlab.reports.values import number_text

KEY, TITLE = "progress", "Quality against tokens"
KIND = "tokens"
ROOM_FOR_NAME = 0.045  # of the height
LEAST_SHARE = 0.2  # of the height that is left to the curves


@dataclass(frozen=True, slots=True)
class ProgressCurve:
    """One configuration at its evaluations: mean tokens spent, mean over seeds, and the range of the seeds."""

    label: str
    tokens: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ProgressInfo:
    """Curves of learned masks, and the values of untrained masks as lines; or why there are none.

    ``outside`` are values so far off that drawing them would flatten the curves.
    """

    metric: str
    curves: tuple[ProgressCurve, ...]
    references: tuple[tuple[str, float], ...]
    is_log: bool
    outside: tuple[tuple[str, float], ...] = ()
    skipped: str = ""


def progress_info(
    configurations: Sequence[Configuration], *, summary_rows: Sequence[SummaryRow], progress: pd.DataFrame
) -> ProgressInfo:
    """Return the curves of the best configuration of each learned method that was evaluated during training.

    Args:
        configurations: all of a launch.
        summary_rows: the rows of the summary; the learned ones are drawn.
        progress: ``run_id, step, value`` of the searched metric.
    """
    points = {str(run_id): part for run_id, part in progress.groupby("run_id")}
    learned = list({row.item.key: row.item for row in summary_rows if row.item.is_learned}.values())
    several = len({item.pattern for item in learned}) > 1
    found = [_curve(item, points, several=several) for item in learned]
    curves = tuple(curve for curve in found if curve is not None and len(curve.tokens) > 2)
    metric = configurations[0].objective.metric
    if not curves:
        return ProgressInfo(
            metric, (), (), False, skipped="no learned mask was evaluated between its start and its end"
        )
    rules = [item for item in baselines(configurations) if not item.is_learned and item.value is not None]
    references = tuple((_name(item, several), item.value.mean) for item in rules if item.value is not None)
    low, high = (end(value for curve in curves for value in (*curve.low, *curve.high)) for end in (min, max))
    near = tuple((name, value) for name, value in references if _is_near(value, low, high))
    values = [low, high, *(value for _, value in near)]
    outside = tuple(reference for reference in references if reference not in near)
    return ProgressInfo(metric, curves, near, wants_log(values, ratio=10.0), outside)


def draw_progress(info: ProgressInfo) -> FigureFile:
    """Draw the curves with the range of their seeds, and untrained masks as horizontal lines."""
    if info.skipped:
        return FigureFile(KEY, TITLE, "", skipped=info.skipped)
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(4.4)
        axes = figure.add_subplot()
        for index, curve in enumerate(info.curves):
            colour, marker, dashes = look_of(index)
            axes.fill_between(curve.tokens, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
            look = {"color": colour, "linestyle": dashes, "marker": marker, "markersize": 4.5}
            axes.plot(curve.tokens, curve.mean, label=curve.label, linewidth=1.7, **look)
        if info.is_log:
            numbers_on_log_axis(axes, axis="y")
        for _, value in info.references:
            axes.axhline(value, color=MUTED, linewidth=0.9, linestyle=DASHES[2], zorder=0.5)
        for name, value in _labels(info, axes.get_ylim()):
            edge: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
            axes.annotate(name, (1.0, value), xytext=(4, 0), va="center", fontsize=8, **edge)
        axes.xaxis.set_major_formatter(matplotlib.ticker.EngFormatter(sep=""))
        axes.set(xlabel="tokens spent on one run, its initial mask included", ylabel=plain_name(info.metric))
        axes.yaxis.grid(True)
        figure.legend(loc="outside upper left", ncols=4, fontsize=8.5)
        return saved(figure, key=KEY, title=TITLE, caption=_caption(info))


def _labels(info: ProgressInfo, limits: tuple[float, float]) -> list[tuple[str, float]]:
    """Return the names of the lines with their places; lines too close for two names share a place."""
    scale = math.log if info.is_log else float
    room = ROOM_FOR_NAME * (scale(limits[1]) - scale(limits[0]))
    labels: list[tuple[str, float]] = []
    for name, value in sorted(info.references, key=lambda line: line[1]):
        if labels and scale(value) - scale(labels[-1][1]) < room:
            labels[-1] = (f"{labels[-1][0]}, {name}", labels[-1][1])
        else:
            labels.append((name, value))
    return labels


def _curve(item: Configuration, points: Mapping[str, pd.DataFrame], *, several: bool) -> ProgressCurve | None:
    """Return the curve of a configuration over the steps at which each of its seeds was evaluated."""
    paths = trajectories_of(item, points=points, kinds=(KIND,))
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
    )


def _name(item: Configuration, several: bool) -> str:
    return f"{item.method} {item.pattern}" if several and not item.is_dense else item.method


def _is_near(value: float, low: float, high: float) -> bool:
    """Return whether a line at a value leaves the curves, from low to high, a fifth of the height."""
    return high - low >= LEAST_SHARE * (max(high, value) - min(low, value))


def _caption(info: ProgressInfo) -> str:
    text = (
        "The best configuration of each learned method: mean over its seeds at steps where all were evaluated; the "
        "band spans the seeds."
    )
    if info.references:
        text += " Dotted: masks without training, and the dense model."
    far = [f"{name} at {number_text(value, style=style_of(info.metric))}" for name, value in info.outside]
    return f"{text} Outside the picture: {', '.join(far)}." if far else text
