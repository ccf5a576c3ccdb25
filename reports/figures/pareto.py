"""Quality against cost, one panel for each cost, with the front drawn as a staircase."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib

from nmlab.reports.analysis.budgets import FRONT_COSTS, PEAK, FrontPoint
from nmlab.reports.analysis.configurations import Configuration, group_name
from nmlab.reports.analysis.metrics import plain_name, style_of
from nmlab.reports.analysis.totals import totals_by_method, totals_line
from nmlab.reports.figures.points import IN_WORDS, Spot, listed, thinned
from nmlab.reports.figures.style import (
    DASHES,
    INK,
    MUTED,
    SETTINGS,
    FigureFile,
    look_of,
    new_figure,
    numbers_on_log_axis,
    plain_number,
    saved,
)
from nmlab.reports.read.objective import Objective
from nmlab.reports.values import number_text, wants_log

KEY, TITLE = "pareto", "Quality against cost"
TITLES = {
    "cost/seconds": "seconds of one run",
    "cost/tokens": "tokens of one run",
    "memory/peak_bytes": "peak memory (MiB)",
    "memory/state_bytes": "a trial's own state (MiB)",
}
SCALES = {"memory/peak_bytes": 2.0**-20, "memory/state_bytes": 2.0**-20}
WITH_ZERO = "symlog"
PER_ROW = 2
MOST_POINTS = 300  # of a panel
TELLING = ("cost/seconds", "memory/state_bytes", "cost/tokens", "memory/peak_bytes")  # the first ones if few fit
MOST_ROWS = 6


@dataclass(frozen=True, slots=True)
class Series:
    """The configurations of one method in one panel: cost, quality, what is on the front, what breaks a constraint.

    ``keys`` are the configurations' hashes.
    """

    label: str
    costs: tuple[float, ...]
    values: tuple[float, ...]
    on_front: tuple[bool, ...]
    is_infeasible: tuple[bool, ...] = ()
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """One cost of one group of comparable masks: the series, and the stairs of the front from cheap to expensive.

    ``place`` counts from the upper left; ``group`` is empty where there is only one.
    """

    place: int
    cost: str
    group: str
    series: tuple[Series, ...]
    stairs: tuple[tuple[float, float], ...]
    is_log: bool


@dataclass(frozen=True, slots=True)
class ParetoPanels:
    """The panels, or the reason why there are none; labels are the same in each.

    ``undrawn`` groups had no room. ``totals`` is the cost of all runs; the panels show complete configurations only.
    ``points`` counts all of these, of which a panel draws about 300 at most. ``has_equal_peaks`` is set where peaks of
    memory were recorded and differ by no more than their noise.
    ``selects_on_validation`` is set where another text than the drawn one decides what is on the front.
    """

    metric: str
    labels: tuple[str, ...]
    panels: tuple[Panel, ...]
    is_log: bool
    undrawn: tuple[str, ...] = ()
    skipped: str = ""
    totals: str = ""
    selects_on_validation: bool = False
    points: int = 0
    has_equal_peaks: bool = False


def pareto_panels(
    points: Sequence[FrontPoint], *, objective: Objective, configurations: Sequence[Configuration] = ()
) -> ParetoPanels:
    """Return a panel for each cost of which there is a front; with several groups, a row of two for each.

    Args:
        points: complete configurations with their costs.
        objective: the metrics that select and that are reported.
        configurations: all of the launch, for the total cost in the caption.
    """
    groups: dict[tuple[str, ...], list[FrontPoint]] = {}
    for point in points:
        groups.setdefault(point.group, []).append(point)
    several = len(groups) > 1
    there = [cost for cost in (TELLING if several else FRONT_COSTS) if any(cost in point.costs for point in points)]
    if not there:
        return ParetoPanels(
            objective.reported, (), (), is_log=False, skipped="no cost differs between comparable masks"
        )
    drawn = dict(list(groups.items())[:MOST_ROWS])
    costs = there[:PER_ROW] if several else there
    panels = [
        _panel(row * PER_ROW + column, cost, members, group=group_name(group, groups=groups))
        for row, (group, members) in enumerate(drawn.items())
        for column, cost in enumerate(costs)
        if any(cost in point.costs for point in members)
    ]
    return ParetoPanels(
        objective.reported,
        labels=tuple(dict.fromkeys(point.item.method for members in drawn.values() for point in members)),
        panels=tuple(panels),
        is_log=wants_log([point.value.mean for point in points], ratio=10.0),
        undrawn=tuple(group_name(group, groups=groups) for group in groups if group not in drawn),
        totals=f"{totals_line(configurations)} {totals_by_method(configurations)}".strip(),
        selects_on_validation=objective.selects_on_validation,
        points=max(map(len, drawn.values())),
        has_equal_peaks=PEAK not in there and any(point.item.estimate(PEAK) is not None for point in points),
    )


def draw_pareto(info: ParetoPanels) -> FigureFile:
    """Draw the panels two by two; filled markers are on the front."""
    if info.skipped:
        return FigureFile(KEY, TITLE, "", skipped=info.skipped)
    last = max(panel.place for panel in info.panels)
    rows, columns = last // PER_ROW + 1, min(PER_ROW, last + 1)
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(0.7 + 2.9 * rows)
        spots: list[Spot] = []
        for panel in info.panels:
            axes = figure.add_subplot(rows, columns, panel.place + 1)
            _draw_panel(axes, panel, info)
            spots += [_spot(axes, panel, series, place, info.metric) for series, place in _points(panel)]
        for index, label in enumerate(info.labels):
            colour, marker, _ = look_of(index)
            figure.axes[0].plot([], [], color=colour, marker=marker, markersize=6, linestyle="none", label=label)
        figure.legend(loc="outside upper left", ncols=6, fontsize=8.5)
        alternative = listed([_in_words(panel) for panel in info.panels])
        return saved(figure, key=KEY, title=TITLE, caption=_caption(info), alternative=alternative, spots=spots)


def _points(panel: Panel) -> list[tuple[Series, int]]:
    return [(series, place) for series in panel.series for place in range(len(series.keys))]


def _spot(axes: "matplotlib.axes.Axes", panel: Panel, series: Series, place: int, metric: str) -> Spot:
    cost, value = series.costs[place], series.values[place]
    on_front = ", on the front" if series.on_front[place] else ""
    text = f"{plain_name(metric)} {number_text(value, style=style_of(metric))}, {TITLES[panel.cost]} {cost:.4g}"
    return Spot(axes, ((cost, value),), text + on_front, series.keys[place])


def _in_words(panel: Panel) -> str:
    """Return the stairs of a front: what each cost reaches."""
    stairs = ", ".join(f"{value:.4g} at {cost:.4g}" for cost, value in panel.stairs[:IN_WORDS])
    return f"Front by {TITLES[panel.cost]}{f' at {panel.group}' if panel.group else ''}: {stairs}"


def _panel(place: int, cost: str, points: Sequence[FrontPoint], *, group: str) -> Panel:
    scale = SCALES.get(cost, 1.0)
    everything = [point for point in points if cost in point.costs]
    first = [at for at, point in enumerate(everything) if cost in point.on_front]
    shown = thinned(range(len(everything)), kept=first, most=MOST_POINTS)
    known = [everything[at] for at in shown]
    methods: dict[str, list[FrontPoint]] = {}
    for point in known:
        methods.setdefault(point.item.method, []).append(point)
    series = tuple(
        Series(
            label,
            tuple(point.costs[cost] * scale for point in members),
            tuple(point.value.mean for point in members),
            tuple(cost in point.on_front for point in members),
            tuple(point.item.breaks_constraint for point in members),
            tuple(point.item.key for point in members),
        )
        for label, members in methods.items()
    )
    stairs = sorted((point.costs[cost] * scale, point.value.mean) for point in known if cost in point.on_front)
    is_log = wants_log([value for item in series for value in item.costs if value > 0], ratio=20.0)
    return Panel(place, cost, group, series, tuple(stairs), is_log)


def _draw_panel(axes: "matplotlib.axes.Axes", panel: Panel, info: ParetoPanels) -> None:
    axes.step(
        [cost for cost, _ in panel.stairs],
        [value for _, value in panel.stairs],
        where="post",
        color=MUTED,
        linewidth=1.0,
        linestyle=DASHES[1],
        zorder=1,
    )
    for series in panel.series:
        colour, marker, _ = look_of(info.labels.index(series.label))
        axes.scatter(
            series.costs,
            series.values,
            s=34,
            marker=marker,
            facecolors=[colour if is_on else "none" for is_on in series.on_front],
            edgecolors=colour,
            linewidths=1.3,
            zorder=2,
        )
        crossed = [place for place, is_infeasible in enumerate(series.is_infeasible) if is_infeasible]
        if crossed:
            costs, values = ([numbers[place] for place in crossed] for numbers in (series.costs, series.values))
            axes.scatter(costs, values, s=60, marker="x", color=colour, linewidths=1.3, zorder=3)
    axes.set_title(panel.group, loc="left")
    _scale(axes, panel, info)


def _scale(axes: "matplotlib.axes.Axes", panel: Panel, info: ParetoPanels) -> None:
    costs = [cost for series in panel.series for cost in series.costs]
    if panel.is_log:
        positive = [cost for cost in costs if cost > 0]
        if min(costs) > 0:
            numbers_on_log_axis(axes, axis="x")
        else:
            axes.set_xscale(WITH_ZERO, linthresh=min(positive), linscale=1.0)
            axes.xaxis.set_major_locator(matplotlib.ticker.FixedLocator(_ticks_with_zero(positive)))
            axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: plain_number(value)))
    else:
        axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: plain_number(value)))
    if info.is_log:
        numbers_on_log_axis(axes, axis="y")
    axes.set_xlabel(TITLES[panel.cost] + (" (log scale)" if panel.is_log else ""), color=INK)
    axes.set_ylabel(plain_name(info.metric))
    axes.grid(True)
    axes.set_axisbelow(True)


def _ticks_with_zero(positive: Sequence[float]) -> list[float]:
    """Return zero and the decades from the smallest positive cost on: those below lie where the axis is linear."""
    first, last = math.ceil(math.log10(min(positive))), math.floor(math.log10(max(positive)))
    return [0.0, *(10.0**decade for decade in range(first, last + 1))]


def _caption(info: ParetoPanels) -> str:
    text = (
        "Every complete configuration, means over seeds. Filled: no comparable configuration is both cheaper and "
        "better, by these means and without a test. Dashed: the best mean for at most that cost."
    )
    if any(any(series.is_infeasible) for panel in info.panels for series in panel.series):
        text += " Crossed: it breaks a constraint of the search, and is on no front."
    if info.selects_on_validation:
        text += " The means on validation text decide what is filled; drawn are those on the evaluation text."
    if info.points > MOST_POINTS:
        text += f" Of {info.points:,} points about {MOST_POINTS} are drawn: the fronts, and others at even distances."
    if info.has_equal_peaks:
        text += " Peak memory is not drawn: it is that of the whole process, and differs by no more than its noise."
    undrawn = f"Not drawn: {'; '.join(info.undrawn)}." if info.undrawn else ""
    return " ".join(part for part in (text, info.totals, undrawn) if part)
