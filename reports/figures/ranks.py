"""Rank over time: one line for each configuration, the final best in colour."""

import math
from collections.abc import Sequence

import matplotlib

from nmlab.reports.analysis.training.ranks import RankLine, RanksOverTime
from nmlab.reports.figures.points import Spot, listed
from nmlab.reports.figures.style import GRID, INK, SETTINGS, FigureFile, look_of, new_figure, saved
from nmlab.reports.values import counted

KEY, TITLE = "ranks", "Rank over time"
HIGHLIGHTED = 4
MOST_LINES = 60
BESIDE = 0.13  # how far apart ties are drawn, in ranks


def draw_ranks(info: RanksOverTime) -> FigureFile:
    """Draw the final best lines in colour and the others in grey, rank 1 on top."""
    if info.skipped:
        return FigureFile(KEY, TITLE, "", skipped=info.skipped)
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(4.2)
        axes = figure.add_subplot()
        for line in info.lines[HIGHLIGHTED:MOST_LINES]:
            axes.plot(info.steps, line.ranks, color=GRID, linewidth=1.1, zorder=1)
        for index, line in enumerate(info.lines[:HIGHLIGHTED]):
            colour, marker, dashes = look_of(index)
            places = beside_ties(info.lines[:HIGHLIGHTED], index)
            axes.plot(
                info.steps,
                places,
                label=line.label,
                linewidth=1.9,
                markersize=5,
                zorder=2,
                color=colour,
                marker=marker,
                linestyle=dashes,
            )
        axes.set_ylim(len(info.lines) + 0.6, 0.4)
        axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
        axes.set(xlabel="training step", ylabel="rank (1 is best)")
        axes.yaxis.grid(True)
        figure.legend(loc="outside upper left", ncols=2, labelcolor=INK, fontsize=8.5)
        spots = [
            Spot(axes, list(zip(info.steps, line.ranks, strict=True)), _text(line), line.key)
            for line in info.lines[:MOST_LINES]
        ]
        alternative = f"Final order, the best first: {listed([line.label for line in info.lines])}"
        return saved(figure, key=KEY, title=TITLE, caption=_caption(info), alternative=alternative, spots=spots)


def _text(line: RankLine) -> str:
    return f"rank {line.ranks[0]:g} at first, {line.ranks[-1]:g} at last"


def beside_ties(lines: Sequence[RankLine], index: int) -> tuple[float, ...]:
    """Return the places of a line: its ranks, shifted slightly where lines tie so that none is hidden."""
    places = []
    for step, rank in enumerate(lines[index].ranks):
        tied = [other for other, line in enumerate(lines) if line.ranks[step] == rank]
        places.append(rank + BESIDE * (tied.index(index) - (len(tied) - 1) / 2))
    return tuple(places)


def _caption(info: RanksOverTime) -> str:
    text = f"Rank at {info.pattern} by the mean over seeds, at steps where all were evaluated; the final best in colour"
    best = info.lines[:HIGHLIGHTED]
    if any(beside_ties(best, index) != line.ranks for index, line in enumerate(best)):
        text += " (ties drawn side by side)"
    rest = len(info.lines) - HIGHLIGHTED
    text += f", {counted(rest, noun='other')} in grey" if rest > 0 else ""
    text += f" (the first {MOST_LINES} of {len(info.lines):,} lines are drawn)." if rest > MOST_LINES else "."
    middle = len(info.steps) // 2
    if math.isnan(info.agreement[middle]):
        return text
    found = f"Spearman's {info.agreement[middle]:.2f}"
    text += f" The order at step {info.steps[middle]:,} correlates with the last one ({found}):"
    return f"{text} early stopping by rank would have used it."
