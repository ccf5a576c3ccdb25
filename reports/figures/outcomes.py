"""Where in the space runs ended early: one panel for each setting, one row for each way in which runs ended."""

from collections import Counter
from collections.abc import Sequence

import matplotlib

from nmlab.reports.analysis.settings import value_text
from nmlab.reports.analysis.space.outcomes import Outcome, OutcomePoint, Outcomes, SettingOutcomes
from nmlab.reports.figures.axes import axis_of, format_axis
from nmlab.reports.figures.points import Spot, listed, thinned
from nmlab.reports.figures.style import INK, PAPER, SERIES, SETTINGS, FigureFile, new_figure, saved
from nmlab.reports.values import counted

KEY, TITLE = "outcomes", "Where in the space runs ended early"
PER_ROW = 3
MOST_POINTS = 300  # of a panel
APART, MOST_APART = 0.14, 5  # of a row, how far points with the same value are drawn from each other; then again
LOOKS = {
    Outcome.FINISHED: ("o", SERIES[0]),
    Outcome.STOPPED_EARLY: ("s", SERIES[3]),
    Outcome.DIVERGED: ("X", SERIES[1]),
    Outcome.FAILED: ("v", INK),
}


def draw_outcomes(info: Outcomes) -> FigureFile:
    """Draw the panels in rows of three."""
    if info.skipped:
        return FigureFile(KEY, TITLE, "", skipped=info.skipped)
    rows, columns = -(-len(info.settings) // PER_ROW), min(PER_ROW, len(info.settings))
    spots: list[Spot] = []
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure((0.8 + 0.42 * len(info.kinds)) * rows)
        for place, setting in enumerate(info.settings):
            axes = figure.add_subplot(rows, columns, place + 1)
            spots += _draw_panel(axes, setting, info.kinds)
            axes.set_yticks(range(len(info.kinds)), info.kinds if place % columns == 0 else [""] * len(info.kinds))
        counts = [f"{kind} {runs}" for kind, runs in zip(info.kinds, info.runs, strict=True)]
        alternative = f"Runs of the search: {listed([*counts, *_ranges(info)])}"
        return saved(figure, key=KEY, title=TITLE, caption=_caption(info), alternative=alternative, spots=spots)


def _draw_panel(axes: "matplotlib.axes.Axes", setting: SettingOutcomes, kinds: Sequence[Outcome]) -> list[Spot]:
    axis = axis_of([point.value for point in setting.points])
    lost = [place for place, point in enumerate(setting.points) if point.outcome is not Outcome.FINISHED]
    shown = thinned(range(len(setting.points)), kept=lost, most=MOST_POINTS)
    points = [setting.points[at] for at in shown]
    places = [axis.places[at] for at in shown]
    heights = _heights(points, places, kinds)
    for kind in kinds:
        own = [at for at, point in enumerate(points) if point.outcome is kind]
        marker, colour = LOOKS[kind]
        axes.scatter(
            [places[at] for at in own],
            [heights[at] for at in own],
            s=[20 + 12 * len(points[at].run_ids) for at in own],
            marker=marker,
            color=colour,
            edgecolors=PAPER,
            linewidths=0.6,
        )
    format_axis(axes, name=setting.name, axis=axis)
    axes.set_ylim(len(kinds) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    return [
        Spot(axes, ((place, height),), _text(setting.name, point), point.key, point.run_ids)
        for point, place, height in zip(points, places, heights, strict=True)
    ]


def _heights(points: Sequence[OutcomePoint], places: Sequence[float], kinds: Sequence[Outcome]) -> list[float]:
    """Return the rows of the points, shifted slightly where several have the same value."""
    taken: Counter[tuple[float, Outcome]] = Counter()
    heights = []
    for point, place in zip(points, places, strict=True):
        beside = taken[place, point.outcome] % MOST_APART
        taken[place, point.outcome] += 1
        heights.append(kinds.index(point.outcome) + APART * (beside // 2 + beside % 2) * (-1) ** beside)
    return heights


def _text(name: str, point: OutcomePoint) -> str:
    return f"{name} {value_text(point.value)}, {point.outcome}"


def _ranges(info: Outcomes) -> list[str]:
    """Return for each setting of numbers the range in which runs did not end as hoped."""
    found = []
    for setting in info.settings:
        lost = [point.value for point in setting.points if point.outcome is not Outcome.FINISHED]
        numbers = [value for value in lost if not isinstance(value, str)]
        if numbers and len(numbers) == len(lost):
            found.append(f"the others at {setting.name} {value_text(min(numbers))} to {value_text(max(numbers))}")
    return found


def _caption(info: Outcomes) -> str:
    counts = (f"{counted(runs, noun='run')} {kind}" for kind, runs in zip(info.kinds, info.runs, strict=True))
    text = (
        f"How the runs of the search ended, by the value of each setting: {', '.join(counts)}. One mark per "
        "configuration and outcome, larger for more runs; marks of the same value are drawn beside each other."
    )
    most = max(len(setting.points) for setting in info.settings)
    if most > MOST_POINTS:
        text += f" Of {most:,} marks of a panel about {MOST_POINTS} are drawn, those of other ends first."
    return text
