"""The mean of the search beside the mean over fresh seeds of every configuration that ran again."""

import matplotlib

from nmlab.reports.analysis.fresh_seeds import FreshRow, FreshSeeds
from nmlab.reports.analysis.metrics import plain_name
from nmlab.reports.figures.axes import head_labels
from nmlab.reports.figures.points import Spot, listed, mean_text
from nmlab.reports.figures.style import (
    MUTED,
    PAPER,
    SERIES,
    SETTINGS,
    FigureFile,
    new_figure,
    numbers_on_log_axis,
    saved,
)
from nmlab.reports.values import wants_log

KEY, TITLE = "fresh_seeds", "The search against fresh seeds"
LOG_RATIO = 10.0


def draw_fresh_seeds(info: FreshSeeds) -> FigureFile:
    """Draw a row for each: an open circle for the search, a diamond with its interval for fresh seeds."""
    if info.skipped:
        return FigureFile(KEY, TITLE, "", skipped=info.skipped)
    spots: list[Spot] = []
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(1.35 + 0.32 * len(info.rows))
        axes = figure.add_subplot()
        for place, row in enumerate(info.rows):
            _draw_row(axes, row, place)
            search = f"in the search {mean_text(row.search, metric=info.metric)}"
            fresh = f"on fresh seeds {mean_text(row.fresh, metric=info.metric)}"
            spots.append(Spot(axes, ((row.search.mean, place),), search, row.key))
            spots.append(Spot(axes, ((row.fresh.mean, place),), fresh, row.key, row.fresh_runs))
        if wants_log([mean for row in info.rows for mean in (row.search.mean, row.fresh.mean)], ratio=LOG_RATIO):
            numbers_on_log_axis(axes, axis="x")
        axes.set_yticks(range(len(info.rows)), [row.label for row in info.rows])
        axes.set_ylim(len(info.rows) - 0.4, -0.6)
        head_labels(axes, info.label_names)
        axes.set_xlabel(plain_name(info.metric))
        axes.xaxis.grid(True)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        figure.legend(loc="outside upper left", ncols=2, fontsize=8.5)
        texts = [f"{row.label}: {row.search.mean:.4g} in the search, {row.fresh.mean:.4g} fresh" for row in info.rows]
        return saved(figure, key=KEY, title=TITLE, caption=_caption(info), alternative=listed(texts), spots=spots)


def _draw_row(axes: "matplotlib.axes.Axes", row: FreshRow, place: int) -> None:
    first = place == 0
    axes.plot([row.search.mean, row.fresh.mean], [place, place], color=MUTED, linewidth=0.9, zorder=0.5)
    if row.fresh.low is not None and row.fresh.high is not None:
        axes.plot([row.fresh.low, row.fresh.high], [place, place], color=SERIES[0], linewidth=2.2, zorder=1)
    for mean, marker, face, label in (
        (row.search.mean, "o", PAPER, "mean of the search, which selected"),
        (row.fresh.mean, "D", SERIES[0], "mean over fresh seeds and its 95% interval"),
    ):
        axes.plot(
            mean,
            place,
            marker=marker,
            markersize=6.5,
            markerfacecolor=face,
            markeredgecolor=SERIES[0],
            linestyle="none",
            zorder=2,
            label=label if first else None,
        )


def _caption(info: FreshSeeds) -> str:
    text = (
        "Finalists in the order of the search. What the best of many owes to luck is gone on fresh seeds: a diamond "
        "beyond its circle, towards worse, is that share."
    )
    if any(row.is_baseline for row in info.rows):
        text += " Baselines, at the bottom, were not selected, and show how far means of few seeds move by chance."
    return f"{text} The table of the same name has the tests."
