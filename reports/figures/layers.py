"""Mask change by layer: one line for each learned mask, with the range of its seeds."""

import matplotlib

from nmlab.reports.analysis.masks.layers import LayerChanges
from nmlab.reports.figures.points import Spot, listed
from nmlab.reports.figures.style import INK, SETTINGS, FigureFile, look_of, new_figure, saved

KEY, TITLE = "layer_change", "Mask change by layer"


def draw_layers(info: LayerChanges) -> FigureFile:
    """Draw a line over the layers for each mask, with the range of its seeds."""
    if info.skipped:
        return FigureFile(KEY, TITLE, "", skipped=info.skipped)
    places = range(len(info.layers))
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(4.0)
        axes = figure.add_subplot()
        for index, curve in enumerate(info.curves):
            colour, marker, dashes = look_of(index)
            axes.fill_between(places, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(
                places,
                curve.mean,
                label=curve.label,
                linewidth=1.6,
                markersize=4.5,
                color=colour,
                marker=marker,
                linestyle=dashes,
            )
        step = max(1, len(info.layers) // 28)
        axes.set_xticks(places[::step], info.layers[::step], rotation=60, ha="right", fontsize=8)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("% of kept weights exchanged", color=INK)
        axes.yaxis.grid(True)
        figure.legend(loc="outside upper left", ncols=5, fontsize=8.5)
        caption = (
            "Share of the kept weights that the initial mask did not keep, in the order of the network: mean over "
            "seeds; the band spans the seeds."
        )
        spots = [
            Spot(axes, ((place, mean),), f"{mean:.3g}% of {layer} exchanged", curve.key)
            for curve in info.curves
            for place, layer, mean in zip(places, info.layers, curve.mean, strict=True)
        ]
        texts = [f"{curve.label}: {min(curve.mean):.3g}% to {max(curve.mean):.3g}%" for curve in info.curves]
        alternative = f"Share of kept weights exchanged by layer: {listed(texts)}"
        return saved(figure, key=KEY, title=TITLE, caption=caption, alternative=alternative, spots=spots)
