"""Memory of a trial by method and pattern: trained numbers and the bytes of its state."""

import matplotlib

from nmlab.reports.analysis.step_cost import MemoryInfo, MemoryPanel
from nmlab.reports.figures.style import INK, SETTINGS, FigureFile, look_of, new_figure, saved

KEY, TITLE = "memory", "Memory by pattern"
WIDTH = 0.8


def draw_memory(info: MemoryInfo) -> FigureFile:
    """Draw the panels side by side: a group of bars for each pattern, one bar a method."""
    if info.skipped:
        return FigureFile(KEY, TITLE, "", skipped=info.skipped)
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(3.3)
        for place, panel in enumerate(info.panels):
            axes = figure.add_subplot(1, len(info.panels), place + 1)
            _draw_panel(axes, panel, info, is_first=place == 0)
        figure.legend(loc="outside upper left", ncols=6, fontsize=8.5)
        return saved(figure, key=KEY, title=TITLE, caption=CAPTION)


CAPTION = (
    "Exact counts per masked weight: what a trial trains, and what it keeps between steps (trained numbers, their "
    "optimiser and tracker). The frozen weights, which all trials share, are not included."
)


def _draw_panel(axes: "matplotlib.axes.Axes", panel: MemoryPanel, info: MemoryInfo, *, is_first: bool) -> None:
    width = WIDTH / len(info.methods)
    for index, (method, values) in enumerate(zip(info.methods, panel.values, strict=True)):
        colour, _, _ = look_of(index)
        for place, value in enumerate(values):
            if value is None:
                continue
            across = place - WIDTH / 2 + (index + 0.5) * width
            axes.bar(across, value, width=0.92 * width, color=colour)
            axes.text(across, value, f"{value:.3g}", ha="center", va="bottom", fontsize=8, color=INK)
        if is_first:
            axes.bar(0, 0, color=colour, label=method)
    axes.set_xticks(range(len(info.patterns)), info.patterns)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel(panel.title)
    axes.yaxis.grid(True)
    axes.set_axisbelow(True)


