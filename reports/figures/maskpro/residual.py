"""Loss residual by training step: a line for each configuration, the best of each method and estimator named."""

import matplotlib

from nmlab.reports.analysis.maskpro.residuals import ResidualCurve, Residuals
from nmlab.reports.figures.points import Spot, listed
from nmlab.reports.figures.style import DASHES, GRID, INK, MUTED, SERIES, SETTINGS, FigureFile, new_figure, saved
from nmlab.reports.values import counted
from nmlab.trials.contract.training_losses import loss_sentence

KEY, TITLE = "loss_residual", "Loss residual during training"
LONG_LABEL = 45  # characters; longer labels stand in one column


def draw_residual(info: Residuals) -> FigureFile:
    """Draw the named curves in colour with the range of their seeds, the others thin and grey."""
    if info.skipped:
        return FigureFile(KEY, TITLE, "", skipped=info.skipped)
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(4.3)
        axes = figure.add_subplot()
        for curve in info.curves[info.named :]:
            axes.plot(curve.steps, curve.mean, color=GRID, linewidth=1.0, zorder=1)
        for index, curve in enumerate(info.curves[: info.named]):
            colour = SERIES[index]
            axes.fill_between(curve.steps, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(curve.steps, curve.mean, color=colour, linestyle=DASHES[index], linewidth=1.8, label=curve.label)
        axes.axhline(0.0, color=MUTED, linewidth=0.9)
        axes.set(xlabel="training step", ylabel=f"{info.noun} residual  f(mask) − f(initial mask)")
        axes.yaxis.grid(True)
        axes.margins(x=0.01)
        columns = 1 if any(len(curve.label) > LONG_LABEL for curve in info.curves[: info.named]) else 2
        figure.legend(loc="outside upper left", ncols=columns, labelcolor=INK, fontsize=8.5)
        texts = [f"residual {_ends(curve)} over {counted(curve.seeds, noun='seed')}" for curve in info.curves]
        spots = [
            Spot(axes, list(zip(curve.steps, curve.mean, strict=True)), text, curve.key)
            for curve, text in zip(info.curves, texts, strict=True)
        ]
        alternative = listed([f"{curve.label}: {_ends(curve)}" for curve in info.curves[: info.named]])
        return saved(figure, key=KEY, title=TITLE, caption=_caption(info), alternative=alternative, spots=spots)


def _ends(curve: ResidualCurve) -> str:
    return f"from {curve.mean[0]:.3g} to {curve.mean[-1]:.3g}" if curve.mean else "without a step that all seeds have"


def _caption(info: Residuals) -> str:
    binned = f", averaged over {info.steps_per_bin:.0f} steps" if info.steps_per_bin > 1 else ""
    text = (
        f"Mean over finished seeds{binned}; the band spans the seeds. Below zero, the sampled masks have a lower "
        f"{info.noun} than the initial mask on the same minibatches. Named: the best of each method and estimator, "
        f"then the next best.{loss_sentence(info.noun)}"
    )
    if info.has_diverged:
        text += (
            " An estimator of which no run finished is shown at the configuration with the least residual, up to the "
            "step at which its first seed diverged."
        )
    rest = len(info.curves) - info.named
    return text + (f" In grey: {counted(rest, noun='further configuration')}." if rest else "")
