"""The reported metric of every configuration with its interval, with the dense model and the baselines."""

from collections.abc import Sequence

import matplotlib

from nmlab.reports.analysis.metrics import plain_name
from nmlab.reports.analysis.ranking import RankedPoint, Ranking, ReferenceLine
from nmlab.reports.figures.axes import head_labels
from nmlab.reports.figures.points import Spot, listed, mean_text
from nmlab.reports.figures.style import (
    DASHES,
    INK,
    MUTED,
    PAPER,
    SERIES,
    SETTINGS,
    FigureFile,
    new_figure,
    plain_number,
    saved,
)
from nmlab.reports.statistics import MeanEstimate
from nmlab.reports.values import counted

KEY, TITLE = "ranking", "Configurations side by side"
BELOW = 0.28  # of a row, how far fresh seeds are drawn below those of the search


def draw_ranking(info: Ranking) -> FigureFile:
    """Draw the points with their intervals, open circles for initial masks, and lines for the baselines."""
    if not info.points:
        return FigureFile(KEY, TITLE, "", skipped="no searched configuration has a finished run")
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(1.7 + 0.27 * len(info.points))
        axes = figure.add_subplot()
        _draw_lines(axes, info.lines)
        for place, point in enumerate(info.points):
            _draw_point(axes, point, place)
        _format_axes(axes, info)
        figure.legend(loc="outside upper left", ncols=6, fontsize=8.5)
        spots = [spot for place, point in enumerate(info.points) for spot in _spots(axes, info, point, place)]
        return saved(figure, key=KEY, title=TITLE, caption=_caption(info), alternative=_in_words(info), spots=spots)


def _spots(axes: "matplotlib.axes.Axes", info: Ranking, point: RankedPoint, place: int) -> list[Spot]:
    """Return the mean of a configuration, and below it that over fresh seeds with its own runs."""
    mean = mean_text(_estimate(point), metric=info.metric)
    found = [Spot(axes, ((point.mean, place),), mean, point.key)]
    if point.fresh is not None:
        text = f"on fresh seeds {mean_text(point.fresh, metric=info.metric)}"
        found.append(Spot(axes, ((point.fresh.mean, place + BELOW),), text, point.key, point.fresh_runs))
    return found


def _estimate(point: RankedPoint) -> MeanEstimate:
    return MeanEstimate(point.mean, point.low, point.high, point.seeds)


def _in_words(info: Ranking) -> str:
    """Return the configurations from the top down with their means, and the baselines."""
    means = [f"{point.label} {mean_text(_estimate(point), metric=info.metric)}" for point in info.points]
    lines = dict.fromkeys(f"{line.name} {line.value:.4g}" for line in info.lines)
    return f"From the top down: {listed(means)}" + (f" Lines: {listed(list(lines))}" if lines else "")


def _draw_lines(axes: "matplotlib.axes.Axes", lines: Sequence[ReferenceLine]) -> None:
    names = list(dict.fromkeys(line.name for line in lines))
    named: set[str] = set()
    for line in lines:
        index = names.index(line.name)
        axes.plot(
            [line.value, line.value],
            [line.first - 0.5, line.last + 0.5],
            color=INK if line.name == "dense" else SERIES[1 + index % (len(SERIES) - 1)],
            linestyle=DASHES[index % len(DASHES)],
            linewidth=1.4,
            label=None if line.name in named else line.name,
        )
        named.add(line.name)


def _draw_point(axes: "matplotlib.axes.Axes", point: RankedPoint, place: int) -> None:
    first = place == 0
    if point.initial is not None:
        axes.plot(
            point.initial,
            place,
            marker="o",
            label="its own initial mask" if first else None,
            markerfacecolor=PAPER,
            markeredgecolor=MUTED,
            markersize=5.5,
            linestyle="none",
        )
        axes.plot([point.initial, point.mean], [place, place], color=MUTED, linewidth=0.6, zorder=0.5)
    if point.low is not None and point.high is not None:
        axes.plot([point.low, point.high], [place, place], color=SERIES[0], linewidth=2.2, solid_capstyle="butt")
    axes.plot(
        point.mean,
        place,
        marker="o" if point.is_complete else "X",
        color=SERIES[0],
        linestyle="none",
        markersize=6 if point.is_complete else 7.5,
        label="mean and 95% interval" if first else None,
    )
    if point.fresh is not None:
        _draw_fresh(axes, point.fresh, place + BELOW, label="on fresh seeds" if first else None)


def _draw_fresh(axes: "matplotlib.axes.Axes", fresh: MeanEstimate, place: float, *, label: str | None) -> None:
    if fresh.low is not None and fresh.high is not None:
        axes.plot([fresh.low, fresh.high], [place, place], color=SERIES[0], linewidth=1.2, solid_capstyle="butt")
    axes.plot(
        fresh.mean,
        place,
        marker="D",
        markersize=4.5,
        markerfacecolor=PAPER,
        markeredgecolor=SERIES[0],
        linestyle="none",
        label=label,
    )


def _format_axes(axes: "matplotlib.axes.Axes", info: Ranking) -> None:
    """Set scales, labels and grid of the axes."""
    if info.is_log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 3, 5, 7)))
        axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: plain_number(value)))
        axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.set_yticks(range(len(info.points)), [point.label for point in info.points])
    axes.set_ylim(len(info.points) - 0.4, -0.6)
    axes.set_xlabel(plain_name(info.metric) + (" (log scale)" if info.is_log else ""))
    head_labels(axes, info.label_names)
    axes.xaxis.grid(True)
    axes.tick_params(axis="y", length=0)


def _caption(info: Ranking) -> str:
    order = "in the order of their means on validation text" if info.selects_on_validation else "best at the top"
    text = f"Means over finished seeds with their 95% t-interval, {order}. The tables have the numbers and the tests."
    if any(point.fresh is not None for point in info.points):
        text += " Diamonds: the same configuration on fresh seeds."
    if any(not point.is_complete for point in info.points):
        text += " A cross instead of a dot: not every seed finished."
    if any(point.low is None for point in info.points):
        text += " No bar: one seed."
    if info.has_several_settings:
        text += " Lines of baselines with several settings: the best."
    if info.hidden:
        text += f" In the tables only: {counted(info.hidden, noun='further configuration')}."
    if info.without_value:
        text += f" Not drawn, without a finished run: {counted(info.without_value, noun='configuration')}."
    return text
