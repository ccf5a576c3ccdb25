"""The result by each setting: one panel for each setting that varied or that several methods share."""

import math
from collections.abc import Sequence
from statistics import median

import matplotlib

from nmlab.reports.analysis.metrics import plain_name
from nmlab.reports.analysis.space.sensitivity import Sensitivity, SettingEffect
from nmlab.reports.figures.axes import SettingAxis, axis_of, format_axis
from nmlab.reports.figures.style import (
    MUTED,
    SETTINGS,
    FigureFile,
    look_of,
    new_figure,
    numbers_on_log_axis,
    saved,
)
from nmlab.reports.values import counted, wants_log

KEY, TITLE = "sensitivity", "Sensitivity to each setting"
PER_ROW = 3
MOST_BARS = 40  # points of a panel; intervals of more would hide each other
ROOM = 0.4  # how far intervals may widen a panel at least, each way, as a share of its height
LOG_RATIO = 10.0


def draw_sensitivity(info: Sensitivity) -> FigureFile:
    """Draw the panels in rows of three."""
    if info.skipped:
        return FigureFile(KEY, TITLE, "", skipped=info.skipped)
    rows, columns = -(-len(info.settings) // PER_ROW), min(PER_ROW, len(info.settings))
    has_legend = info.labels != ("",)
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(2.6 * rows + 0.4 * has_legend)
        for place, effect in enumerate(info.settings):
            axes = figure.add_subplot(rows, columns, place + 1)
            _draw_panel(axes, effect, info)
            if place % columns == 0:
                axes.set_ylabel(plain_name(info.metric))
        for index, label in enumerate(info.labels if has_legend else ()):
            colour, marker, dashes = look_of(index)
            figure.axes[0].plot([], [], label=label, color=colour, marker=marker, linestyle=dashes, markersize=5)
        if has_legend:
            figure.legend(loc="outside upper left", ncols=5, fontsize=8.5)
        return saved(figure, key=KEY, title=TITLE, caption=_caption(info))


def _draw_panel(axes: "matplotlib.axes.Axes", effect: SettingEffect, info: Sensitivity) -> None:
    axis = axis_of([point.value for point in effect.points])
    for index, label in enumerate(info.labels):
        own = [
            (place, point.mean) for place, point in zip(axis.places, effect.points, strict=True) if point.label == label
        ]
        colour, marker, _ = look_of(index)
        axes.scatter(
            [place for place, _ in own],
            [mean.mean for _, mean in own],
            s=26,
            marker=marker,
            facecolors="none" if len(info.labels) > 1 else colour,
            edgecolors=colour,
            linewidths=1.3,
            zorder=2,
        )
    _draw_lines(axes, effect, axis, labels=info.labels)
    is_log = wants_log([point.mean.mean for own in info.settings for point in own.points], ratio=LOG_RATIO)
    if is_log:
        numbers_on_log_axis(axes, axis="y")
    if len(effect.points) <= MOST_BARS:
        _draw_intervals(axes, effect, axis, labels=info.labels, is_log=is_log)
    format_axis(axes, name=effect.name, ticks=axis.ticks, scale=axis.scale)


def _draw_lines(
    axes: "matplotlib.axes.Axes", effect: SettingEffect, axis: SettingAxis, *, labels: Sequence[str]
) -> None:
    """Draw a line through the best of each label; in grey where there is only one label."""
    place_of = dict(zip((point.value for point in effect.points), axis.places, strict=True))
    for line in effect.lines:
        colour, _, dashes = look_of(labels.index(line.label))
        points = sorted((place_of[value], mean) for value, mean in line.best)
        look = {"color": colour, "linestyle": dashes} if len(labels) > 1 else {"color": MUTED, "linestyle": "-"}
        axes.plot([at for at, _ in points], [mean for _, mean in points], linewidth=1.0, zorder=1, **look)


def _draw_intervals(
    axes: "matplotlib.axes.Axes", effect: SettingEffect, axis: SettingAxis, *, labels: Sequence[str], is_log: bool
) -> None:
    """Draw a thin bar behind each point that has an interval; what is far outside the others is cut off."""
    limits, bars = axes.get_ylim(), []
    for place, point in zip(axis.places, effect.points, strict=True):
        mean = point.mean
        if mean.low is not None and mean.high is not None:
            colour, _, _ = look_of(labels.index(point.label))
            axes.plot([place, place], [mean.low, mean.high], color=colour, linewidth=0.8, zorder=1.5)
            bars.append((mean.low, mean.mean, mean.high))
    axes.set_ylim(*widened(limits, bars, is_log=is_log))


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


def _caption(info: Sensitivity) -> str:
    rules = ", and baselines that share values of a setting with another method" if info.has_rules else ""
    text = f"Every searched configuration with a finished run{rules}: mean over its seeds"
    few = [effect for effect in info.settings if len(effect.points) <= MOST_BARS]
    if any(point.mean.low is not None for effect in few for point in effect.points):
        text += " with its 95% t-interval, cut off where it is far wider than the others"
    if any(effect.lines for effect in info.settings):
        text += "; a line joins the best complete configuration at each value"
    text += "."
    if len(info.settings) > 1:
        text += " Other settings vary at the same time, so no panel shows the effect of one setting alone."
    if info.without_value:
        text += f" Not drawn, without a finished run: {counted(info.without_value, noun='configuration')}."
    return text
