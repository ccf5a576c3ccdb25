"""Parallel coordinates: every configuration as a line through its hyperparameters to its result."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np

from nmlab.reports.analysis.configurations import Configuration, searched
from nmlab.reports.analysis.metrics import plain_name
from nmlab.reports.analysis.settings import distinguishing, setting_of, value_text
from nmlab.reports.analysis.space.importance import LOG_RATIO
from nmlab.reports.figures.axes import with_room
from nmlab.reports.figures.points import Spot, listed, mean_text
from nmlab.reports.figures.style import (
    INK,
    LEVELS,
    MUTED,
    PAPER,
    SETTINGS,
    FigureFile,
    new_figure,
    saved,
)
from nmlab.reports.read.typed_text import Value
from nmlab.reports.statistics import MeanEstimate
from nmlab.reports.values import counted, wants_log

KEY, TITLE = "parallel_coordinates", "Parallel coordinates"
MOST_LINES = 300
MOST_OWN_TICKS = 6  # the most different numbers with a tick each
TICK_ROOM = 0.06  # the height of a tick's text, as a share of the axis
UNUSED = (-0.1, "not used")  # place and tick of a configuration that lacks the setting


@dataclass(frozen=True, slots=True)
class Axis:
    """One vertical axis: places of its ticks from 0 (bottom) to 1 (top), their texts, and the name of its scale."""

    name: str
    ticks: tuple[tuple[float, str], ...]
    scale: str = ""


@dataclass(frozen=True, slots=True)
class ConfigurationLine:
    """One configuration: its place on each axis (None: it has no result), its quality, 0 best to 1, and its result."""

    key: str
    places: tuple[float | None, ...]
    quality: float | None
    mean: MeanEstimate | None = None


@dataclass(frozen=True, slots=True)
class ParallelCoordinates:
    """Axes from left to right, the metric last with its best value at the top, or why there are none."""

    axes: tuple[Axis, ...]
    lines: tuple[ConfigurationLine, ...]
    metric: str
    without_value: int
    skipped: str = ""


def parallel_coordinates(configurations: Sequence[Configuration]) -> ParallelCoordinates:
    """Return the places of every searched configuration on the axes of the settings that vary."""
    tried = searched(configurations)
    metric = configurations[0].objective.metric
    names = distinguishing(tried)
    valued = [item for item in tried if item.selection is not None]
    if not names or len(valued) < 2:
        reason = "nothing varied between the configurations" if not names else "fewer than two configurations finished"
        return ParallelCoordinates((), (), metric, 0, skipped=reason)
    axes, columns = [], []
    for name in names:
        axis, places = setting_axis(name, values=[setting_of(item, name=name) for item in tried])
        axes.append(axis)
        columns.append(places)
    axis, metric_places = _metric_axis(tried)
    lines = tuple(
        ConfigurationLine(
            item.key,
            (*(column[index] for column in columns), place),
            None if place is None else 1 - place,
            item.selection,
        )
        for index, (item, place) in enumerate(zip(tried, metric_places, strict=True))
    )
    return ParallelCoordinates((*axes, axis), lines, metric, len(tried) - len(valued))


def setting_axis(name: str, *, values: Sequence[Value | None]) -> tuple[Axis, list[float]]:
    """Return the axis of one setting and each value's place on it, below the axis where there is no value.

    Text is spread evenly in sorted order. Numbers are placed by value, on a log scale where they spread over a
    factor of 20. Up to six different numbers have a tick each, as far as the ticks do not overlap; more numbers have
    round ticks.
    """
    present = [value for value in values if value is not None]
    if any(isinstance(value, str) for value in present):
        kinds = sorted({str(value) for value in present})
        at = {kind: (index + 0.5) / len(kinds) for index, kind in enumerate(kinds)}
        axis = Axis(name, tuple((at[kind], kind) for kind in kinds))
        places = [None if value is None else at[str(value)] for value in values]
    else:
        numbers = [None if value is None else float(value) for value in values]
        axis, places = _number_axis(name, numbers, has_own_ticks=True)
    if None in places:
        axis = Axis(name, (UNUSED, *axis.ticks), axis.scale)
    return axis, [UNUSED[0] if place is None else place for place in places]


def draw_parallel(info: ParallelCoordinates) -> FigureFile:
    """Draw the lines, worst first so that the best lie on top."""
    if info.skipped:
        return FigureFile(KEY, TITLE, "", skipped=info.skipped)
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(4.0)
        axes = figure.add_subplot()
        shown = shown_lines(info.lines)
        for line in reversed(shown):
            _draw_line(axes, line)
        for index, axis in enumerate(info.axes):
            _draw_axis(axes, axis, index, is_last=index == len(info.axes) - 1)
        axes.set_xlim(-0.35, len(info.axes) - 0.55)
        lowest = min(place for line in info.lines for place in line.places if place is not None)
        axes.set_ylim(min(lowest, 0.0) - 0.04, 1.18)
        axes.axis("off")
        spots = [Spot(axes, _points(line), _text(line, info.metric), line.key) for line in shown]
        alternative = f"{len(shown)} lines over {listed([axis.name for axis in info.axes])}"
        return saved(figure, key=KEY, title=TITLE, caption=_caption(info), alternative=alternative, spots=spots)


def _text(line: ConfigurationLine, metric: str) -> str:
    return "without a finished run" if line.mean is None else mean_text(line.mean, metric=metric)


def _points(line: ConfigurationLine) -> list[tuple[float, float]]:
    return [(float(index), place) for index, place in enumerate(line.places) if place is not None]


def shown_lines(lines: Sequence[ConfigurationLine], *, most: int = MOST_LINES) -> list[ConfigurationLine]:
    """Return the lines to draw, best first: all, or of very many the best and others at even distances."""
    ordered = sorted(lines, key=lambda line: 2.0 if line.quality is None else line.quality)
    if len(ordered) <= most:
        return ordered
    best = most // 3
    step = -(-(len(ordered) - best) // (most - best))
    return [*ordered[:best], *ordered[best::step]]


def _draw_line(axes: "matplotlib.axes.Axes", line: ConfigurationLine) -> None:
    points = _points(line)
    across, up = [index for index, _ in points], [place for _, place in points]
    if line.quality is None:
        axes.plot(across, up, color=MUTED, linewidth=1.0, linestyle=(0, (2, 2)), zorder=1)
        return
    level = min(int(line.quality * len(LEVELS)), len(LEVELS) - 1)
    axes.plot(across, up, color=LEVELS[level], linewidth=2.2 - 1.1 * line.quality, zorder=3 - line.quality)


def _draw_axis(axes: "matplotlib.axes.Axes", axis: Axis, index: int, *, is_last: bool) -> None:
    axes.plot([index, index], [0, 1], color=MUTED, linewidth=1.0, zorder=4)
    axes.text(index, 1.13, axis.name, ha="center", va="baseline", color=INK, fontsize=9)
    if axis.scale:
        axes.text(index, 1.065, f"({axis.scale})", ha="center", va="baseline", color=MUTED, fontsize=8)
    for place, text in axis.ticks:
        shift = 0.025 if is_last else -0.025
        axes.plot([index, index + shift / 2], [place, place], color=MUTED, linewidth=1.0, zorder=4)
        axes.text(
            index + shift,
            place,
            text,
            ha="left" if is_last else "right",
            va="center",
            color=INK,
            fontsize=8.5,
            zorder=5,
            bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 1.0},
        )


def _number_axis(name: str, values: Sequence[float | None], *, has_own_ticks: bool) -> tuple[Axis, list[float | None]]:
    """Place numbers on an axis by value; with own ticks, a few different numbers have those that do not overlap."""
    present = sorted({value for value in values if value is not None})
    is_log = wants_log(present, ratio=LOG_RATIO)

    def place(value: float) -> float:
        low, high, own = (np.log(item) if is_log else item for item in (present[0], present[-1], value))
        return 0.5 if high == low else float((own - low) / (high - low))

    few = has_own_ticks and len(present) <= MOST_OWN_TICKS
    ticks = present if few else _round_ticks(present[0], present[-1], is_log)
    texts = [(place(tick), value_text(tick)) for tick in ticks]
    if few:
        texts = [texts[kept] for kept in with_room(texts, character=0.0, gap=TICK_ROOM)]
    axis = Axis(name, tuple(texts), "log" if is_log else "")
    return axis, [None if value is None else place(value) for value in values]


def _round_ticks(low: float, high: float, is_log: bool) -> list[float]:
    """Return round numbers between two values."""
    locator = (
        matplotlib.ticker.LogLocator(subs=(1, 2, 5))
        if is_log
        else matplotlib.ticker.MaxNLocator(6, steps=[1, 2, 2.5, 5, 10])
    )
    return [float(tick) for tick in locator.tick_values(low, high) if low <= tick <= high]


def _metric_axis(tried: Sequence[Configuration]) -> tuple[Axis, list[float | None]]:
    """Return the metric's axis with the best value at the top."""
    objective = tried[0].objective
    means = [item.selection.mean if item.selection is not None else None for item in tried]
    axis, places = _number_axis(plain_name(objective.metric), means, has_own_ticks=False)
    if objective.mode == "max":
        return axis, places
    ticks = tuple((1 - place, text) for place, text in axis.ticks)
    return Axis(axis.name, ticks, axis.scale), [None if place is None else 1 - place for place in places]


def _caption(info: ParallelCoordinates) -> str:
    text = (
        f"One line per configuration (mean over seeds), best {plain_name(info.metric)} at the top of the last axis; "
        "thicker and, on paper, darker lines are better."
    )
    drawn = len(shown_lines(info.lines))
    if drawn < len(info.lines):
        text += f" Of {len(info.lines):,} lines {drawn} are drawn: the best, and others at even distances."
    if info.without_value:
        text += f" Dashed: {counted(info.without_value, noun='configuration')} without a finished run."
    return text
