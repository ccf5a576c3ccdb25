"""The reported metric of every configuration with its interval, with the dense model and the baselines."""

import itertools

import matplotlib

from nmlab.reports.analysis.metrics import plain_name, style_of
from nmlab.reports.analysis.ranking import RankedPoint, Ranking
from nmlab.reports.figures.axes import head_labels
from nmlab.reports.figures.points import Spot, listed, mean_text
from nmlab.reports.figures.reference_lines import is_left_out, label_lines, shown_range, side_of
from nmlab.reports.figures.style import (
    INK,
    MUTED,
    PAPER,
    SERIES,
    SETTINGS,
    FigureFile,
    method_look,
    new_figure,
    plain_number,
    saved,
)
from nmlab.reports.statistics import MeanEstimate
from nmlab.reports.values import counted, number_text

KEY, TITLE = "ranking", "Configurations side by side"
SELECTED = "▸ "  # before the label of what the search selected
BELOW = 0.3  # of a row, how far the mean of the search is drawn below that on fresh seeds
APART = 0.65  # of a row, how far below a row a line parts it from the next


def draw_ranking(info: Ranking) -> FigureFile:
    """Draw the points with their intervals, open circles for initial masks, and lines for the baselines."""
    if not info.points:
        return FigureFile(KEY, TITLE, "", skipped="no searched configuration has a finished run")
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(1.7 + 0.27 * len(info.points))
        axes = figure.add_subplot()
        _draw_lines(axes, info)
        has_fresh = any(point.fresh is not None for point in info.points)
        for place, point in enumerate(info.points):
            _draw_point(axes, point, place, has_fresh=has_fresh)
            _draw_beyond(axes, info, point, place)
        _part_fresh(axes, info)
        _format_axes(axes, info)
        if not info.is_grouped:
            label_lines(axes, info)
        shown = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        figure.legend(list(shown.values()), list(shown), loc="outside upper left", ncols=6, fontsize=8.5)
        spots = [spot for place, point in enumerate(info.points) for spot in _spots(axes, info, point, place)]
        return saved(figure, key=KEY, title=TITLE, caption=_caption(info), alternative=_in_words(info), spots=spots)


def _part_fresh(axes: "matplotlib.axes.Axes", info: Ranking) -> None:
    """Draw a line below the last of the rows on fresh seeds that others follow."""
    for place, (point, after) in enumerate(itertools.pairwise(info.points)):
        if point.fresh is not None and after.fresh is None and not info.is_by_setting:
            axes.axhline(place + APART, color=MUTED, linewidth=0.6, linestyle=(0, (2, 2)), zorder=0.4)


def _spots(axes: "matplotlib.axes.Axes", info: Ranking, point: RankedPoint, place: int) -> list[Spot]:
    """Return the mean of a configuration, and above it that over fresh seeds with its own runs."""
    (low, high), mean = shown_range(info), mean_text(_estimate(point), metric=info.metric)
    across = min(max(point.mean, low), high)  # at the end of the axis where it lies beyond
    found = [Spot(axes, ((across, place if point.fresh is None else place + BELOW),), mean, point.key)]
    if point.fresh is not None:
        text = f"on fresh seeds {mean_text(point.fresh, metric=info.metric)}"
        across = min(max(point.fresh.mean, low), high)
        found.append(Spot(axes, ((across, place),), text, point.key, point.fresh_runs))
    return found


def _draw_beyond(axes: "matplotlib.axes.Axes", info: Ranking, point: RankedPoint, place: int) -> None:
    """Draw an arrow at the end of the axis beyond which a point goes on, with its mean where that lies there."""
    ends = shown_range(info)
    sides = {side_of(value, ends=ends) for value in point.values} - {0}
    for side in sides:
        row = place + BELOW if point.fresh is not None and side_of(point.fresh.mean, ends=ends) != side else place
        axes.plot(ends[side > 0], row, marker=">" if side > 0 else "<", color=MUTED, markersize=5, clip_on=False)
    side = side_of(point.shown, ends=ends)
    if side:
        axes.annotate(
            number_text(point.shown, style=style_of(info.metric)),
            xy=(ends[side > 0], place),
            xytext=(-8 * side, 0),
            textcoords="offset points",
            ha="right" if side > 0 else "left",
            va="center",
            color=MUTED,
            fontsize=8,
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1},  # over the line of its interval
        )


def _is_beyond(info: Ranking, point: RankedPoint) -> bool:
    return any(side_of(value, ends=shown_range(info)) for value in point.values)


def _estimate(point: RankedPoint) -> MeanEstimate:
    return MeanEstimate(point.mean, point.low, point.high, point.seeds)


def _in_words(info: Ranking) -> str:
    """Return the configurations from the top down with their means, and the baselines."""
    means = [f"{point.label} {mean_text(_estimate(point), metric=info.metric)}" for point in info.points]
    lines = dict.fromkeys(f"{line.name} {line.value:.4g}" for line in info.lines)
    return f"From the top down: {listed(means)}" + (f" Lines: {listed(list(lines))}" if lines else "")


def _draw_lines(axes: "matplotlib.axes.Axes", info: Ranking) -> None:
    named: set[str] = set()
    for line in info.lines:
        colour, dashes = method_look(line.name)
        axes.plot(
            [line.value, line.value],
            [line.first - 0.5, line.last + 0.5],
            color=colour,
            linestyle=dashes,
            linewidth=1.4,
            zorder=1.5,
            label=line.name if info.is_grouped and line.name not in named else None,
        )
        named.add(line.name)


def _draw_point(axes: "matplotlib.axes.Axes", point: RankedPoint, place: int, *, has_fresh: bool) -> None:
    if point.initial is not None:
        axes.plot(
            point.initial,
            place,
            marker="o",
            label="its own initial mask",
            markerfacecolor=PAPER,
            markeredgecolor=MUTED,
            markersize=5.5,
            linestyle="none",
        )
        axes.plot([point.initial, point.mean], [place, place], color=MUTED, linewidth=0.6, zorder=0.5)
    if point.fresh is not None:
        _draw_estimate(axes, point.fresh, place, marker="D", label="on fresh seeds")
    is_faint = point.fresh is not None or not point.is_complete
    _draw_estimate(
        axes,
        _estimate(point),
        place if point.fresh is None else place + BELOW,
        marker="o" if point.is_complete else "X",
        label=_kind(point, has_fresh=has_fresh),
        is_faint=is_faint,
    )


def _kind(point: RankedPoint, *, has_fresh: bool) -> str:
    """Return what the mean of the search is called in the legend."""
    if point.fresh is not None:
        return "the same in the search"
    if not point.is_complete:
        return "not every seed finished"
    return "in the search only" if has_fresh else "mean and 95% interval"


def _draw_estimate(
    axes: "matplotlib.axes.Axes",
    found: MeanEstimate,
    place: float,
    *,
    marker: str,
    label: str,
    is_faint: bool = False,
) -> None:
    """Draw a mean with its interval; faint where another mean of its row counts, or where runs are missing."""
    colour = MUTED if is_faint else SERIES[0]
    if found.low is not None and found.high is not None:
        width = 1.0 if is_faint else 2.2
        axes.plot([found.low, found.high], [place, place], color=colour, linewidth=width, solid_capstyle="butt")
    axes.plot(
        found.mean, place, marker=marker, color=colour, linestyle="none", markersize=4.5 if is_faint else 6, label=label
    )


def _format_axes(axes: "matplotlib.axes.Axes", info: Ranking) -> None:
    """Set scales, labels and grid of the axes."""
    if info.is_log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 3, 5, 7)))
        axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: plain_number(value)))
        axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.set_yticks(range(len(info.points)), [_label(point) for point in info.points])
    for tick, point in zip(axes.get_yticklabels(), info.points, strict=True):
        tick.set_color(INK if point.is_complete else MUTED)
    axes.set_ylim(len(info.points) - 0.4, -0.6)
    axes.set_xlim(shown_range(info))
    axes.set_xlabel(plain_name(info.metric) + (" (log scale)" if info.is_log else ""))
    head_labels(axes, info.label_names)
    axes.xaxis.grid(True)
    axes.tick_params(axis="y", length=0)


def _label(point: RankedPoint) -> str:
    return f"{SELECTED if point.is_selected else ''}{point.label}"


def _order(info: Ranking) -> str:
    """Return in which order the rows are."""
    if info.is_by_setting:
        return f"In the order of {info.label_names[0]}"
    if any(point.fresh is not None for point in info.points):
        return "Best plotted mean at the top, those on fresh seeds first"
    last = ", those that lack seeds last" if any(not point.is_complete for point in info.points) else ""
    return f"Best plotted mean at the top{last}"


def _selection(info: Ranking) -> str:
    """Return by what the search selected, and how what it selected is marked."""
    by = "the validation text, which is not plotted" if info.selects_on_validation else "the means of the search"
    if any(point.is_selected for point in info.points):
        return f" {SELECTED.strip()} was selected, by {by}."
    return f" The search chooses by {by}." if info.selects_on_validation else ""


def _caption(info: Ranking) -> str:
    text = f"{_order(info)}: means over finished seeds with 95% t-intervals.{_selection(info)}"
    text += " The tables have the numbers and tests."
    if any(point.fresh is not None for point in info.points):
        text += " Diamonds: on fresh seeds; the grey mean below is that of the search, which favours what was selected."
    if any(not point.is_complete for point in info.points):
        text += " A grey cross: not every seed finished, some stopped early or diverged."
    if any(is_left_out(line, info) for line in info.lines):
        text += " An arrow: that line lies beyond the axis, at the value given."
    if beyond := sum(_is_beyond(info, point) for point in info.points):
        text += (
            f" A grey arrow: {counted(beyond, noun='configuration')} {'goes' if beyond == 1 else 'go'} on beyond the "
            "axis, which shows what all seeds support; a mean that lies there is written beside it."
        )
    if any(point.low is None for point in info.points):
        text += " No bar: one seed."
    if info.has_several_settings:
        text += " Lines of baselines with several settings: the best."
    if info.hidden:
        text += f" In the tables only: {counted(info.hidden, noun='further configuration')}."
    if info.without_value:
        text += f" Not drawn, without a finished run: {counted(info.without_value, noun='configuration')}."
    return text
