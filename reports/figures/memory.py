"""Memory of a trial by method and pattern: trained numbers and the bytes of its state."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib

from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.figures.style import INK, SETTINGS, FigureFile, look_of, new_figure, saved
from nmlab.trials.contract import run_params
from nmlab.trials.contract.pattern import Pattern

KEY, TITLE = "memory", "Memory by pattern"
PANELS = {
    "cost/trainable_params": "trained numbers per weight",
    "memory/state_bytes": "bytes of a trial's state per weight",
}
BYTES_OF_A_WEIGHT = {"float32": 4, "bfloat16": 2, "float16": 2}
WIDTH = 0.8


@dataclass(frozen=True, slots=True)
class MemoryPanel:
    """One quantity: a value for each method (outer) and pattern (inner), None where that was not run."""

    title: str
    values: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True, slots=True)
class MemoryInfo:
    """Panels over the same methods and patterns, or the reason why there are none."""

    methods: tuple[str, ...]
    patterns: tuple[str, ...]
    panels: tuple[MemoryPanel, ...]
    skipped: str = ""


def memory_info(configurations: Sequence[Configuration]) -> MemoryInfo:
    """Return trained numbers and state bytes per masked weight of each learned method and pattern.

    These are exact counts, the same for every seed; the first complete configuration represents its method and pattern.
    """
    learned = [item for item in configurations if item.is_learned and item.is_complete]
    methods = tuple(dict.fromkeys(item.method for item in learned))
    patterns = tuple(sorted({item.pattern for item in learned}, key=_numbers))
    first = {(item.method, item.pattern): item for item in reversed(learned)}
    panels = []
    for metric, title in PANELS.items():
        values = tuple(
            tuple(_per_weight(first.get((method, pattern)), metric) for pattern in patterns) for method in methods
        )
        if any(value is not None for row in values for value in row):
            panels.append(MemoryPanel(title, values))
    if not panels:
        return MemoryInfo((), (), (), skipped="no learned mask recorded how much it trains and holds")
    if len(methods) == len(patterns) == 1:
        return MemoryInfo((), (), (), skipped="one learned method at one pattern; its numbers are in the tables")
    return MemoryInfo(methods, patterns, tuple(panels))


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


def _per_weight(item: Configuration | None, metric: str) -> float | None:
    """Return a count over the number of masked weights, which follows from their bytes and the model's dtype."""
    if item is None:
        return None
    size = BYTES_OF_A_WEIGHT.get(str(item.settings.get(run_params.MODEL_DTYPE, "float32")))
    value, held = item.estimate(metric), item.estimate("memory/masked_weight_bytes")
    if value is None or held is None or held.mean == 0 or size is None:
        return None
    return value.mean / (held.mean / size)


def _numbers(text: str) -> tuple[int, int]:
    pattern = Pattern.parse(text)
    return pattern.m, pattern.n
