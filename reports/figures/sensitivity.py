"""Sensitivity of the result to each searched setting: one panel for each setting."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import matplotlib

from nmlab.reports.analysis.configurations import Configuration, distinguishing, groups_of, searched, setting_of
from nmlab.reports.analysis.metrics import plain_name
from nmlab.reports.figures.axes import FEW_VALUES, axis_of, format_axis
from nmlab.reports.figures.style import (
    MUTED,
    SETTINGS,
    FigureFile,
    look_of,
    new_figure,
    numbers_on_log_axis,
    saved,
)
from nmlab.reports.values import wants_log
from nmlab.reports.values.wording import counted

KEY, TITLE = "sensitivity", "Sensitivity to each setting"
PER_ROW = 3
MOST_BARS = 40  # points of a panel; intervals of more would hide each other
ROOM = 0.4  # how far intervals may widen a panel at least, each way, as a share of its height


@dataclass(frozen=True, slots=True)
class SensitivityPoint:
    """One configuration: its place on the panel's axis, its mean over seeds and its interval, if it has one."""

    place: float
    value: float
    label: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class SensitivityPanel:
    """One setting: points, the ticks of a text setting, and the best point of each value from left to right.

    ``best`` is empty where configurations are not comparable, such as masks of several patterns.
    """

    name: str
    points: tuple[SensitivityPoint, ...]
    best: tuple[tuple[float, float], ...]
    ticks: tuple[tuple[float, str], ...]
    scale: str


@dataclass(frozen=True, slots=True)
class SensitivityInfo:
    """Panels, with the labels that colour the points (methods and patterns where they vary), or why there are none."""

    metric: str
    labels: tuple[str, ...]
    panels: tuple[SensitivityPanel, ...]
    is_log: bool
    without_value: int = 0
    skipped: str = ""


def sensitivity_info(configurations: Sequence[Configuration]) -> SensitivityInfo:
    """Return one panel for each setting that varied between the searched configurations with a result."""
    tried = [item for item in searched(configurations) if item.value is not None]
    objective = configurations[0].objective
    names = distinguishing(tried)
    if not names:
        return SensitivityInfo(
            objective.metric, (), (), False, skipped="nothing varied between configurations with a result"
        )
    apart = [name for name in ("method", "pattern") if len({getattr(item, name) for item in tried}) > 1]
    labels = {item.key: " ".join(str(getattr(item, name)) for name in apart) for item in tried}
    panels = tuple(_panel(name, tried, labels, objective.mode) for name in names)
    values = [item.value.mean for item in tried if item.value is not None]
    return SensitivityInfo(
        metric=objective.metric,
        labels=tuple(dict.fromkeys(labels.values())),
        panels=panels,
        is_log=wants_log(values, ratio=10.0),
        without_value=len(searched(configurations)) - len(tried),
    )


def draw_sensitivity(info: SensitivityInfo) -> FigureFile:
    """Draw the panels in rows of three."""
    if info.skipped:
        return FigureFile(KEY, TITLE, "", skipped=info.skipped)
    rows = -(-len(info.panels) // PER_ROW)
    columns = min(PER_ROW, len(info.panels))
    has_legend = info.labels != ("",)
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(2.6 * rows + 0.4 * has_legend)
        for place, panel in enumerate(info.panels):
            axes = figure.add_subplot(rows, columns, place + 1)
            _draw_panel(axes, panel, info)
            if place % columns == 0:
                axes.set_ylabel(plain_name(info.metric))
        if has_legend:
            for index, label in enumerate(info.labels):
                colour, marker, _ = look_of(index)
                look: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": "none", "markersize": 5}
                figure.axes[0].plot([], [], label=label, **look)
            figure.legend(loc="outside upper left", ncols=5, fontsize=8.5)
        return saved(figure, key=KEY, title=TITLE, caption=_caption(info))


def _panel(name: str, items: Sequence[Configuration], labels: dict[str, str], mode: str) -> SensitivityPanel:
    known = [(item, setting_of(item, name=name)) for item in items]
    present = [(item, value) for item, value in known if value is not None]
    axis = axis_of([value for _, value in present])
    points = []
    for (item, _), place in zip(present, axis.places, strict=True):
        value = item.value
        assert value is not None
        points.append(SensitivityPoint(place, value.mean, labels[item.key], value.low, value.high))
    choose = min if mode == "min" else max
    at: dict[float, list[float]] = {}
    for point in points:
        at.setdefault(point.place, []).append(point.value)
    best = tuple((place, choose(at[place])) for place in sorted(at))
    is_grid = len(best) <= FEW_VALUES // 2 or 2 * len(best) <= len(points)
    is_one_group = len(groups_of(items)) == 1
    return SensitivityPanel(name, tuple(points), best if is_grid and is_one_group else (), axis.ticks, axis.scale)


def _draw_panel(axes: "matplotlib.axes.Axes", panel: SensitivityPanel, info: SensitivityInfo) -> None:
    axes.plot([at for at, _ in panel.best], [value for _, value in panel.best], color=MUTED, linewidth=0.9, zorder=1)
    for index, label in enumerate(info.labels):
        own = [point for point in panel.points if point.label == label]
        colour, marker, _ = look_of(index)
        axes.scatter(
            [point.place for point in own],
            [point.value for point in own],
            s=26,
            marker=marker,
            facecolors="none" if len(info.labels) > 1 else colour,
            edgecolors=colour,
            linewidths=1.3,
            zorder=2,
        )
    if info.is_log:
        numbers_on_log_axis(axes, axis="y")
    if len(panel.points) <= MOST_BARS:
        _draw_intervals(axes, panel, info)
    format_axis(axes, name=panel.name, ticks=panel.ticks, scale=panel.scale)


def _draw_intervals(axes: "matplotlib.axes.Axes", panel: SensitivityPanel, info: SensitivityInfo) -> None:
    """Draw a thin bar behind each point that has an interval; what is far outside the others is cut off."""
    limits, bars = axes.get_ylim(), []
    for point in panel.points:
        if point.low is not None and point.high is not None:
            colour, _, _ = look_of(info.labels.index(point.label))
            axes.plot([point.place, point.place], [point.low, point.high], color=colour, linewidth=0.8, zorder=1.5)
            bars.append((point.low, point.value, point.high))
    axes.set_ylim(*widened(limits, bars, is_log=info.is_log))


def widened(
    limits: tuple[float, float], bars: Sequence[tuple[float, float, float]], *, is_log: bool
) -> tuple[float, float]:
    """Return the limits of an axis, widened until all bars (low, middle, high) are inside or the room is used up.

    The room grows with the median bar, so a single very long bar is cut off.
    """
    if not bars:
        return limits
    (low, high), scale = limits, math.log if is_log else float
    usual = median(scale(top) - scale(middle) for _, middle, top in bars)
    room = max(ROOM * (scale(high) - scale(low)), usual)
    bottom, top = (math.exp(x) if is_log else x for x in (scale(low) - room, scale(high) + room))
    ends = [end for lowest, _, highest in bars for end in (lowest, highest)]
    return max(min(low, *ends), bottom), min(max(high, *ends), top)


def _caption(info: SensitivityInfo) -> str:
    text = "Every searched configuration with a finished run, mean over its seeds"
    panels = [panel for panel in info.panels if len(panel.points) <= MOST_BARS]
    if any(point.low is not None for panel in panels for point in panel.points):
        text += " with its 95% t-interval, cut off where it is far wider than the others"
    if any(panel.best for panel in info.panels):
        text += "; the line joins the best configuration at each value"
    text += "."
    if len(info.panels) > 1:
        text += " Other settings vary at the same time, so no panel shows the effect of one setting alone."
    if info.without_value:
        text += f" Not drawn, without a finished run: {counted(info.without_value, noun='configuration')}."
    return text
