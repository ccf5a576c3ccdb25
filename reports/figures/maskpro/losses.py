"""Losses of the masks sampled at the start of training: a box for each magnitude C of the initial logits."""

import matplotlib
import numpy as np

from nmlab.reports.analysis.maskpro.early_losses import SETTING, EarlyLosses, LossBox
from nmlab.reports.analysis.settings import value_text
from nmlab.reports.figures.style import INK, MUTED, PAPER, SERIES, SETTINGS, FigureFile, new_figure, saved

KEY, TITLE = "losses_by_magnitude", "Losses of sampled masks by logit magnitude"
FEWEST_FOR_BOX = 20


def draw_losses(info: EarlyLosses) -> FigureFile:
    """Draw one box for each magnitude with the share of better masks above it; a few residuals are drawn as dots."""
    if info.skipped:
        return FigureFile(KEY, TITLE, "", skipped=info.skipped)
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(3.9)
        axes = figure.add_subplot()
        for place, box in enumerate(info.boxes):
            _draw_box(axes, box, place)
        axes.axhline(0.0, color=INK, linewidth=1.0, zorder=0.5)
        axes.set_xticks(range(len(info.boxes)), [box.label for box in info.boxes])
        axes.set_xlim(-0.6, len(info.boxes) - 0.4)
        axes.margins(y=0.07)
        axes.set(xlabel=f"{SETTING} (C)", ylabel="loss residual  f(mask) − f(initial mask)")
        axes.set_title("share of sampled masks better than the initial mask", fontsize=8.5, color=MUTED, pad=20)
        axes.yaxis.grid(True)
        axes.set_axisbelow(True)
        return saved(figure, key=KEY, title=TITLE, caption=_caption(info))


def _draw_box(axes: "matplotlib.axes.Axes", box: LossBox, place: int) -> None:
    low, lower, middle, upper, high = box.quantiles
    if box.points >= FEWEST_FOR_BOX:
        axes.plot([place, place], [low, high], color=MUTED, linewidth=1.1, zorder=1)
        axes.bar(place, upper - lower, bottom=lower, width=0.5, color=PAPER, edgecolor=SERIES[0], linewidth=1.5)
    axes.plot([place - 0.25, place + 0.25], [middle, middle], color=SERIES[1], linewidth=2.0, zorder=3)
    if box.dots:
        spread = np.random.default_rng(place).uniform(-0.2, 0.2, len(box.dots))  # the same dots at every drawing
        axes.scatter(place + spread, box.dots, s=9, color=SERIES[0], alpha=0.55, linewidth=0, zorder=2)
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


def _caption(info: EarlyLosses) -> str:
    text = f"Residuals recorded in the first {info.steps} steps of the runs at each magnitude"
    if info.rates is not None:
        low, high = info.rates
        own = value_text(low) if low == high else f"{value_text(low)} to {value_text(high)}"
        text += f" with its smallest learning rate ({own}), whose logits moved least"
    boxes = any(box.points >= FEWEST_FOR_BOX for box in info.boxes)
    shown = ": boxes from the 25% to the 75% quantile, whiskers from 5% to 95%, median in orange" if boxes else ""
    dots = "; dots are single residuals" if any(box.dots for box in info.boxes) else ""
    return f"{text}{shown or ', median in orange'}{dots}. Other settings are pooled."
