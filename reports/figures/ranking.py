"""The reported metric of every configuration with its interval, with the dense model and the baselines."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib

from nmlab.reports.analysis.configurations import Configuration, baselines, groups_of, searched
from nmlab.reports.analysis.metrics import plain_name
from nmlab.reports.analysis.settings import distinguishing, setting_of, value_text
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
from nmlab.reports.values import counted, wants_log

KEY, TITLE = "ranking", "Configurations side by side"
SHOWN = 30
BELOW = 0.28  # of a row, how far fresh seeds are drawn below those of the search


@dataclass(frozen=True, slots=True)
class RankedPoint:
    """One configuration: its mean, its interval (None for one seed) and the mean of its own initial mask.

    ``initial`` is None where it was measured on another text, ``fresh`` where nothing was run again on fresh seeds.
    """

    key: str
    label: str
    mean: float
    low: float | None
    high: float | None
    initial: float | None
    is_complete: bool
    fresh: MeanEstimate | None = None


@dataclass(frozen=True, slots=True)
class ReferenceLine:
    """The mean of one baseline method at its best setting, next to the points it may be compared with."""

    name: str
    value: float
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Ranking:
    """Points from top to bottom, group by group and best first; baselines as lines next to their group."""

    metric: str
    label_names: tuple[str, ...]
    points: tuple[RankedPoint, ...]
    lines: tuple[ReferenceLine, ...]
    hidden: int
    without_value: int
    is_log: bool
    has_several_settings: bool = False
    selects_on_validation: bool = False


def ranking_of(configurations: Sequence[Configuration], *, shown: int = SHOWN) -> Ranking:
    """Return what the ranking shows: the best ``shown`` configurations, the same number of each group."""
    tried = searched(configurations)
    valued = [item for item in tried if item.value is not None]
    groups = groups_of(valued)
    names = distinguishing(valued)
    points: list[RankedPoint] = []
    lines: list[ReferenceLine] = []
    for group, members in groups.items():
        first = len(points)
        points += [_point(item, names) for item in members[: max(3, shown // len(groups))]]
        others = groups_of(baselines(configurations)).get(group, [])
        lines += _lines(others, first, len(points) - 1)
    lines = [*_lines([item for item in configurations if item.is_dense], 0, len(points) - 1), *lines]
    values = [
        value
        for point in points
        for value in (point.mean, point.initial, None if point.fresh is None else point.fresh.mean)
        if value is not None
    ]
    return Ranking(
        metric=configurations[0].objective.reported,
        label_names=names,
        points=tuple(points),
        lines=tuple(lines),
        hidden=len(valued) - len(points),
        without_value=len(tried) - len(valued),
        has_several_settings=_has_several_settings(baselines(configurations)),
        selects_on_validation=configurations[0].objective.selects_on_validation,
        is_log=wants_log([*values, *(line.value for line in lines)], ratio=10.0),
    )


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
        return saved(figure, key=KEY, title=TITLE, caption=_caption(info))


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
    axes.annotate(
        _label_head(info.label_names),
        xy=(0, 1),
        xycoords="axes fraction",
        xytext=(-4, 3),
        textcoords="offset points",
        ha="right",
        va="bottom",
        color=MUTED,
        fontsize=8,
    )
    axes.xaxis.grid(True)
    axes.tick_params(axis="y", length=0)


def _lines(items: Sequence[Configuration], first: int, last: int) -> list[ReferenceLine]:
    """Return a line for each method, at the configuration that the searched metric selects."""
    best: dict[str, tuple[float, float]] = {}
    for item in items:
        if item.value is not None:
            own = (_loss(item), item.value.mean)
            best[item.method] = min(own, best.get(item.method, own))
    return [ReferenceLine(method, mean, first, last) for method, (_, mean) in best.items()]


def _loss(item: Configuration) -> float:
    """Return the searched metric as a number that is smaller for the better; a model from elsewhere has none."""
    if item.selection is None:
        return math.inf
    return item.selection.mean if item.objective.mode == "min" else -item.selection.mean


def _has_several_settings(items: Sequence[Configuration]) -> bool:
    """Return whether a baseline method was run with several settings in one group of comparable configurations."""
    return any(len({item.method for item in group}) < len(group) for group in groups_of(items).values())


def _label_head(names: Sequence[str]) -> str:
    """Return the names that head the labels, two on each line so that they stay as narrow as the labels."""
    pairs = [" · ".join(names[start : start + 2]) for start in range(0, len(names), 2)]
    return " ·\n".join(pairs)


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


def _point(item: Configuration, names: Sequence[str]) -> RankedPoint:
    value = item.value
    assert value is not None
    initial = None if item.objective.selects_on_validation else item.initial
    return RankedPoint(
        key=item.key,
        label=_label(item, names),
        mean=value.mean,
        low=value.low,
        high=value.high,
        initial=initial.mean if initial else None,
        is_complete=item.is_complete,
        fresh=None if item.fresh_or_own is item else item.fresh_or_own.value,
    )


def _label(item: Configuration, names: Sequence[str]) -> str:
    values = [setting_of(item, name=name) for name in names or ("method",)]
    return " · ".join("–" if value is None else value_text(value) for value in values)
