"""Each learned mask against the initial mask it started from, paired by seed."""

from collections.abc import Collection, Sequence

from nmlab.reports.analysis.configurations import Configuration, baselines, ranks
from nmlab.reports.analysis.marks import ONLY_SEEDS, MarkEvidence, configuration_marks
from nmlab.reports.analysis.metrics import difference_style, metric_column, plain_name
from nmlab.reports.analysis.starts import has_telling_start
from nmlab.reports.statistics import LEVEL
from nmlab.reports.tables.cells import (
    CONFIGURATION,
    METHOD,
    PATTERN,
    RANK,
    SEEDS,
    Settings,
    has_several,
    marked_means,
    rank_cell,
    seeds_cell,
)
from nmlab.reports.values import (
    Cell,
    Column,
    Interval,
    ReportTable,
    Row,
    counted,
    estimate_cell,
    without_empty_columns,
)

KEY, TITLE = "learned_vs_initial", "Learned mask against its own initial mask"
DIFFERENCE = "Difference = learned minus initial, paired by seed, with its 95% t-interval."
CAPTION = f"{DIFFERENCE} Bold: the best, and all that no test separates from it."
ON_VALIDATION = (
    f"{DIFFERENCE} Both are measured on validation text, on which starts are measured. It selected too, so the gain of "
    "the best is optimistic."
)
EXCLUDES_ZERO = {None: "one seed", True: "yes", False: "no"}


def learned_table(configurations: Sequence[Configuration], *, evidence: MarkEvidence = ONLY_SEEDS) -> ReportTable:
    """Return initial mean, learned mean and paired difference of every configuration that learned a mask."""
    learned = [item for item in configurations if item.is_learned]
    if not learned:
        return ReportTable(KEY, TITLE, CAPTION, (), ())
    objective = learned[0].objective
    final = metric_column(objective.metric, objective=objective, title="learned mask")
    marks = configuration_marks(learned, metrics=[final.key], evidence=evidence)[final.key]
    values = marked_means(learned, metric=final.key, marks=marks)
    settings, places = Settings.of(learned, baselines=baselines(learned)), ranks(configurations)
    several = {name: has_several(learned, attribute=name) for name in ("method", "pattern")}
    rules = baselines(configurations)
    telling = {item.key for item in learned if has_telling_start(item, members=rules)}
    rows = [
        _row(
            item,
            lead=(
                rank_cell(item, places=places),
                *(Cell(getattr(item, name) if shown else "") for name, shown in several.items()),
                settings.cell(item),
            ),
            value=value,
            is_telling=item.key in telling,
        )
        for item, value in zip(learned, values, strict=True)
    ]
    columns = (RANK, METHOD, PATTERN, settings.column, *_columns(learned[0], final))
    caption = ON_VALIDATION if objective.selects_on_validation else CAPTION
    return without_empty_columns(ReportTable(KEY, TITLE, caption, columns, tuple(rows), notes=_notes(learned, telling)))


def _columns(first: Configuration, final: Column) -> tuple[Column, ...]:
    metric = first.objective.metric
    return (
        metric_column(first.objective.initial, title="initial mask"),
        final,
        Column(
            "difference",
            f"difference in {plain_name(metric)}",
            style=difference_style(metric),
            direction=final.direction,
            interval=Interval.BRACKET,
            help="mean over seeds of learned minus own initial mask, and its 95% t-interval",
        ),
        Column("excludes_zero", "excludes zero", help="whether the interval of the difference excludes zero"),
        SEEDS,
        CONFIGURATION,
    )


def _row(item: Configuration, *, lead: tuple[Cell, ...], value: Cell, is_telling: bool) -> Row:
    gain = item.gain if is_telling else None
    paired = item.runs_with(item.objective.initial)
    cells = (
        *lead,
        estimate_cell(item.initial, run_ids=paired),
        value,
        estimate_cell(gain, run_ids=paired),
        Cell(EXCLUDES_ZERO[gain.excludes_zero] if gain else None, run_ids=paired),
        seeds_cell(item),
        Cell(item.key, run_ids=item.run_ids),
    )
    return Row(cells, run_ids=item.run_ids, kind="searched", is_flawed=not item.is_complete)


def _notes(learned: Sequence[Configuration], telling: Collection[str]) -> tuple[str, ...]:
    """Return the notes on the intervals; ``telling`` are the configurations whose initial mask is a fair start."""
    notes = []
    if omitted := len(learned) - len(telling):
        notes.append(
            f"{counted(omitted, noun='configuration')} without a difference: the start was drawn at random or is far "
            "worse than every rule, so a gain over it says nothing. See the comparison with the best rule instead."
        )
    if any(len(item.finished) == 1 for item in learned):
        notes.append("One seed gives a difference but no interval.")
    if len(telling) > 1:
        notes.append(
            f"{counted(len(telling), noun='interval')} at 95% each, not corrected for their number: if no mask had "
            f"learned, about {LEVEL * len(telling):.1f} of them would exclude zero by chance."
        )
    if has_several(learned, attribute="pattern"):
        notes.append("Masks of different patterns are not compared with each other.")
    return tuple(notes)
