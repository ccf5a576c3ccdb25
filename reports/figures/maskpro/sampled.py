"""Losses of masks drawn from the final logits: all minibatches on one scale, and a histogram of each."""

from collections.abc import Sequence

import matplotlib
import numpy as np

from nmlab.reports.analysis.maskpro.sampled_losses import BatchLosses, SampledLosses
from nmlab.reports.figures.points import listed
from nmlab.reports.figures.style import DASHES, INK, MUTED, SETTINGS, FigureFile, look_of, new_figure, saved
from nmlab.trials.contract.training_losses import loss_sentence

KEY, TITLE = "sampled_losses", "Losses of masks drawn from the final logits"
MOST_BATCHES = 4
ROOM = 0.06  # of the span, outside the outermost loss


def draw_sampled(info: SampledLosses) -> FigureFile:
    """Draw the minibatches on one axis, and a histogram of each, all equally wide, with the initial mask as a line."""
    if info.skipped:
        return FigureFile(KEY, TITLE, "", skipped=info.skipped)
    shown = info.batches[:MOST_BATCHES]
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(4.6)
        grid = figure.add_gridspec(2, len(shown), height_ratios=[0.32 + 0.1 * len(shown), 2.2])
        _draw_ranges(figure.add_subplot(grid[0, :]), shown)
        span = max(max(*batch.losses, batch.initial) - min(*batch.losses, batch.initial) for batch in shown)
        panels = [figure.add_subplot(grid[1, place]) for place in range(len(shown))]
        highest = max(
            _draw_histogram(axes, batch, place=place, span=span, noun=info.noun)
            for place, (axes, batch) in enumerate(zip(panels, shown, strict=True))
        )
        for axes in panels:
            axes.set_ylim(0, 1.08 * highest)
        panels[0].set_ylabel("masks")
        texts = [
            f"minibatch {place + 1}: {batch.losses[0]:.4g} to {batch.losses[-1]:.4g}, initial mask {batch.initial:.4g}"
            for place, batch in enumerate(shown)
        ]
        alternative = f"Losses in nats a token: {listed(texts)}"
        return saved(figure, key=KEY, title=TITLE, caption=_caption(info), alternative=alternative)


def _draw_ranges(axes: "matplotlib.axes.Axes", batches: Sequence[BatchLosses]) -> None:
    """Draw the range of each minibatch on a common axis, which shows their distance."""
    for place, batch in enumerate(batches):
        colour = look_of(place)[0]
        axes.plot([batch.losses[0], batch.losses[-1]], [place, place], color=colour, linewidth=5, solid_capstyle="butt")
        axes.plot(batch.initial, place, marker="|", color=INK, markersize=12, markeredgewidth=1.6)
    axes.set_yticks(range(len(batches)), [f"minibatch {place + 1}" for place in range(len(batches))])
    axes.set_ylim(len(batches) - 0.4, -0.6)
    axes.margins(x=0.04)
    axes.xaxis.grid(True)
    axes.set_title(
        "all on one scale: range of the masks, initial mask as a stroke", fontsize=8.5, color=MUTED, loc="left"
    )


def _draw_histogram(axes: "matplotlib.axes.Axes", batch: BatchLosses, *, place: int, span: float, noun: str) -> float:
    """Draw one minibatch; returns the height of its highest bar."""
    colour = look_of(place)[0]
    middle = (max(batch.losses[-1], batch.initial) + min(batch.losses[0], batch.initial)) / 2
    half = (0.5 + ROOM) * span
    edges = np.linspace(middle - half, middle + half, 41)
    counts, _, _ = axes.hist(batch.losses, bins=edges.tolist(), color=colour, alpha=0.75, linewidth=0)
    axes.axvline(batch.initial, color=INK, linewidth=1.4, linestyle=DASHES[1])
    axes.set_xlim(edges[0], edges[-1])
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4))
    axes.set_xlabel(f"{noun} on minibatch {place + 1} (nats a token)")
    better = sum(loss < batch.initial for loss in batch.losses) / len(batch.losses)
    axes.set_title(f"{100 * better:.0f}% below the initial mask (dashed)", fontsize=8.5, color=MUTED, loc="left")
    return float(np.max(counts))


def _caption(info: SampledLosses) -> str:
    count = len(info.batches[0].losses)
    first = (
        f"{count:,} masks drawn from the final logits of one run of {info.label}, each on {len(info.batches)} "
        f"minibatches. Minibatches spread {info.ratio:.3g} times as far as masks (standard deviations "
        f"{info.batch_deviation:.3g} and {info.mask_deviation:.3g} nats a token). "
    )
    means = sorted(info.batches, key=lambda batch: batch.mean)
    if means[0].losses[-1] < means[-1].losses[0]:
        first += f"The worst mask on the easiest minibatch has a lower {info.noun} than the best on the hardest. "
    return (
        f"{first}Between two minibatches the losses of the masks correlate at {info.agreement:.2f}. The histograms "
        f"have equal widths, so their spreads can be compared.{loss_sentence(info.noun)}"
    )
