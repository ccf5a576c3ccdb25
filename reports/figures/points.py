"""What a reader can point at in a figure: points and lines of configurations, with their values and runs.

Drawings stay plain SVG, PNG and PDF for papers. The HTML page lays these places over the SVG, and its script shows
their text, lists their runs, and highlights the configuration of one in every figure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import matplotlib
from matplotlib.figure import Figure

from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.analysis.metrics import metric_column, plain_name
from nmlab.reports.statistics import MeanEstimate
from nmlab.reports.values import cell_text, counted, estimate_cell

DECIMALS = 1
POINTS_PER_INCH = 72
IN_WORDS = 6
"""How many things a text alternative names one by one."""


@dataclass(frozen=True, slots=True)
class DataPoint:
    """A point or a line of a finished drawing.

    Attributes:
        text: what is shown on hover and read aloud: which configuration, its value, its interval.
        places: corners from the upper left in points of 1/72 inch; one for a point.
        configuration: the configuration's hash; empty where it is of none.
        run_ids: the runs that the value comes from.
    """

    text: str
    places: tuple[tuple[float, float], ...]
    configuration: str = ""
    run_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Spot:
    """A point or a line while it is drawn, in the data coordinates of its panel; places follow from the layout."""

    axes: "matplotlib.axes.Axes"
    corners: Sequence[tuple[float, float]]
    text: str
    configuration: str = ""
    run_ids: tuple[str, ...] = ()


def placed(spots: Sequence[Spot], *, figure: Figure) -> tuple[DataPoint, ...]:
    """Return the spots of a figure whose layout is done, at their places; what lies outside its panel is left out."""
    found = []
    for spot in spots:
        places = _places(spot, figure)
        if places:
            found.append(DataPoint(spot.text, places, spot.configuration, spot.run_ids))
    return tuple(found)


def with_runs(point: DataPoint, *, item: Configuration, name: str) -> DataPoint:
    """Return a point of a configuration with its name in front and, where it has no runs yet, its finished runs."""
    run_ids = point.run_ids or tuple(trial.run_id for trial in item.finished) or item.run_ids
    text = f"{name}: {point.text}; {counted(len(run_ids), noun='run')}"
    return replace(point, text=text, run_ids=run_ids)


def mean_text(mean: MeanEstimate, *, metric: str) -> str:
    """Return a mean as tables print it, after the metric's name: ``perplexity 78.12 ± 1.30``."""
    return f"{plain_name(metric)} {cell_text(estimate_cell(mean), column=metric_column(metric))}"


def listed(texts: Sequence[str], *, most: int = IN_WORDS) -> str:
    """Return the first texts as one sentence, and how many more there are; for a text alternative."""
    shown = "; ".join(texts[:most])
    return f"{shown}; and {len(texts) - most} more." if len(texts) > most else f"{shown}."


def thinned(places: Sequence[int], *, kept: Sequence[int], most: int) -> list[int]:
    """Return at most about ``most`` of some places, in order: all of ``kept``, and others at even distances."""
    if len(places) <= most:
        return list(places)
    always = set(kept[:most])
    others = [place for place in places if place not in always]
    room = max(1, most - len(always))
    step = -(-len(others) // room)
    return sorted(always | set(others[::step]))


def _places(spot: Spot, figure: Figure) -> tuple[tuple[float, float], ...]:
    """Return the corners of a spot in the drawing; empty where one is no number or all lie outside of the panel."""
    to_panel, to_figure = spot.axes.transData - spot.axes.transAxes, spot.axes.transData - figure.transFigure
    width, height = (POINTS_PER_INCH * float(inches) for inches in figure.get_size_inches())
    inside, places = False, []
    for corner in spot.corners:
        across, up = to_panel.transform(corner)
        inside = inside or (-0.01 <= across <= 1.01 and -0.01 <= up <= 1.01)
        left, bottom = to_figure.transform(corner)
        if not (abs(left) <= 2 and abs(bottom) <= 2):  # NaN too
            return ()
        places.append((round(width * float(left), DECIMALS), round(height * (1 - float(bottom)), DECIMALS)))
    return tuple(places) if inside else ()
