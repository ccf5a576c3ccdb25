"""Loss residual by training step: the loss of sampled masks minus that of the initial mask."""

import matplotlib

from nmlab.reports.analysis.maskpro.residuals import ResidualInfo
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
