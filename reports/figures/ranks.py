"""Rank over time: how early the best configurations were ahead."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from nmlab.reports.analysis.configurations import Configuration, groups_of, searched
from nmlab.reports.figures.maskpro.residual import labels_of
from nmlab.reports.figures.style import GRID, INK, SETTINGS, FigureFile, look_of, new_figure, saved
from nmlab.reports.values.wording import counted

KEY, TITLE = "ranks", "Rank over time"
HIGHLIGHTED = 4
MOST_LINES = 60
BESIDE = 0.13  # how far apart ties are drawn, in ranks


@dataclass(frozen=True, slots=True)
class RankLine:
    """One configuration: its rank at each common evaluation, 1 the best; ties share the mean of their places."""

    key: str
    label: str
    ranks: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class RankInfo:
    """Lines, the final best first, over the steps at which all were evaluated.

    ``agreement`` is Spearman's correlation of the ranks at each step with the last ones; or why there is none.
    """

    steps: tuple[int, ...]
    lines: tuple[RankLine, ...]
    agreement: tuple[float, ...]
    pattern: str = ""
    skipped: str = ""


def rank_info(configurations: Sequence[Configuration], *, progress: pd.DataFrame) -> RankInfo:
    """Return the ranks of the searched configurations of the largest group that were evaluated at the same steps.

    Args:
        configurations: all of a launch.
        progress: ``run_id, step, value`` of the searched metric.
    """
    points = {str(run_id): part.set_index("step")["value"] for run_id, part in progress.groupby("run_id")}
    groups = groups_of(item for item in searched(configurations) if item.is_complete and item.is_learned)
    members = max(groups.values(), key=len, default=[])
    means = {item.key: found for item in members if (found := _means(item, points)) is not None}
    shared = sorted(set.intersection(*(set(found.index) for found in means.values()))) if means else []
    if len(means) < 3 or len(shared) < 3:
        reason = "fewer than three configurations were evaluated at three or more steps that all share"
        return RankInfo((), (), (), skipped=reason)
    sign = 1.0 if members[0].objective.mode == "min" else -1.0
    table_CT = np.array([[sign * float(found.loc[step]) for step in shared] for found in means.values()])
    ranks_CT = np.apply_along_axis(stats.rankdata, 0, table_CT)
    kept = [item for item in members if item.key in means]
    labels = labels_of(kept)
    lines = [
        RankLine(item.key, labels[item.key], tuple(own.tolist())) for item, own in zip(kept, ranks_CT, strict=True)
    ]
    agreement = tuple(_agreement(column_C, ranks_CT[:, -1]) for column_C in ranks_CT.T)
    ordered = tuple(sorted(lines, key=lambda line: (line.ranks[-1], line.key)))
    return RankInfo(tuple(int(step) for step in shared), ordered, agreement, pattern=members[0].pattern)


def draw_ranks(info: RankInfo) -> FigureFile:
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
            look = {"color": colour, "marker": marker, "linestyle": dashes}
            places = beside_ties(info.lines[:HIGHLIGHTED], index)
            axes.plot(info.steps, places, label=line.label, linewidth=1.9, markersize=5, zorder=2, **look)
        axes.set_ylim(len(info.lines) + 0.6, 0.4)
        axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
        axes.set(xlabel="training step", ylabel="rank (1 is best)")
        axes.yaxis.grid(True)
        figure.legend(loc="outside upper left", ncols=2, labelcolor=INK, fontsize=8.5)
        return saved(figure, key=KEY, title=TITLE, caption=_caption(info))


def beside_ties(lines: Sequence[RankLine], index: int) -> tuple[float, ...]:
    """Return the places of a line: its ranks, shifted slightly where lines tie so that none is hidden."""
    places = []
    for step, rank in enumerate(lines[index].ranks):
        tied = [other for other, line in enumerate(lines) if line.ranks[step] == rank]
        places.append(rank + BESIDE * (tied.index(index) - (len(tied) - 1) / 2))
    return tuple(places)


def _means(item: Configuration, points: Mapping[str, "pd.Series[float]"]) -> "pd.Series[float] | None":
    """Return the mean over seeds at the steps that every seed was evaluated at; None where a seed has no points."""
    own = [points.get(str(run_id)) for run_id in item.finished["run_id"]]
    known = [series for series in own if series is not None]
    if not known or len(known) < len(own):
        return None
    return pd.concat(known, axis="columns", join="inner").mean(axis="columns")


def _agreement(ranks_C: npt.NDArray[np.float64], last_C: npt.NDArray[np.float64]) -> float:
    """Return Spearman's correlation of two rankings, NaN where all ranks of one are tied."""
    if np.ptp(ranks_C) == 0 or np.ptp(last_C) == 0:
        return math.nan
    return float(stats.pearsonr(ranks_C, last_C).statistic)


def _caption(info: RankInfo) -> str:
    text = f"Rank at {info.pattern} by the mean over seeds, at steps where all were evaluated; the final best in colour"
    best = info.lines[:HIGHLIGHTED]
    if any(beside_ties(best, index) != line.ranks for index, line in enumerate(best)):
        text += " (ties drawn side by side)"
    rest = len(info.lines) - HIGHLIGHTED
    text += f", {counted(rest, noun='other')} in grey." if rest > 0 else "."
    middle = len(info.steps) // 2
    if math.isnan(info.agreement[middle]):
        return text
    found = f"Spearman's {info.agreement[middle]:.2f}"
    text += f" The order at step {info.steps[middle]:,} correlates with the last one ({found}):"
    return f"{text} early stopping by rank would have used it."
