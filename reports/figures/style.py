"""Style of all figures: colours, fonts and saving.

Series have six colours that differ from each other also for colour-blind readers (protanopia, deuteranopia and
tritanopia, simulated after Machado et al. 2009) and have a contrast of 3 to the page, as WCAG asks of graphics; a test
computes both. They have a marker and a dash pattern each, so that they differ in grey print too. Ordered values use
viridis, whose lightness is monotone. In the HTML page every colour is replaced by a CSS variable, so that one SVG
serves the light and the dark page.
"""

import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from nmlab.reports.figures.points import DataPoint, Spot, placed
from nmlab.trials.contract.escaping import printable

INK, MUTED, GRID, PAPER = "#1c2128", "#5d6672", "#d8dde3", "#fefefe"
SERIES = ("#0d43ba", "#d87c0d", "#0f7947", "#a57e8e", "#8e570d", "#598ef2")
Dashes: TypeAlias = str | tuple[float, tuple[float, ...]]
DASHES: tuple[Dashes, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (3, 1.5)), (0, (8, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P")
LEVEL_COUNT = 9
WIDTH_INCHES = 9.6
WIDE = 300.0  # ratio of the ends of a log axis above which only decades have ticks
DOTS_PER_INCH = 160


def _viridis(start: float, stop: float) -> tuple[str, ...]:
    colours = matplotlib.colormaps["viridis"]
    steps = (start + (stop - start) * index / (LEVEL_COUNT - 1) for index in range(LEVEL_COUNT))
    return tuple(matplotlib.colors.to_hex(colours(step)) for step in steps)


LEVELS = _viridis(0.0, 0.88)  # best first: darkest on paper
LEVELS_ON_DARK = _viridis(1.0, 0.22)  # best first: lightest on a dark page
SERIES_ON_DARK = ("#448df2", "#ea6a31", "#3fe386", "#c486bb", "#ebe81e", "#c6f2e3")

LIGHT: Mapping[str, str] = {
    "fig-ink": INK,
    "fig-muted": MUTED,
    "fig-grid": GRID,
    "fig-paper": PAPER,
    **{f"fig-series-{index}": colour for index, colour in enumerate(SERIES)},
    **{f"fig-level-{index}": colour for index, colour in enumerate(LEVELS)},
}
DARK: Mapping[str, str] = {
    "fig-ink": "#e4e8ee",
    "fig-muted": "#9aa5b3",
    "fig-grid": "#343b45",
    "fig-paper": "#171b21",
    **{f"fig-series-{index}": colour for index, colour in enumerate(SERIES_ON_DARK)},
    **{f"fig-level-{index}": colour for index, colour in enumerate(LEVELS_ON_DARK)},
}

SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.grid": False,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "savefig.facecolor": "none",
    "pdf.fonttype": 42,  # TrueType: Type 3 fonts are refused by some publishers
    "svg.fonttype": "path",
    "text.color": INK,
    "text.parse_math": False,  # a dollar in a name is a dollar
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
}


def look_of(index: int) -> tuple[str, str, Dashes]:
    """Return colour, marker and dashes of a series by its number; 36 series differ in colour or marker."""
    turn = index // len(SERIES)
    return SERIES[index % len(SERIES)], MARKERS[(index + turn) % len(MARKERS)], DASHES[(index + turn) % len(DASHES)]


_METHODS = ("magnitude", "wanda", "sparsegpt_mask", "susi", "pruner_zero", "gblm", "proxsparse", "maskpro", "maskllm")
_OTHERS = 5 * len(DASHES)  # looks: the colours but the first, each with every dash pattern


def method_look(name: str) -> tuple[str, Dashes]:
    """Return the colour and dashes of a method's reference line, the same in every report; dense is solid ink."""
    if name == "dense":
        return INK, DASHES[0]
    known = name in _METHODS
    place = _METHODS.index(name) if known else zlib.crc32(name.encode()) % _OTHERS
    return SERIES[1 + place % 5], DASHES[(1 + place % 5 + place // 5) % len(DASHES)]


@dataclass(frozen=True, slots=True)
class FigureFile:
    """A drawn figure, or the reason why there is none (then the drawings are empty).

    ``alternative`` says in words what the drawing shows. ``points`` is what a reader can point at.
    """

    key: str
    title: str
    caption: str
    svg: bytes = b""
    png: bytes = b""
    pdf: bytes = b""
    skipped: str = ""
    alternative: str = ""
    points: tuple[DataPoint, ...] = ()


def new_figure(height_inches: float) -> Figure:
    """Return an empty figure of the report's width."""
    figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def saved(
    figure: Figure, *, key: str, title: str, caption: str, alternative: str, spots: Sequence[Spot] = ()
) -> FigureFile:
    """Return a figure as SVG, PNG and PDF whose bytes depend only on the drawing."""
    svg, png, pdf = io.BytesIO(), io.BytesIO(), io.BytesIO()
    for text in figure.findobj(Text):
        text.set_text(printable(text.get_text()))
    with matplotlib.rc_context({**SETTINGS, "svg.hashsalt": key}):
        figure.savefig(svg, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        figure.set_layout_engine("none")  # the same layout in every format, which is found once
        points = placed(spots, figure=figure)
        figure.savefig(png, format="png", dpi=DOTS_PER_INCH, facecolor="white", metadata={"Software": None})
        nothing = dict.fromkeys(("CreationDate", "Creator", "Producer"))
        figure.savefig(pdf, format="pdf", facecolor="white", metadata=nothing)
    drawings = (svg.getvalue(), png.getvalue(), pdf.getvalue())
    return FigureFile(key, title, caption, *drawings, alternative=alternative, points=points)


def numbers_on_log_axis(axes: "matplotlib.axes.Axes", *, axis: str) -> None:
    """Put an axis on a log scale and write its ticks as plain numbers; over many decades, one tick each."""
    own = axes.xaxis if axis == "x" else axes.yaxis
    (axes.set_xscale if axis == "x" else axes.set_yscale)("log")
    low, high = own.get_data_interval()
    is_wide = low > 0 and high / low > WIDE
    own.set_major_locator(matplotlib.ticker.LogLocator() if is_wide else matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
    own.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: plain_number(value)))
    own.set_minor_locator(matplotlib.ticker.NullLocator())


def plain_number(value: float) -> str:
    """Return a tick's number: ``0.05``, ``200``, ``50k``, ``2M``."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):g}{letter}"
    return f"{value:g}"
