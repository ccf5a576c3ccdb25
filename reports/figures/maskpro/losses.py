"""Losses of the masks sampled at the start of training: a box for each magnitude C of the initial logits."""

from collections.abc import Sequence
from itertools import pairwise

import matplotlib
import numpy as np

from nmlab.reports.analysis.maskpro.early_losses import SETTING, EarlyLosses, LossBox
from nmlab.reports.analysis.settings import value_text
from nmlab.reports.figures.axes import shares_of, with_room
from nmlab.reports.figures.points import Spot, listed
from nmlab.reports.figures.style import INK, MUTED, PAPER, SERIES, SETTINGS, FigureFile, new_figure, saved
from nmlab.trials.contract.training_losses import loss_sentence

KEY, TITLE = "losses_by_magnitude", "Losses of sampled masks by logit magnitude"
FEWEST_FOR_BOX = 20
BOX, LEAST_WIDTH = 0.7, 0.012  # of the least distance between two boxes, and of the whole axis


def draw_losses(info: EarlyLosses) -> FigureFile:
    """Draw one box for each magnitude, at its value, with the share of better masks above it.

    A few residuals are drawn as dots.
    """
    if info.skipped:
        return FigureFile(KEY, TITLE, "", skipped=info.skipped)
    middles = [box.magnitude if box.upper is None else (box.magnitude + box.upper) / 2 for box in info.boxes]
    shares = shares_of(middles, is_log=False)
    width = max(LEAST_WIDTH, BOX * min(above - below for below, above in pairwise(shares))) * (middles[-1] - middles[0])
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(3.9)
        axes = figure.add_subplot()
        for middle, box in zip(middles, info.boxes, strict=True):
            _draw_box(axes, box, middle, width)
        axes.axhline(0.0, color=INK, linewidth=1.0, zorder=0.5)
        _label(axes, info.boxes, middles=middles, shares=shares)
        axes.margins(x=0.05, y=0.07)
        axes.set(xlabel=f"{SETTING} (C)", ylabel=f"{info.noun} residual  f(mask) − f(initial mask)")
        axes.set_title("share of sampled masks better than the initial mask", fontsize=8.5, color=MUTED, pad=20)
        axes.yaxis.grid(True)
        axes.set_axisbelow(True)
        spots = [
            Spot(axes, ((middle, box.quantiles[1]), (middle, box.quantiles[3])), _text(box))
            for middle, box in zip(middles, info.boxes, strict=True)
        ]
        alternative = listed([_text(box) for box in info.boxes])
        return saved(figure, key=KEY, title=TITLE, caption=_caption(info), alternative=alternative, spots=spots)


def _label(
    axes: "matplotlib.axes.Axes", boxes: Sequence[LossBox], *, middles: Sequence[float], shares: Sequence[float]
) -> None:
    """Write the magnitudes below and the shares of better masks above, as far as they do not overlap."""
    kept = with_room([(share, box.label) for share, box in zip(shares, boxes, strict=True)], character=0.009)
    axes.set_xticks([middles[place] for place in kept], [boxes[place].label for place in kept])
    axes.xaxis.set_minor_locator(matplotlib.ticker.FixedLocator(middles))
    percents = [f"{100 * box.share_better:.0f}%" for box in boxes]
    for place in with_room(list(zip(shares, percents, strict=True)), character=0.009, gap=0.01):
        axes.annotate(
            percents[place],
            (middles[place], 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color=INK,
            fontsize=8.5,
        )


def _draw_box(axes: "matplotlib.axes.Axes", box: LossBox, place: float, width: float) -> None:
    low, lower, middle, upper, high = box.quantiles
    if box.points >= FEWEST_FOR_BOX:
        axes.plot([place, place], [low, high], color=MUTED, linewidth=1.1, zorder=1)
        axes.bar(place, upper - lower, bottom=lower, width=width, color=PAPER, edgecolor=SERIES[0], linewidth=1.5)
    axes.plot([place - width / 2, place + width / 2], [middle, middle], color=SERIES[1], linewidth=2.0, zorder=3)
    if box.dots:
        spread = np.random.default_rng(len(box.dots)).uniform(-0.4, 0.4, len(box.dots))  # the same at every drawing
        axes.scatter(place + width * spread, box.dots, s=9, color=SERIES[0], alpha=0.55, linewidth=0, zorder=2)


def _text(box: LossBox) -> str:
    _, lower, middle, upper, _ = box.quantiles
    better = f"{100 * box.share_better:.0f}% of the masks better than the initial one"
    return f"C {box.label}: median {middle:.3g}, half between {lower:.3g} and {upper:.3g}; {better}"


def _caption(info: EarlyLosses) -> str:
    text = f"Residuals recorded in the first {info.steps} steps of the runs at each magnitude"
    if info.rates is not None:
        low, high = info.rates
        own = value_text(low) if low == high else f"{value_text(low)} to {value_text(high)}"
        text += f" with its smallest learning rate ({own}), whose logits moved least"
    boxes = any(box.points >= FEWEST_FOR_BOX for box in info.boxes)
    shown = ": boxes from the 25% to the 75% quantile, whiskers from 5% to 95%, median in orange" if boxes else ""
    dots = "; dots are single residuals" if any(box.dots for box in info.boxes) else ""
    return f"{text}{shown or ', median in orange'}{dots}. Other settings are pooled.{loss_sentence(info.noun)}"
