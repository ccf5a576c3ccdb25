"""Loss residual by training step: the loss of sampled masks minus that of the initial mask."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd

from nmlab.reports.analysis.configurations import Configuration, comparable_group, setting_text, varying
from nmlab.reports.figures.style import (
    DASHES,
    GRID,
    INK,
    MUTED,
    SERIES,
    SETTINGS,
    FigureFile,
    new_figure,
    saved,
)
from nmlab.reports.values.wording import counted

KEY, TITLE = "loss_residual", "Loss residual during training"
HIGHLIGHTED = 4
MAX_BINS = 60
POINTS_PER_BIN = 5
FEW_POINTS = 20


@dataclass(frozen=True, slots=True)
class ResidualCurve:
    """Mean over seeds of the binned residual of one configuration, and the range of its seeds, one per bin."""

    key: str
    label: str
    steps: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    seeds: int


@dataclass(frozen=True, slots=True)
class ResidualInfo:
    """Curves of which the first ``highlighted`` are named: the best of each method and pattern, then by order."""

    curves: tuple[ResidualCurve, ...]
    highlighted: int
    steps_per_bin: float


def residual_info(
    configurations: Sequence[Configuration],
    *,
    curves: pd.DataFrame,
    highlighted: int = HIGHLIGHTED,
    diverged: Sequence[Configuration] = (),
) -> ResidualInfo:
    """Average the recorded residuals into bins of steps, then over seeds.

    Every curve uses the same bins: as many as leave a typical run about five recorded points to a bin, at most
    60, and one bin for each point where few points were recorded.

    Args:
        configurations: best first; only finished runs are drawn.
        curves: ``run_id, metric, step, value`` of the residual.
        highlighted: how many curves to name.
        diverged: configurations of which none finished, drawn last, up to the step that every seed reached.
    """
    learned = _leaders_first([item for item in configurations if item.value is not None])
    points = dict(list(curves.groupby("run_id")))
    runs = {item.key: item.finished["run_id"] for item in learned} | {item.key: item.run_ids for item in diverged}
    owned = {key: [points[run] for run in own if run in points] for key, own in runs.items()}
    parts = [part for own in owned.values() for part in own]
    if not parts:
        return ResidualInfo((), 0, 0.0)
    edges = _edges(parts)
    drawn_items = [item for item in (*learned, *diverged) if owned[item.key]]
    labels = labels_of(drawn_items)
    labels |= {item.key: f"{labels[item.key]} (diverged)" for item in diverged if owned[item.key]}
    drawn = tuple(_curve(item, labels[item.key], owned[item.key], edges) for item in drawn_items)
    return ResidualInfo(drawn, min(highlighted, len(drawn)), float(edges[1] - edges[0]))


def draw_residual(info: ResidualInfo, *, key: str = KEY, title: str = TITLE, remark: str = "") -> FigureFile:
    """Draw the curves: the best in colour with the range of their seeds, the others thin and grey.

    ``remark`` ends the caption.
    """
    if not info.curves:
        return FigureFile(key, title, "", skipped="no finished run recorded train/residual")
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(4.3)
        axes = figure.add_subplot()
        for curve in info.curves[info.highlighted :]:
            axes.plot(curve.steps, curve.mean, color=GRID, linewidth=1.0, zorder=1)
        for index, curve in enumerate(info.curves[: info.highlighted]):
            colour = SERIES[index]
            axes.fill_between(curve.steps, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(curve.steps, curve.mean, color=colour, linestyle=DASHES[index], linewidth=1.8, label=curve.label)
        axes.axhline(0.0, color=MUTED, linewidth=0.9)
        axes.set(xlabel="training step", ylabel="loss residual  f(mask) − f(initial mask)")
        axes.yaxis.grid(True)
        axes.margins(x=0.01)
        figure.legend(
            loc="outside upper left", ncols=1 if len(info.curves[0].label) > 45 else 2, labelcolor=INK, fontsize=8.5
        )
        return saved(figure, key=key, title=title, caption=_caption(info) + remark)


def _caption(info: ResidualInfo) -> str:
    binned = f", averaged over {info.steps_per_bin:.0f} steps" if info.steps_per_bin > 1 else ""
    text = (
        f"Mean over finished seeds{binned}; the band spans the seeds. "
        "Below zero, the sampled masks have a lower loss than the initial mask on the same minibatches."
    )
    rest = len(info.curves) - info.highlighted
    return text + (f" In grey: {counted(rest, noun='further configuration')}." if rest else "")


def _leaders_first(items: Sequence[Configuration]) -> list[Configuration]:
    """Put the best of each method in each group of comparable configurations first."""
    leaders: dict[tuple[str, ...], Configuration] = {}
    for item in items:
        leaders.setdefault((item.method, *comparable_group(item)), item)
    chosen = list(leaders.values())
    return [*chosen, *(item for item in items if item.key not in {leader.key for leader in chosen})]


def labels_of(items: Sequence[Configuration]) -> dict[str, str]:
    """Return labels of configurations by key: method, pattern where there are several, and varying settings."""
    names = varying(items)
    several = len({item.pattern for item in items}) > 1
    labels = {}
    for item in items:
        title = f"{item.method} {item.pattern}" if several else item.method
        setting = setting_text(item, names=names)
        labels[item.key] = f"{title}: {setting}" if setting else title
    return labels


def _edges(parts: Sequence[pd.DataFrame]) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    typical = sorted(len(part) for part in parts)[len(parts) // 2]
    bins = min(MAX_BINS, max(typical // POINTS_PER_BIN, min(typical, FEW_POINTS)))
    first = min(float(part["step"].min()) for part in parts)
    last = max(float(part["step"].max()) for part in parts)
    return np.linspace(first - 0.5, last + 0.5, bins + 1)


def _curve(
    item: Configuration,
    label: str,
    parts: Sequence[pd.DataFrame],
    edges: "np.ndarray[tuple[int], np.dtype[np.float64]]",
) -> ResidualCurve:
    """Bin each seed, then take mean and range over the seeds; a bin that any seed lacks is left out."""
    middles = (edges[:-1] + edges[1:]) / 2
    binned = []
    for part in parts:
        place = np.digitize(part["step"].to_numpy(dtype=float), edges) - 1
        means = pd.Series(part["value"].to_numpy(dtype=float)).groupby(place).mean()
        binned.append(means.reindex(range(len(middles))).to_numpy())
    seeds_SB = np.stack(binned)
    whole = np.isfinite(seeds_SB).all(axis=0)
    return ResidualCurve(
        key=item.key,
        label=label,
        steps=tuple(middles[whole].tolist()),
        mean=tuple(seeds_SB[:, whole].mean(axis=0).tolist()),
        low=tuple(seeds_SB[:, whole].min(axis=0).tolist()),
        high=tuple(seeds_SB[:, whole].max(axis=0).tolist()),
        seeds=len(parts),
    )
