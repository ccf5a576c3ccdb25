"""The parts of a training step's time, for each method."""

from typing import Any

import matplotlib

from nmlab.reports.analysis.step_cost import PARTS, TimingInfo
from nmlab.reports.figures.style import INK, PAPER, SERIES, SETTINGS, FigureFile, new_figure, saved

KEY, TITLE = "step_time", "Time of a training step"
HATCHES = ("", "///", "...", "xx")
ROOM_FOR_TEXT = 0.07  # of the longest bar


def draw_timing(info: TimingInfo) -> FigureFile:
    """Draw one stacked bar for each method, in milliseconds; parts differ in colour and hatching."""
    if info.skipped:
        return FigureFile(KEY, TITLE, "", skipped=info.skipped)
    names = [*PARTS.values(), "other"]
    longest = max(sum(row.parts) + row.rest for row in info.rows)
    with matplotlib.rc_context({**SETTINGS, "hatch.linewidth": 0.6}):
        figure = new_figure(1.2 + 0.42 * len(info.rows))
        axes = figure.add_subplot()
        for place, row in enumerate(info.rows):
            left = 0.0
            for index, seconds in enumerate((*row.parts, row.rest)):
                look: dict[str, Any] = {"color": SERIES[index], "hatch": HATCHES[index], "edgecolor": PAPER}
                label = names[index] if place == 0 else None
                axes.barh(place, 1e3 * seconds, left=1e3 * left, height=0.62, linewidth=0, label=label, **look)
                if seconds > ROOM_FOR_TEXT * longest:
                    _write_share(axes, place, left + seconds / 2, seconds / (sum(row.parts) + row.rest))
                left += seconds
        axes.set_yticks(range(len(info.rows)), [row.label for row in info.rows])
        axes.invert_yaxis()
        axes.set_xlabel("milliseconds a step")
        axes.tick_params(axis="y", length=0)
        axes.xaxis.grid(True)
        axes.set_axisbelow(True)
        figure.legend(loc="outside upper left", ncols=4, fontsize=8.5)
        return saved(figure, key=KEY, title=TITLE, caption=CAPTION)


CAPTION = (
    "Mean over the seeds of the best configuration of each method, on the machine given in the provenance. Other: the "
    "rest of a step, such as reading text and logging."
)


def _write_share(axes: "matplotlib.axes.Axes", place: int, middle: float, share: float) -> None:
    box = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.2}
    axes.text(1e3 * middle, place, f"{100 * share:.0f}%", ha="center", va="center", fontsize=8, color=INK, bbox=box)
