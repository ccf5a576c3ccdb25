"""Quality by a setting that several methods share, such as the number of samples: one line for each method."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib

from nmlab.reports.analysis.configurations import ATTRIBUTES, Configuration, best_of, groups_of, setting_of
from nmlab.reports.analysis.metrics import plain_name
from nmlab.reports.figures.axes import axis_of, format_axis
from nmlab.reports.figures.style import (
    INK,
    SETTINGS,
    FigureFile,
    look_of,
    new_figure,
    numbers_on_log_axis,
    saved,
)
from nmlab.reports.values import wants_log
from nmlab.reports.read.frame import Value
from nmlab.reports.statistics import MeanEstimate

KEY, TITLE = "by_setting", "Methods by a setting"
FEWEST = 2  # methods of a panel, and values of a method


@dataclass(frozen=True, slots=True)
class MethodLine:
    """One method: the means of its best configuration at each value, with their places on the axis, left to right."""

    method: str
    places: tuple[float, ...]
    values: tuple[MeanEstimate, ...]


@dataclass(frozen=True, slots=True)
class SettingPanel:
    """One setting that several methods vary."""

    name: str
    lines: tuple[MethodLine, ...]
    ticks: tuple[tuple[float, str], ...]
    scale: str


@dataclass(frozen=True, slots=True)
class BySettingInfo:
    """Panels of the largest group of comparable configurations, or why there are none."""

    metric: str
    pattern: str
    methods: tuple[str, ...]
    panels: tuple[SettingPanel, ...]
    is_log: bool = False
    skipped: str = ""


def by_setting_info(configurations: Sequence[Configuration]) -> BySettingInfo:
    """Return a panel for each setting of which two or more methods, searched or not, share two or more values."""
    objective = configurations[0].objective
    groups = groups_of(item for item in configurations if item.is_complete and item.value is not None)
    members = max(groups.values(), key=len, default=[])
    names = dict.fromkeys(name for item in members for name in item.settings)
    found = [(name, _best(members, name)) for name in names if name not in ATTRIBUTES]
    panels = tuple(_panel(name, best) for name, best in found if len(best) >= FEWEST)
    if not panels:
        return BySettingInfo(objective.metric, "", (), (), skipped="no two methods share two values of a setting")
    means = [value.mean for panel in panels for line in panel.lines for value in line.values]
    methods = dict.fromkeys(line.method for panel in panels for line in panel.lines)
    is_log = wants_log(means, ratio=5.0)
    return BySettingInfo(objective.metric, members[0].pattern, tuple(methods), panels, is_log)


def draw_by_setting(info: BySettingInfo) -> FigureFile:
    """Draw the panels side by side, two a row, with intervals where there are some."""
    if info.skipped:
        return FigureFile(KEY, TITLE, "", skipped=info.skipped)
    rows, columns = -(-len(info.panels) // 2), min(2, len(info.panels))
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(0.6 + 3.4 * rows)
        for place, panel in enumerate(info.panels):
            axes = figure.add_subplot(rows, columns, place + 1)
            _draw_panel(axes, panel, info)
            if place % columns == 0:
                axes.set_ylabel(plain_name(info.metric))
        for index, method in enumerate(info.methods):
            colour, marker, dashes = look_of(index)
            figure.axes[0].plot([], [], color=colour, marker=marker, linestyle=dashes, markersize=5, label=method)
        figure.legend(loc="outside upper left", ncols=6, labelcolor=INK, fontsize=8.5)
        return saved(figure, key=KEY, title=TITLE, caption=_caption(info))


def _best(members: Sequence[Configuration], name: str) -> dict[str, dict[Value, Configuration]]:
    """Return the best configuration at each value, by method, for methods that share several values with others.

    Random numbers that a search draws separately for each method are not shared.
    """
    found: dict[str, dict[Value, list[Configuration]]] = {}
    for item in members:
        value = setting_of(item, name=name)
        if value is not None:
            found.setdefault(item.method, {}).setdefault(value, []).append(item)
    best = {
        method: {value: first for value, items in own.items() if (first := best_of(_best_first(items))) is not None}
        for method, own in found.items()
    }
    users = Counter(value for own in best.values() for value in own)
    return {method: own for method, own in best.items() if sum(users[value] > 1 for value in own) >= FEWEST}


def _best_first(items: Sequence[Configuration]) -> list[Configuration]:
    sign = 1.0 if items[0].objective.mode == "min" else -1.0
    return sorted(items, key=lambda item: sign * item.value.mean if item.value is not None else 0.0)


def _panel(name: str, best: dict[str, dict[Value, Configuration]]) -> SettingPanel:
    values = list(dict.fromkeys(value for own in best.values() for value in own))
    axis = axis_of(values)
    place = dict(zip(values, axis.places, strict=True))
    lines = []
    for method, own in best.items():
        points = sorted((place[value], item.value) for value, item in own.items() if item.value is not None)
        lines.append(MethodLine(method, tuple(at for at, _ in points), tuple(mean for _, mean in points)))
    return SettingPanel(name, tuple(lines), axis.ticks, axis.scale)


def _draw_panel(axes: "matplotlib.axes.Axes", panel: SettingPanel, info: BySettingInfo) -> None:
    for line in panel.lines:
        colour, marker, dashes = look_of(info.methods.index(line.method))
        means = [value.mean for value in line.values]
        axes.plot(line.places, means, color=colour, marker=marker, linestyle=dashes, markersize=5, linewidth=1.5)
        for place, value in zip(line.places, line.values, strict=True):
            if value.low is not None and value.high is not None:
                axes.plot([place, place], [value.low, value.high], color=colour, linewidth=0.8)
    if info.is_log:
        numbers_on_log_axis(axes, axis="y")
    format_axis(axes, name=panel.name, ticks=panel.ticks, scale=panel.scale)


def _caption(info: BySettingInfo) -> str:
    text = f"The best complete configuration of each method at each value, at {info.pattern}: means over seeds"
    values = [value for panel in info.panels for line in panel.lines for value in line.values]
    return text + (" with their 95% t-interval." if any(value.low is not None for value in values) else ".")
