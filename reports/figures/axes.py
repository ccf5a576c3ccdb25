"""Places of a setting's values on an axis: always by value, with ticks where their texts have room."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib

from nmlab.reports.analysis.settings import value_text
from nmlab.reports.analysis.space.importance import LOG_RATIO
from nmlab.reports.figures.style import INK, MUTED, numbers_on_log_axis
from nmlab.reports.read.typed_text import Value
from nmlab.reports.values import wants_log

LOG = "log scale"
FEW_VALUES = 12  # up to as many different values have ticks of their own
CHARACTER = 0.03  # of a panel's width, what a character of a tick takes
GAP = 0.03
MARGIN, TEXT_MARGIN = 0.08, 0.25


class SettingAxis(NamedTuple):
    """The places of values on an axis, its ticks, values that are marked without a text, and the name of its scale."""

    places: list[float]
    ticks: tuple[tuple[float, str], ...]
    marked: tuple[float, ...] = ()
    scale: str = ""


def axis_of(values: Sequence[Value]) -> SettingAxis:
    """Return the places of values: numbers by value, on a log scale where they spread far; text in even steps.

    A few different numbers have ticks of their own; where two texts would overlap, the value in between is marked only.
    """
    if any(isinstance(value, str) for value in values):
        kinds = sorted({str(value) for value in values})
        return SettingAxis([float(kinds.index(str(value))) for value in values], tuple(enumerate(kinds)))
    numbers = [float(value) for value in values]
    different, is_log = sorted(set(numbers)), wants_log(numbers, ratio=LOG_RATIO)
    scale = LOG if is_log else ""
    if len(different) > FEW_VALUES:
        return SettingAxis(numbers, (), scale=scale)
    shares = shares_of(different, is_log=is_log)
    kept = with_room([(share, value_text(value)) for share, value in zip(shares, different, strict=True)])
    ticks = tuple((different[place], value_text(different[place])) for place in kept)
    return SettingAxis(numbers, ticks, tuple(different), scale)


def shares_of(values: Sequence[float], *, is_log: bool) -> list[float]:
    """Return the places of sorted values as shares of their range, from 0 to 1."""
    scaled = [math.log(value) for value in values] if is_log else list(values)
    whole = scaled[-1] - scaled[0]
    return [(value - scaled[0]) / whole if whole else 0.5 for value in scaled]


def with_room(texts: Sequence[tuple[float, str]], *, character: float = CHARACTER, gap: float = GAP) -> tuple[int, ...]:
    """Return which texts at sorted places (shares of an axis) do not overlap: the first, the last, those between.

    Args:
        texts: the middle of each text, and the text.
        character: the size of one character along the axis; 0 for texts across it.
        gap: what is left free between two.
    """

    def fits(left: int, right: int) -> bool:
        (at, text), (beside, other) = texts[left], texts[right]
        return beside - at >= character * (len(text) + len(other)) / 2 + gap

    kept = [0]
    for place in range(1, len(texts)):
        if fits(kept[-1], place):
            kept.append(place)
    last = len(texts) - 1
    if kept[-1] != last:
        while len(kept) > 1 and not fits(kept[-1], last):
            kept.pop()
        kept += [last] if fits(kept[-1], last) else []
    return tuple(kept)


def format_axis(axes: "matplotlib.axes.Axes", *, name: str, axis: SettingAxis) -> None:
    """Set scale, ticks, label and grid of the x axis of a panel."""
    if axis.scale == LOG:
        numbers_on_log_axis(axes, axis="x")
    if axis.ticks:
        axes.set_xticks([at for at, _ in axis.ticks], [text for _, text in axis.ticks])
        axes.xaxis.set_minor_locator(matplotlib.ticker.FixedLocator(axis.marked))
        axes.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    is_text = bool(axis.ticks) and not axis.marked
    if is_text and len(axis.ticks) > 2 and any(len(text) > 6 for _, text in axis.ticks):
        axes.tick_params(axis="x", labelrotation=30)
    axes.margins(x=TEXT_MARGIN if is_text else MARGIN)
    axes.set_xlabel(name + (f" ({axis.scale})" if axis.scale else ""), color=INK)
    axes.yaxis.grid(True)
    axes.set_axisbelow(True)


def head_labels(axes: "matplotlib.axes.Axes", names: Sequence[str]) -> None:
    """Write above the labels of rows the names of their values, two on each line so that they stay as narrow."""
    pairs = [" · ".join(names[start : start + 2]) for start in range(0, len(names), 2)]
    axes.annotate(
        " ·\n".join(pairs),
        xy=(0, 1),
        xycoords="axes fraction",
        xytext=(-4, 3),
        textcoords="offset points",
        ha="right",
        va="bottom",
        color=MUTED,
        fontsize=8,
    )
