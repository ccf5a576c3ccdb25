"""The range of the axis of the ranking, the lines of baselines with their names, and what lies beyond the axis."""

import math

import matplotlib

from nmlab.reports.analysis.metrics import style_of
from nmlab.reports.analysis.ranking import Ranking, ReferenceLine
from nmlab.reports.figures.style import method_look
from nmlab.reports.values import number_text

REACH = 0.3  # of the range of the points: how far from them a line may lie and still be on the axis
MARGIN = 0.04  # of the range that is shown
CHARACTER = 0.0115  # of the width of the axes, what a character of a name takes
ROW_POINTS = 11  # between rows of names


def shown_range(info: Ranking) -> tuple[float, float]:
    """Return the ends of the axis: what :attr:`Ranking.decisive` needs, and the means and lines not far from that."""
    low, high = _span(info)
    means = [point.mean for point in info.points if is_near(point.mean, info)]
    lines = [line.value for line in info.lines if not is_left_out(line, info)]
    places = [low, high, *(_scaled(value, info) for value in (*means, *lines))]
    low, high = min(places), max(places)
    margin = MARGIN * (high - low) or 0.05 * abs(high) or 1.0
    ends = (low - margin, high + margin)
    return (math.exp(ends[0]), math.exp(ends[1])) if info.is_log else ends


def is_left_out(line: ReferenceLine, info: Ranking) -> bool:
    """Return whether a line is so far from all points that the axis would show these too small."""
    return not info.is_grouped and not is_near(line.value, info)


def is_near(value: float, info: Ranking) -> bool:
    """Return whether a value is so near to what the axis has to show that it is shown too."""
    if info.is_log and value <= 0:
        return False
    low, high = _span(info)
    reach = REACH * (high - low)
    return high <= low or low - reach <= _scaled(value, info) <= high + reach


def side_of(value: float, *, ends: tuple[float, float]) -> int:
    """Return -1 for a value to the left of the axis, 1 for one to the right of it, and 0 for one on it."""
    return -1 if value < ends[0] else int(value > ends[1])


def label_lines(axes: "matplotlib.axes.Axes", info: Ranking) -> None:
    """Write the name and the value of each line above its end, in as many rows as keep the texts apart."""
    low, high = (_scaled(end, info) for end in axes.get_xlim())
    rows: list[float] = []  # the right end of the last text of each row
    for line in sorted(info.lines, key=lambda line: line.value):
        share = (_scaled(line.value, info) - low) / (high - low)
        text = f"{line.name} {number_text(line.value, style=style_of(info.metric))}"
        text = f"← {text}" if share < 0 else f"{text} →" if share > 1 else text
        width = CHARACTER * len(text)
        left = min(max(share - width / 2, 0.0), 1.0 - width)
        row = next((place for place, end in enumerate(rows) if end + CHARACTER <= left), len(rows))
        rows[row : row + 1] = [left + width]
        _write(axes, text, left + width / 2, row=row, colour=method_look(line.name)[0])


def _write(axes: "matplotlib.axes.Axes", text: str, share: float, *, row: int, colour: str) -> None:
    axes.annotate(
        text,
        xy=(share, 1),
        xycoords="axes fraction",
        xytext=(0, 2 + ROW_POINTS * row),
        textcoords="offset points",
        ha="center",
        va="bottom",
        color=colour,
        fontsize=8,
    )


def _span(info: Ranking) -> tuple[float, float]:
    """Return the smallest and the largest value of the decisive points, with intervals, starts and fresh seeds."""
    values = [value for point in info.decisive for value in point.values if value > 0 or not info.is_log]
    return _scaled(min(values), info), _scaled(max(values), info)


def _scaled(value: float, info: Ranking) -> float:
    return math.log(value) if info.is_log else value
