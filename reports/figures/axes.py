"""Places of a setting's values on an axis: by value, or in even steps where ticks would overlap."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import matplotlib

from nmlab.reports.analysis.settings import value_text
from nmlab.reports.analysis.space.importance import LOG_RATIO
from nmlab.reports.figures.style import INK, numbers_on_log_axis
from nmlab.reports.read.typed_text import Value
from nmlab.reports.values import wants_log

LOG, EVEN = "log scale", "even steps"
FEW_VALUES = 12  # up to half as many different values are ticked one by one
TICK_ROOM = 0.1  # of a panel's width, what the text of a tick takes


class SettingAxis(NamedTuple):
    """The places of values on an axis, its ticks, and the name of its scale."""

    places: list[float]
    ticks: tuple[tuple[float, str], ...]
    scale: str = ""


def axis_of(values: Sequence[Value]) -> SettingAxis:
    """Return the places of values: by value, or in even steps for text and for numbers whose ticks would overlap."""
    if any(isinstance(value, str) for value in values):
        kinds = sorted({str(value) for value in values})
        return SettingAxis([float(kinds.index(str(value))) for value in values], tuple(enumerate(kinds)))
    numbers = [float(value) for value in values]
    different, is_log = sorted(set(numbers)), wants_log(numbers, ratio=LOG_RATIO)
    ticks = tuple((value, value_text(value)) for value in different) if len(different) <= FEW_VALUES // 2 else ()
    if ticks and _are_crowded(different, is_log=is_log):
        steps = tuple((float(place), text) for place, (_, text) in enumerate(ticks))
        return SettingAxis([float(different.index(number)) for number in numbers], steps, EVEN)
    return SettingAxis(numbers, ticks, LOG if is_log else "")


def format_axis(axes: "matplotlib.axes.Axes", *, name: str, ticks: Sequence[tuple[float, str]], scale: str) -> None:
    """Set scale, ticks, label and grid of the x axis of a panel."""
    if scale == LOG:
        numbers_on_log_axis(axes, axis="x")
    if ticks:
        axes.set_xticks([at for at, _ in ticks], [text for _, text in ticks])
        axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    if any(len(text) > 6 for _, text in ticks) and len(ticks) > 2:
        axes.tick_params(axis="x", labelrotation=30)
    axes.margins(x=0.12)
    axes.set_xlabel(name + (f" ({scale})" if scale else ""), color=INK)
    axes.yaxis.grid(True)
    axes.set_axisbelow(True)


def _are_crowded(values: Sequence[float], *, is_log: bool) -> bool:
    """Return whether the ticks of two neighbours among sorted values would overlap."""
    scaled = [math.log(value) for value in values] if is_log else list(values)
    return any(above - below < TICK_ROOM * (scaled[-1] - scaled[0]) for below, above in pairwise(scaled))
