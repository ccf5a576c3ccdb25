"""The difference of every pair of two compared sides, with its interval and the difference of each seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib

from nmlab.reports.analysis.metrics import difference_style, direction_of, plain_name
from nmlab.reports.analysis.two_sides import Matching, PairResult, TwoSides, finding_text
from nmlab.reports.analysis.two_sides.names import has_several_patterns, row_text
from nmlab.reports.figures.points import Spot, listed
from nmlab.reports.figures.style import (
    INK,
    MUTED,
    PAPER,
    SERIES,
    SETTINGS,
    FigureFile,
    new_figure,
    saved,
)
from nmlab.reports.values import Direction, Style, counted, rounded_texts

KEY, TITLE = "differences", "Differences of B from A"
MOST_ROWS = 20  # as many as one screen has room for
COLOURS = {"better": SERIES[2], "worse": SERIES[1], "higher": SERIES[0], "lower": SERIES[0]}


@dataclass(frozen=True, slots=True)
class DrawnDifference:
    """One row of the figure: percent for perplexities, else in the unit of the metric; ends None without a test.

    ``configuration`` is that of B, which is highlighted in the table; ``run_ids`` are the runs of both.
    """

    label: str
    value: float
    low: float | None
    high: float | None
    by_seed: tuple[float, ...]
    finding: str
    in_words: str
    configuration: str
    run_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Differences:
    """What the figure draws."""

    metric: str
    is_percent: bool
    rows: tuple[DrawnDifference, ...]
    hidden: int
    direction: Direction


def differences_of(found: TwoSides) -> Differences:
    """Return the differences in the leading metric, in the order of the table."""
    results = found.leading
    is_percent = bool(results) and results[0].comparison.is_ratio
    rows = tuple(_drawn(item, found.matching, is_percent=is_percent) for item in results[:MOST_ROWS])
    direction = direction_of(found.metrics[0], objective=found.sides[0].runs.objective)
    return Differences(found.metrics[0], is_percent, rows, max(0, len(results) - MOST_ROWS), direction)


def _drawn(item: PairResult, matching: Matching, *, is_percent: bool) -> DrawnDifference:
    label = row_text(item.pair, matching=matching, has_patterns=has_several_patterns(matching.pairs))
    decisive, texts = item.decisive, (item.finding, finding_text(item), item.pair.second.key, item.pair.run_ids)
    low, high = (None, None) if decisive is None else (decisive.low, decisive.high)
    if not is_percent:
        return DrawnDifference(label, item.difference, low, high, item.by_seed, *texts)
    first, second = (sum(values.values()) / len(values) for values in item.values)
    ratio = second / first if decisive is None else decisive.difference
    value, low, high = (None if end is None else 100 * (end - 1) for end in (ratio, low, high))
    assert value is not None
    return DrawnDifference(label, value, low, high, tuple(100 * (each - 1) for each in item.by_seed), *texts)


def draw_differences(info: Differences) -> FigureFile:
    """Draw one row for each pair: mean and 95% interval, a small dot for each seed, and the line of no difference."""
    if not info.rows:
        return FigureFile(KEY, TITLE, "", skipped="nothing was compared in the leading metric")
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(1.3 + 0.32 * len(info.rows))
        axes = figure.add_subplot()
        axes.axvline(0.0, color=INK, linewidth=1.0)
        for place, row in enumerate(info.rows):
            _draw_row(axes, row, place)
        _format_axes(axes, info)
        spots = [_spot(axes, row, place=place, info=info) for place, row in enumerate(info.rows)]
        lead = f"{_shown(info.rows)}. " if len(info.rows) > 1 else ""
        alternative = lead + listed([_row_text(row, info) for row in info.rows])
        return saved(figure, key=KEY, title=_title(info), caption=_caption(info), alternative=alternative, spots=spots)


def _spot(axes: "matplotlib.axes.Axes", row: DrawnDifference, *, place: int, info: Differences) -> Spot:
    """Return the mean difference of a row, with the runs of both sides."""
    text = f"{_row_text(row, info)}; {counted(len(row.run_ids), noun='run')}"
    return Spot(axes, ((row.value, place),), text, row.configuration, row.run_ids)


def _row_text(row: DrawnDifference, info: Differences) -> str:
    """Return ``maskpro: alpha=0.97: perplexity, B − A −2.1% [−10.8%, +7.3%], not separable``."""
    ends = () if row.low is None or row.high is None else (row.low, row.high)
    half = (ends[1] - ends[0]) / 2 if ends else 0.0
    style, unit = (Style.SIGNED2, "%") if info.is_percent else (difference_style(info.metric), "")
    mean, *interval = (f"{text}{unit}" for text in rounded_texts((row.value, *ends), half=half, style=style))
    shown = f"{mean} [{', '.join(interval)}]" if interval else mean
    return f"{row.label}: {plain_name(info.metric)}, B − A {shown}, {row.in_words}"


def _draw_row(axes: "matplotlib.axes.Axes", row: DrawnDifference, place: int) -> None:
    colour = COLOURS.get(row.finding, MUTED)
    if row.low is not None and row.high is not None:
        axes.plot([row.low, row.high], [place, place], color=colour, linewidth=2.4, solid_capstyle="butt", zorder=2)
    if len(row.by_seed) > 1:
        axes.plot(
            row.by_seed,
            [place + 0.24] * len(row.by_seed),
            color=MUTED,
            marker="|",
            markersize=7,
            linestyle="none",
            zorder=1.5,
        )
    is_found = row.finding in COLOURS
    axes.plot(
        row.value,
        place,
        color=colour,
        marker="X" if row.finding == "not tested" else "o",
        markersize=7,
        markerfacecolor=colour if is_found else PAPER,
        markeredgecolor=colour,
        zorder=3,
    )


def _format_axes(axes: "matplotlib.axes.Axes", info: Differences) -> None:
    axes.set_yticks(range(len(info.rows)), [row.label for row in info.rows])
    axes.set_ylim(len(info.rows) - 0.4, -0.6)
    axes.margins(x=0.08)
    unit = ", percent of A" if info.is_percent else ""
    better = {Direction.LOWER: " (left: B better)", Direction.HIGHER: " (right: B better)", Direction.NONE: ""}
    axes.set_xlabel(f"{plain_name(info.metric)}: B minus A{unit}{better[info.direction]}")
    axes.xaxis.grid(True)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)


def _title(info: Differences) -> str:
    """Return the title of the drawing, which names the metric."""
    return f"{TITLE} in {plain_name(info.metric)}"


def _caption(info: Differences) -> str:
    text = "Mean difference with its 95% interval, before correction; a full circle where the test finds a difference "
    text += "after correction, an open one where it does not."
    if any(len(row.by_seed) > 1 for row in info.rows):
        text += " Strokes: the difference of each shared seed."
    if any(row.low is None for row in info.rows):
        text += " No bar: no interval."
    text += f" {_shown(info.rows)}." if len(info.rows) > 1 else ""
    if info.hidden:
        text += f" In the table only: {counted(info.hidden, noun='further row')}."
    return text


def _shown(rows: Sequence[DrawnDifference]) -> str:
    """Return how many rows have each finding, as a text alternative of the picture."""
    found: dict[str, int] = {}
    for row in rows:
        name = row.in_words.partition(":")[0]
        found[name] = found.get(name, 0) + 1
    return "Rows: " + ", ".join(f"{count} {name}" for name, count in found.items())
