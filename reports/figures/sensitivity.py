"""The result by each setting: one panel for each setting that varied or that several methods share."""

import math
from collections.abc import Sequence
from statistics import median

import matplotlib

from nmlab.reports.analysis.metrics import plain_name
from nmlab.reports.analysis.settings import value_text
from nmlab.reports.analysis.space.sensitivity import Sensitivity, SettingEffect, SettingPoint
from nmlab.reports.figures.axes import SettingAxis, axis_of, format_axis
from nmlab.reports.figures.points import Spot, listed, mean_text, thinned
from nmlab.reports.figures.style import (
    MUTED,
    SETTINGS,
    FigureFile,
    look_of,
    new_figure,
    numbers_on_log_axis,
    saved,
)
from nmlab.reports.read.typed_text import Value
from nmlab.reports.values import counted, wants_log

KEY, TITLE = "sensitivity", "Sensitivity to each setting"
PER_ROW = 3
MOST_POINTS = 300  # of a panel
MOST_BARS = 40  # points of a panel; intervals of more would hide each other
ROOM = 2.0  # how far intervals may widen a panel, each way: of its height, or of the median interval above its mean
LOG_RATIO = 10.0
TICK = 0.12  # half the width of the mean of one value, of the distance to its neighbour
SMALL_TICK = 0.025  # and at most, of the whole axis


def draw_sensitivity(info: Sensitivity) -> FigureFile:
    """Draw the panels in rows of three."""
    if info.skipped:
        return FigureFile(KEY, TITLE, "", skipped=info.skipped)
    rows, columns = -(-len(info.settings) // PER_ROW), min(PER_ROW, len(info.settings))
    has_legend = info.labels != ("",)
    spots: list[Spot] = []
    cut = 0
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(2.6 * rows + 0.4 * has_legend)
        for place, effect in enumerate(info.settings):
            axes = figure.add_subplot(rows, columns, place + 1)
            spots += _draw_panel(axes, effect, info)
            cut += _draw_intervals(axes, effect, info)
            format_axis(axes, name=effect.name, axis=axis_of([point.value for point in effect.points]))
            if place % columns == 0:
                axes.set_ylabel(plain_name(info.metric))
        for index, label in enumerate(info.labels if has_legend else ()):
            colour, marker, dashes = look_of(index)
            figure.axes[0].plot([], [], label=label, color=colour, marker=marker, linestyle=dashes, markersize=5)
        if has_legend:
            figure.legend(loc="outside upper left", ncols=5, fontsize=8.5)
        alternative = listed([_in_words(effect, info.metric) for effect in info.settings])
        return saved(
            figure, key=KEY, title=TITLE, caption=_caption(info, cut=cut), alternative=alternative, spots=spots
        )


def shown_points(points: Sequence[SettingPoint]) -> list[int]:
    """Return which points are drawn: all, or of very many about 300 at even distances in their order, best first."""
    return thinned(range(len(points)), kept=range(MOST_POINTS // 3), most=MOST_POINTS)


def _draw_panel(axes: "matplotlib.axes.Axes", effect: SettingEffect, info: Sensitivity) -> list[Spot]:
    axis = axis_of([point.value for point in effect.points])
    drawn = shown_points(effect.points)
    for index, label in enumerate(info.labels):
        own = [(axis.places[at], effect.points[at].mean.mean) for at in drawn if effect.points[at].label == label]
        colour, marker, _ = look_of(index)
        axes.scatter(
            [place for place, _ in own],
            [mean for _, mean in own],
            s=26 if len(drawn) <= MOST_BARS else 12,
            marker=marker,
            facecolors="none" if len(info.labels) > 1 else colour,
            edgecolors=colour,
            linewidths=1.3,
            zorder=2,
        )
    _draw_lines(axes, effect, axis, labels=info.labels)
    if _is_log(info):
        numbers_on_log_axis(axes, axis="y")
    return [_spot(axes, axis.places[at], effect, effect.points[at], info.metric) for at in drawn]


def _draw_lines(
    axes: "matplotlib.axes.Axes", effect: SettingEffect, axis: SettingAxis, *, labels: Sequence[str]
) -> None:
    """Draw the lines through related configurations, and a thick stroke for each marginal mean."""
    place_of = dict(zip((point.value for point in effect.points), axis.places, strict=True))
    for line in effect.lines:
        colour, _, dashes = look_of(labels.index(line.label))
        look = {"color": colour, "linestyle": dashes} if len(labels) > 1 else {"color": MUTED, "linestyle": "-"}
        places = [place_of[value] for value, _ in line.means]
        axes.plot(places, [mean for _, mean in line.means], linewidth=1.0, zorder=1, **look)
    for marginal in effect.marginals:
        colour = look_of(labels.index(marginal.label))[0] if len(labels) > 1 else MUTED
        left, right = _ends(place_of, marginal.first, marginal.last, is_log=bool(axis.scale))
        axes.plot([left, right], [marginal.mean.mean] * 2, color=colour, linewidth=3.2, alpha=0.85, zorder=2.2)


def _ends(place_of: dict[Value, float], first: Value, last: Value, *, is_log: bool) -> tuple[float, float]:
    """Return the ends of a marginal mean: of a range its values, of one value a short stroke about it."""
    if first != last:
        return place_of[first], place_of[last]
    to, back = (math.log, math.exp) if is_log else (float, float)
    scaled = sorted({to(place) for place in place_of.values()})
    own = to(place_of[first])
    nearest = min((abs(own - other) for other in scaled if other != own), default=1.0)
    half = max(TICK * nearest, SMALL_TICK * (scaled[-1] - scaled[0]))
    return back(own - half), back(own + half)


def _is_log(info: Sensitivity) -> bool:
    return wants_log([point.mean.mean for own in info.settings for point in own.points], ratio=LOG_RATIO)


def _draw_intervals(axes: "matplotlib.axes.Axes", effect: SettingEffect, info: Sensitivity) -> int:
    """Draw a thin bar through each point that has an interval, and return how many reach further: they end in arrows.

    Nothing is drawn where there are many, which would hide each other.
    """
    if len(effect.points) > MOST_BARS:
        return 0
    axis, bars, cut = axis_of([point.value for point in effect.points]), [], 0
    for place, point in zip(axis.places, effect.points, strict=True):
        mean = point.mean
        if mean.low is not None and mean.high is not None:
            bars.append((place, mean.low, mean.mean, mean.high, look_of(info.labels.index(point.label))[0]))
    ends = [(low, middle, high) for _, low, middle, high, _ in bars]
    bottom, top = widened(axes.get_ylim(), ends, is_log=_is_log(info))
    for place, low, _, high, colour in bars:
        axes.plot([place, place], [max(low, bottom), min(high, top)], color=colour, linewidth=0.8, zorder=1.5)
        for is_cut, end, marker in ((low < bottom, bottom, "v"), (high > top, top, "^")):
            if is_cut:
                axes.plot(place, end, marker=marker, color=colour, markersize=5, clip_on=False, zorder=1.5)
                cut += 1
    axes.set_ylim(bottom, top)
    return cut


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
    room = ROOM * max(scale(high) - scale(low), usual)
    bottom, top = (math.exp(x) if is_log else x for x in (scale(low) - room, scale(high) + room))
    lowest, highest = min(low, *(own for own, _, _ in bars)), max(high, *(own for _, _, own in bars))
    return max(lowest, bottom), min(highest, top)


def _spot(axes: "matplotlib.axes.Axes", place: float, effect: SettingEffect, point: SettingPoint, metric: str) -> Spot:
    text = f"{effect.name} {value_text(point.value)}, {mean_text(point.mean, metric=metric)}"
    return Spot(axes, ((place, point.mean.mean),), text, point.key)


def _in_words(effect: SettingEffect, metric: str) -> str:
    """Return the range of a setting and of its results, and the means at its values."""
    numbers = [point.mean.mean for point in effect.points]
    spread = f"{effect.name}: {len(numbers)} points, {plain_name(metric)} {min(numbers):.4g} to {max(numbers):.4g}"
    means = [f"{_range(own.first, own.last)} {own.mean.mean:.4g}" for own in effect.marginals]
    return f"{spread}; means {', '.join(means)}" if means else spread


def _range(first: Value, last: Value) -> str:
    return value_text(first) if first == last else f"{value_text(first)} to {value_text(last)}"


def _caption(info: Sensitivity, *, cut: int) -> str:
    rules = ", and baselines that share values of a setting with another method" if info.has_rules else ""
    text = f"Every searched configuration with a finished run{rules}, at its value: mean over its seeds"
    few = [effect for effect in info.settings if len(effect.points) <= MOST_BARS]
    if any(point.mean.low is not None for effect in few for point in effect.points):
        text += " with its 95% t-interval" + (" (an arrow: it reaches further)" if cut else "")
    text += "."
    if any(effect.lines for effect in info.settings):
        text += " A line joins configurations that differ in this setting alone."
    if any(effect.marginals for effect in info.settings):
        text += " Thick: the mean over the complete configurations at a value, or over a quarter of the values tried."
    if len(info.settings) > 1:
        text += " Other settings vary at the same time, so no panel shows the effect of one setting alone."
    most = max(len(effect.points) for effect in info.settings)
    if most > MOST_POINTS:
        text += f" Of {most:,} points of a panel about {MOST_POINTS} are drawn: the best, and others at even distances."
    if info.without_value:
        text += f" Not drawn, without a finished run: {counted(info.without_value, noun='configuration')}."
    return text
