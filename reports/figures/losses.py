"""Losses of the masks sampled at the start of training, by the magnitude C of the initial logits.

The loss residual is the loss of a sampled mask minus that of the initial mask on the same minibatch. Small C makes
nearly every sample worse; where half of the samples are better, learning has something to tell apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd

from nmlab.reports.configurations import Configuration, searched, value_text
from nmlab.reports.figures.style import GRID, INK, MUTED, PAPER, SERIES, SETTINGS, FigureFile, new_figure, saved

KEY, TITLE = "losses_by_magnitude", "Losses of sampled masks by logit magnitude"
SETTING = "logit_magnitude"
FIRST_STEPS = 100
QUANTILES = (5, 25, 50, 75, 95)
FEWEST_POINTS = 5


@dataclass(frozen=True, slots=True)
class LossBox:
    """The residuals at one magnitude: quantiles at 5, 25, 50, 75 and 95%, the share below zero, how many."""

    magnitude: float
    quantiles: tuple[float, ...]
    share_better: float
    points: int


@dataclass(frozen=True, slots=True)
class LossInfo:
    """One box for each magnitude, ascending, of the residuals of the first ``steps`` steps; or why there is none."""

    boxes: tuple[LossBox, ...]
    steps: int
    skipped: str = ""


def losses_info(configurations: Sequence[Configuration], *, curves: pd.DataFrame) -> LossInfo:
    """Return the distribution of early residuals at each magnitude, all other settings pooled.

    Args:
        configurations: all of a launch; runs count whatever became of them.
        curves: ``run_id, metric, step, value`` of the residual.
    """
    runs: dict[float, list[str]] = {}
    for item in searched(configurations):
        magnitude = item.settings.get(SETTING)
        if isinstance(magnitude, int | float):
            runs.setdefault(float(magnitude), []).extend(item.run_ids)
    early = curves[curves["step"] <= FIRST_STEPS]
    boxes = []
    for magnitude, run_ids in sorted(runs.items()):
        values = early[early["run_id"].isin(run_ids)]["value"].to_numpy(dtype=float)
        finite = values[np.isfinite(values)]
        if len(finite) >= FEWEST_POINTS:
            quantiles = tuple(np.percentile(finite, QUANTILES).tolist())
            boxes.append(LossBox(magnitude, quantiles, float((finite < 0).mean()), len(finite)))
    if len(boxes) < 2:
        return LossInfo((), FIRST_STEPS, "fewer than two logit magnitudes have residuals of their first steps")
    return LossInfo(tuple(boxes), FIRST_STEPS)


def draw_losses(info: LossInfo) -> FigureFile:
    """Draw one box a magnitude, with the share of better masks above it."""
    if info.skipped:
        return FigureFile(KEY, TITLE, "", skipped=info.skipped)
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(3.9)
        axes = figure.add_subplot()
        for place, box in enumerate(info.boxes):
            low, lower, middle, upper, high = box.quantiles
            axes.plot([place, place], [low, high], color=MUTED, linewidth=1.1, zorder=1)
            axes.bar(place, upper - lower, bottom=lower, width=0.5, color=PAPER, edgecolor=SERIES[0], linewidth=1.5)
            axes.plot([place - 0.25, place + 0.25], [middle, middle], color=SERIES[1], linewidth=2.0, zorder=3)
            axes.annotate(
                f"{100 * box.share_better:.0f}%",
                (place, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                va="bottom",
                color=INK,
                fontsize=8.5,
            )
        axes.axhline(0.0, color=GRID, linewidth=1.2, zorder=0.5)
        axes.set_xticks(range(len(info.boxes)), [value_text(box.magnitude) for box in info.boxes])
        axes.set(xlabel=f"{SETTING} (C)", ylabel="loss residual  f(mask) − f(initial mask)")
        axes.set_title("share of sampled masks better than the initial mask", fontsize=8.5, color=MUTED, pad=20)
        axes.yaxis.grid(True)
        axes.set_axisbelow(True)
        return saved(figure, key=KEY, title=TITLE, caption=_caption(info))


def _caption(info: LossInfo) -> str:
    return (
        f"Residuals recorded in the first {info.steps} steps of all runs at each magnitude, other settings pooled: "
        "boxes from the 25% to the 75% quantile, whiskers from 5% to 95%, median in orange."
    )
