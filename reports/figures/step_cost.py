"""What a training step takes of each learned method: its time by part, and its memory where there are several."""

from collections.abc import Mapping, Sequence

import matplotlib

from nmlab.reports.analysis.step_cost import StepCost, StepCosts
from nmlab.reports.figures.points import Spot, listed
from nmlab.reports.figures.style import INK, PAPER, SERIES, SETTINGS, FigureFile, new_figure, saved

KEY, TITLE = "step_cost", "Time and memory of a training step"
PARTS = ("sample the mask", "forward", "update", "other")
HATCHES = ("", "///", "...", "xx")
ROOM_FOR_TEXT = 0.07  # of the longest bar
TIME_WIDTH = 2.2  # of the panel of times, over that of the others
CAPTION = "The best configuration of each learned method."
TIMES = (
    " Times are means over its seeds, on the machine given in the provenance; other is the rest of a step, such as "
    "reading text and logging."
)
COUNTS = (
    " Trained numbers and the bytes of a trial's state (trained numbers, their optimiser and tracker) are exact counts "
    "per masked weight, without the frozen weights, which all trials share."
)


def draw_step_cost(info: StepCosts) -> FigureFile:
    """Draw a row for each method: a stacked bar of milliseconds, and bars of trained numbers and of state bytes."""
    if info.skipped:
        return FigureFile(KEY, TITLE, "", skipped=info.skipped)
    counts = _counts(info) if len(info.rows) > 1 else {}
    is_timed = any(row.parts for row in info.rows)
    if not is_timed and not counts:
        return FigureFile(KEY, TITLE, "", skipped="one learned mask without timed steps; its memory is in the tables")
    widths = [*([TIME_WIDTH] if is_timed else []), *(1.0 for _ in counts)]
    with matplotlib.rc_context({**SETTINGS, "hatch.linewidth": 0.6}):
        figure = new_figure(1.2 + 0.42 * len(info.rows))
        grid = figure.add_gridspec(1, len(widths), width_ratios=widths)
        panels = [figure.add_subplot(grid[0, place]) for place in range(len(widths))]
        if is_timed:
            _draw_times(panels[0], info.rows)
            figure.legend(loc="outside upper left", ncols=4, fontsize=8.5)
        for axes, (title, values) in zip(panels[is_timed:], counts.items(), strict=True):
            _draw_counts(axes, values, title)
        for place, axes in enumerate(panels):
            _format(axes, info.rows, has_labels=place == 0)
        caption = CAPTION + TIMES * is_timed + COUNTS * bool(counts)
        timed = [(place, row) for place, row in enumerate(info.rows) if row.parts] if is_timed else []
        spots = [
            Spot(panels[0], ((0.0, place), (1e3 * (sum(row.parts) + row.rest), place)), _times(row), row.key)
            for place, row in timed
        ]
        spots += _count_spots(panels[is_timed:], counts, info)
        alternative = listed([f"{row.label}: {_times(row)}" for _, row in timed] or [row.label for row in info.rows])
        return saved(figure, key=KEY, title=TITLE, caption=caption, alternative=alternative, spots=spots)


def _times(row: StepCost) -> str:
    whole = sum(row.parts) + row.rest
    parts = ", ".join(
        f"{name} {1e3 * seconds:.3g}" for name, seconds in zip(PARTS, (*row.parts, row.rest), strict=True)
    )
    return f"{1e3 * whole:.3g} ms a step ({parts})"


def _count_spots(
    panels: Sequence["matplotlib.axes.Axes"], counts: Mapping[str, Sequence[float | None]], info: StepCosts
) -> list[Spot]:
    return [
        Spot(axes, ((0.0, place), (value, place)), f"{value:.3g} {title}", info.rows[place].key)
        for axes, (title, values) in zip(panels, counts.items(), strict=True)
        for place, value in enumerate(values)
        if value is not None
    ]


def _counts(info: StepCosts) -> dict[str, list[float | None]]:
    """Return the counts that any row has, by the title of their panel."""
    found = {
        "trained numbers per weight": [row.trained for row in info.rows],
        "bytes of state per weight": [row.state for row in info.rows],
    }
    return {title: values for title, values in found.items() if any(value is not None for value in values)}


def _draw_times(axes: "matplotlib.axes.Axes", rows: tuple[StepCost, ...]) -> None:
    longest = max(sum(row.parts) + row.rest for row in rows)
    for index, name in enumerate(PARTS):
        axes.barh(0, 0, color=SERIES[index], hatch=HATCHES[index], edgecolor=PAPER, linewidth=0, label=name)
    for place, row in enumerate(rows):
        left, whole = 0.0, sum(row.parts) + row.rest
        for index, seconds in enumerate((*row.parts, row.rest) if row.parts else ()):
            bar = axes.barh(place, 1e3 * seconds, left=1e3 * left, height=0.62, linewidth=0, color=SERIES[index])
            bar[0].set(hatch=HATCHES[index], edgecolor=PAPER)
            if seconds > ROOM_FOR_TEXT * longest:
                _write_share(axes, seconds / whole, place=place, middle=1e3 * (left + seconds / 2))
            left += seconds
    axes.set_xlabel("milliseconds a step")


def _draw_counts(axes: "matplotlib.axes.Axes", values: list[float | None], title: str) -> None:
    for place, value in enumerate(values):
        if value is not None:
            axes.barh(place, value, height=0.62, color=SERIES[0])
            axes.annotate(f"{value:.3g}", (value, place), xytext=(4, 0), textcoords="offset points", va="center")
    axes.margins(x=0.25)
    axes.set_xlabel(title)


def _format(axes: "matplotlib.axes.Axes", rows: tuple[StepCost, ...], *, has_labels: bool) -> None:
    axes.set_yticks(range(len(rows)), [row.label if has_labels else "" for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.grid(True)
    axes.set_axisbelow(True)


def _write_share(axes: "matplotlib.axes.Axes", share: float, *, place: int, middle: float) -> None:
    box = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.2}
    axes.text(middle, place, f"{100 * share:.0f}%", ha="center", va="center", fontsize=8, color=INK, bbox=box)
