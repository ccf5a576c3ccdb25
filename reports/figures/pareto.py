"""Quality against cost, one panel a cost, with the front drawn as a staircase."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import matplotlib

from nmlab.reports.budgets import FRONT_COSTS, FrontPoint
from nmlab.reports.collect import Objective
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
    wants_log,
)
from nmlab.reports.metrics import plain_name

KEY, TITLE = "pareto", "Quality against cost"
TITLES = {
    "cost/seconds": "seconds of one run",
    "cost/tokens": "tokens of one run",
    "memory/peak_bytes": "peak memory (MiB)",
    "memory/state_bytes": "a trial's own state (MiB)",
}
SCALES = {"memory/peak_bytes": 2.0**-20, "memory/state_bytes": 2.0**-20}
WITH_ZERO = "symlog"


@dataclass(frozen=True, slots=True)
class Series:
    """The configurations of one method and pattern in one panel: cost and quality, and which stand on the front."""

    label: str
    costs: tuple[float, ...]
    values: tuple[float, ...]
    on_front: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One cost: the series, and the stairs of each pattern's front as (cost, value) from cheap to dear."""

    cost: str
    series: tuple[Series, ...]
    stairs: tuple[tuple[tuple[float, float], ...], ...]
    is_log: bool


@dataclass(frozen=True, slots=True)
class ParetoInfo:
    """The panels, or the reason why there are none; labels are the same in each."""

    metric: str
    labels: tuple[str, ...]
    panels: tuple[Panel, ...]
    is_log: bool
    skipped: str = ""


def pareto_info(points: Sequence[FrontPoint], *, objective: Objective) -> ParetoInfo:
    """Return one panel for each cost of which there is a front."""
    several = len({point.group for point in points}) > 1
    groups: dict[str, list[FrontPoint]] = {}
    for point in points:
        label = f"{point.item.method} {point.item.pattern}" if several else point.item.method
        groups.setdefault(label, []).append(point)
    panels = [_panel(cost, groups, points) for cost in FRONT_COSTS if any(cost in point.costs for point in points)]
    if not panels:
        return ParetoInfo(objective.metric, (), (), is_log=False, skipped="no cost differs between comparable masks")
    values = [point.value.mean for point in points]
    return ParetoInfo(objective.metric, tuple(groups), tuple(panels), is_log=wants_log(values, ratio=10.0))


def draw_pareto(info: ParetoInfo) -> FigureFile:
    """Draw the panels two by two; filled markers stand on the front."""
    if info.skipped:
        return FigureFile(KEY, TITLE, "", skipped=info.skipped)
    rows = (len(info.panels) + 1) // 2
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(0.7 + 2.9 * rows)
        shape = (rows, min(2, len(info.panels)))
        for place, panel in enumerate(info.panels):
            axes = figure.add_subplot(*shape, place + 1)
            _draw_panel(axes, panel, info, is_first=place == 0)
        figure.legend(loc="outside upper left", ncols=5, fontsize=8.5)
        return saved(figure, key=KEY, title=TITLE, caption=_caption())


def _panel(cost: str, groups: dict[str, list[FrontPoint]], points: Sequence[FrontPoint]) -> Panel:
    scale = SCALES.get(cost, 1.0)
    series = []
    for label, members in groups.items():
        known = [point for point in members if cost in point.costs]
        series.append(
            Series(
                label,
                tuple(point.costs[cost] * scale for point in known),
                tuple(point.value.mean for point in known),
                tuple(cost in point.on_front for point in known),
            )
        )
    stairs: dict[Hashable, list[tuple[float, float]]] = {}
    for point in points:
        if cost in point.on_front:
            stairs.setdefault(point.group, []).append((point.costs[cost] * scale, point.value.mean))
    spread = [value for item in series for value in item.costs]
    is_log = wants_log([value for value in spread if value > 0], ratio=20.0)
    return Panel(cost, tuple(series), tuple(tuple(sorted(line)) for line in stairs.values()), is_log)


def _draw_panel(axes: "matplotlib.axes.Axes", panel: Panel, info: ParetoInfo, *, is_first: bool) -> None:
    for line in panel.stairs:
        axes.step(
            [cost for cost, _ in line],
            [value for _, value in line],
            where="post",
            color=MUTED,
            linewidth=1.0,
            linestyle=DASHES[1],
            zorder=1,
        )
    for series in panel.series:
        colour, marker, _ = look_of(info.labels.index(series.label))
        faces = [colour if is_on else "none" for is_on in series.on_front]
        axes.scatter(
            series.costs,
            series.values,
            s=34,
            marker=marker,
            facecolors=faces,
            edgecolors=colour,
            linewidths=1.3,
            zorder=2,
        )
        if is_first:
            axes.plot([], [], color=colour, marker=marker, markersize=6, linestyle="none", label=series.label)
    _scale(axes, panel, info)


def _scale(axes: "matplotlib.axes.Axes", panel: Panel, info: ParetoInfo) -> None:
    costs = [cost for series in panel.series for cost in series.costs]
    if panel.is_log:
        positive = [cost for cost in costs if cost > 0]
        if min(costs) > 0:
            numbers_on_log_axis(axes, axis="x")
        else:
            axes.set_xscale(WITH_ZERO, linthresh=min(positive), linscale=1.0)
    else:
        axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: plain_number(value)))
    if info.is_log:
        numbers_on_log_axis(axes, axis="y")
    axes.set_xlabel(TITLES[panel.cost] + (" (log scale)" if panel.is_log else ""), color=INK)
    axes.set_ylabel(plain_name(info.metric))
    axes.grid(True)
    axes.set_axisbelow(True)


def _caption() -> str:
    return (
        "Every complete configuration, means over seeds. Filled: nothing of the same pattern is both cheaper and "
        "better; dashed: the best that can be had for at most that cost."
    )
