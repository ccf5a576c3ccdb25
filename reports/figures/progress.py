"""Quality against tokens spent: the searched metric at every evaluation of a run."""

import math

import matplotlib

from nmlab.reports.analysis.metrics import plain_name, style_of
from nmlab.reports.analysis.training.progress import ProgressByTokens, ProgressCurve
from nmlab.reports.figures.points import Spot, listed
from nmlab.reports.figures.style import (
    DASHES,
    MUTED,
    SETTINGS,
    FigureFile,
    look_of,
    new_figure,
    numbers_on_log_axis,
    saved,
)
from nmlab.reports.values import number_text

KEY, TITLE = "progress", "Quality against tokens"
ROOM_FOR_NAME = 0.045  # of the height


def draw_progress(info: ProgressByTokens) -> FigureFile:
    """Draw the curves with the range of their seeds, and untrained masks as horizontal lines."""
    if info.skipped:
        return FigureFile(KEY, TITLE, "", skipped=info.skipped)
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(4.4)
        axes = figure.add_subplot()
        for index, curve in enumerate(info.curves):
            colour, marker, dashes = look_of(index)
            axes.fill_between(curve.tokens, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(
                curve.tokens,
                curve.mean,
                label=curve.label,
                linewidth=1.7,
                color=colour,
                marker=marker,
                linestyle=dashes,
                markersize=4.5,
            )
        if info.is_log:
            numbers_on_log_axis(axes, axis="y")
        for _, value in info.references:
            axes.axhline(value, color=MUTED, linewidth=0.9, linestyle=DASHES[2], zorder=0.5)
        for name, value in _labels(info, axes.get_ylim()):
            axes.annotate(
                name,
                (1.0, value),
                xycoords=("axes fraction", "data"),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
        axes.xaxis.set_major_formatter(matplotlib.ticker.EngFormatter(sep=""))
        axes.set(xlabel="tokens spent on one run, its initial mask included", ylabel=plain_name(info.metric))
        axes.yaxis.grid(True)
        figure.legend(loc="outside upper left", ncols=4, fontsize=8.5)
        spots = [spot for curve in info.curves for spot in _spots(axes, curve, info.metric)]
        texts = [f"{curve.label} from {curve.mean[0]:.4g} to {curve.mean[-1]:.4g}" for curve in info.curves]
        texts += [f"{name} {value:.4g}" for name, value in info.references]
        alternative = f"{plain_name(info.metric)}: {listed(texts)}"
        return saved(figure, key=KEY, title=TITLE, caption=_caption(info), alternative=alternative, spots=spots)


def _spots(axes: "matplotlib.axes.Axes", curve: ProgressCurve, metric: str) -> list[Spot]:
    """Return the points of a curve."""
    style = style_of(metric)
    found = []
    for tokens, mean, low, high in zip(curve.tokens, curve.mean, curve.low, curve.high, strict=True):
        value, *ends = (number_text(number, style=style) for number in (mean, low, high))
        text = f"{plain_name(metric)} {value} after {tokens:,.0f} tokens, seeds from {ends[0]} to {ends[1]}"
        found.append(Spot(axes, ((tokens, mean),), text, curve.key))
    return found


def _labels(info: ProgressByTokens, limits: tuple[float, float]) -> list[tuple[str, float]]:
    """Return the names of the lines with their places; lines too close for two names share a place."""
    scale = math.log if info.is_log else float
    room = ROOM_FOR_NAME * (scale(limits[1]) - scale(limits[0]))
    labels: list[tuple[str, float]] = []
    for name, value in sorted(info.references, key=lambda line: line[1]):
        if labels and scale(value) - scale(labels[-1][1]) < room:
            labels[-1] = (f"{labels[-1][0]}, {name}", labels[-1][1])
        else:
            labels.append((name, value))
    return labels


def _caption(info: ProgressByTokens) -> str:
    text = (
        "The best configuration of each learned method: mean over its seeds at steps where all were evaluated; the "
        "band spans the seeds."
    )
    if info.references:
        text += " Dotted: masks without training, and the dense model."
    far = [f"{name} at {number_text(value, style=style_of(info.metric))}" for name, value in info.outside]
    return f"{text} Outside the picture: {', '.join(far)}." if far else text
