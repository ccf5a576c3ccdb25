"""Hyperparameter importance as bars with their bootstrap intervals."""

import matplotlib

from nmlab.reports.analysis.metrics import plain_name
from nmlab.reports.analysis.space.importance import Importance, Share
from nmlab.reports.figures.points import Spot, listed
from nmlab.reports.figures.style import INK, SERIES, SETTINGS, FigureFile, new_figure, saved

KEY, TITLE = "importance", "Hyperparameter importance"


def draw_importance(info: Importance) -> FigureFile:
    """Draw the shares as bars with their values and the intervals as whiskers."""
    if info.skipped:
        return FigureFile(KEY, TITLE, "", skipped=info.skipped)
    rows = range(len(info.shares))
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(0.9 + 0.34 * len(info.shares))
        axes = figure.add_subplot()
        axes.barh(rows, [share.value for share in info.shares], height=0.62, color=SERIES[0])
        for row, share in enumerate(info.shares):
            axes.plot([share.low, share.high], [row, row], color=INK, linewidth=1.3, marker="|", markersize=7)
            text = f"{share.value:.2f}"
            axes.annotate(text, (share.high, row), xytext=(8, 0), textcoords="offset points", va="center", color=INK)
        axes.set_yticks(rows, [share.name for share in info.shares])
        axes.invert_yaxis()
        axes.set_xlim(0, 1.08 * max(share.high for share in info.shares))
        axes.set_xlabel("share of importance")
        axes.tick_params(axis="y", length=0)
        axes.xaxis.grid(True)
        axes.set_axisbelow(True)
        texts = [_text(share) for share in info.shares]
        spots = [
            Spot(axes, ((0.0, row), (share.value, row)), f"{text}; from {info.configurations} configurations")
            for row, (share, text) in enumerate(zip(info.shares, texts, strict=True))
        ]
        alternative = f"Shares of importance: {listed(texts)}"
        return saved(figure, key=KEY, title=TITLE, caption=_caption(info), alternative=alternative, spots=spots)


def _text(share: Share) -> str:
    return f"{share.name}: {share.value:.2f}, 95% interval {share.low:.2f} to {share.high:.2f}"


def _caption(info: Importance) -> str:
    text = (
        f"PED-ANOVA over {info.configurations} configurations (mean over seeds): how much each hyperparameter "
        f"decides whether {plain_name(info.metric)} is among the best {100 * info.quantile:.0f}%. Shares sum to one. "
        f"A whisker is the 95% interval over {info.resamples} resamples of the configurations (bootstrap): "
        "where whiskers overlap, the order is not certain."
    )
    return text + (f" On a log scale: {', '.join(info.log_scaled)}." if info.log_scaled else "")
