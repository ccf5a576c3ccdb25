"""The summary: the dense model, the baselines, and the best configuration of each searched method."""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from nmlab.reports.analysis.configurations import Configuration, comparable_group, evaluation_setting
from nmlab.reports.analysis.marks import marks_of
from nmlab.reports.analysis.metrics import alias_of, chosen_on, evaluation_metrics, is_counted, plain_name
from nmlab.reports.analysis.pairwise import Competitor, Confirmed, PairwiseComparison, Side, Winner, compared_with_best
from nmlab.reports.analysis.summary_rows import SummaryRow, summary_rows_of
from nmlab.reports.read.objective import Objective
from nmlab.reports.tables.cells import (
    CONFIGURATION,
    PATTERN,
    SEEDS,
    fresh_column,
    marked,
    mean_cell,
    metric_columns,
    seeds_cell,
)
from nmlab.reports.values import Cell, Column, Mark, ReportTable, Row, Style, without_empty_columns

PairwiseComparisons: TypeAlias = Mapping[str, Mapping[Hashable, Sequence[PairwiseComparison]]]

MASK = Column("mask", "mask")
EVALUATED = Column("evaluated", "evaluated", help="model and evaluation text, where rows differ in them")
SETTING = Column("setting", "setting", help="the settings that the search varied, as in the best configuration")
LOOKED_AT = Column(
    "looked_at",
    "looked at",
    Style.INTEGER,
    help="configurations of the search, of all methods, that the best was among",
)
CAPTION = (
    "Mean and 95% t-interval over seeds. Bold: the best of the masks with the same pattern, model and text, and all "
    "that no test separates from it. Underlined: the next best mean. Where nothing could be tested, nothing is marked. "
    "The dense model is shown for scale and does not compete."
)


def summary_table(
    configurations: Sequence[Configuration],
    *,
    comparisons: PairwiseComparisons | None = None,
    winners: Collection[Winner] = (),
    confirmed: Mapping[Hashable, Confirmed] | None = None,
) -> ReportTable:
    """Return the summary table of a study.

    Rows: dense, the baselines, and for each searched method the initial mask of its best configuration and
    that configuration, within each group of comparable configurations. The dense row never competes for a mark, nor
    does a mean that lacks a seed.

    Args:
        configurations: all of a launch, best first.
        comparisons: for each metric, the rows of each group against its best; by default over seeds alone.
        winners: the best of each search against all others of the search.
        confirmed: the best of each group on fresh seeds, on which the marks rest where there is any.
    """
    again = confirmed or {}
    summary_rows = summary_rows_of(configurations)
    objective = configurations[0].objective
    metrics = evaluation_metrics(configurations, objective=objective)
    shared = set.intersection(*(set(evaluation_setting(row.item)) for row in summary_rows))
    means = _means(summary_rows, metrics, comparisons, winners=winners)
    if again:
        means = [_without_marks(own, summary_rows, again) for own in means]
    fresh = _fresh_cells(summary_rows, again)
    table = ReportTable(
        key="summary",
        title="Summary",
        caption=CAPTION,
        columns=(
            MASK,
            fresh_column(objective),
            *_metric_columns(metrics, configurations, is_confirmed=bool(again)),
            SEEDS,
            SETTING,
            EVALUATED,
            PATTERN,
            LOOKED_AT,
            CONFIGURATION,
        ),
        rows=tuple(_row(row, own, shared) for row, *own in zip(summary_rows, fresh, *means, strict=True)),
        notes=_notes(configurations, summary_rows),
    )
    return without_empty_columns(table)


def _means(
    summary_rows: Sequence[SummaryRow],
    metrics: Sequence[str],
    comparisons: PairwiseComparisons | None,
    *,
    winners: Collection[Winner],
) -> list[tuple[Cell, ...]]:
    """Return the marked means of every metric, from top to bottom."""
    competitors = [row.competitor for row in summary_rows]
    compared = comparisons or compared_with_best(competitors, metrics=metrics, evaluations={})
    return [
        marked(
            (mean_cell(row.side, metric=metric) for row in competitors),
            marks=marks_of(competitors, metric=metric, comparisons=compared[metric], winners=winners),
        )
        for metric in metrics
    ]


def _metric_columns(
    metrics: Sequence[str], configurations: Sequence[Configuration], *, is_confirmed: bool
) -> tuple[Column, ...]:
    """Return the columns of the means of the search, which say so where means on fresh seeds stand beside."""
    found = metric_columns(metrics, configurations=configurations)
    return tuple(replace(own, title=f"{own.title} in the search") if is_confirmed else own for own in found)


def _without_marks(
    cells: Sequence[Cell], summary_rows: Sequence[SummaryRow], confirmed: Mapping[Hashable, Confirmed]
) -> tuple[Cell, ...]:
    """Return means of the search without marks in groups that fresh seeds decide."""
    pairs = zip(cells, summary_rows, strict=True)
    return tuple(replace(cell, mark=Mark.NONE) if row.group in confirmed else cell for cell, row in pairs)


def _fresh_cells(summary_rows: Sequence[SummaryRow], confirmed: Mapping[Hashable, Confirmed]) -> tuple[Cell, ...]:
    """Return the marked means on fresh seeds; what does not depend on the seed has its one value there too."""
    if not confirmed:
        return (Cell(None),) * len(summary_rows)
    metric = summary_rows[0].item.objective.reported
    shown = [_fresh_side(row, confirmed) for row in summary_rows]
    competitors = [
        Competitor(side or Side(row.item), None if side is None else row.group)
        for side, row in zip(shown, summary_rows, strict=True)
    ]
    compared = {group: own.compared for group, own in confirmed.items() if own.compared}
    marks = marks_of(competitors, metric=metric, comparisons=compared)
    cells = (Cell(None) if side is None else mean_cell(side, metric=metric) for side in shown)
    return marked(cells, marks=marks)


def _fresh_side(row: SummaryRow, confirmed: Mapping[Hashable, Confirmed]) -> Side | None:
    """Return the runs of a row that stand among fresh seeds: new runs, or those of a mask without random draws."""
    item = row.item
    if row.kind == "initial" or not (item.is_dense or row.group in confirmed):
        return None
    is_fixed = item.is_baseline and item.is_complete and not Side(item).has_training_noise
    return Side(item.as_reported) if item.is_confirmed or is_fixed else None


def _row(row: SummaryRow, means: Sequence[Cell], shared: set[str]) -> Row:
    item = row.item
    evaluated = ", ".join(part for part in evaluation_setting(item) if part not in shared)
    pattern = Cell("" if item.is_dense else item.pattern)
    looked_at = Cell(row.looked_at if row.looked_at > 1 else None)
    cells = (
        Cell(row.name),
        *means,
        seeds_cell(item),
        Cell(row.setting),
        Cell(evaluated),
        pattern,
        looked_at,
        Cell(item.key, run_ids=item.run_ids),
    )
    return Row(cells, run_ids=item.run_ids, kind=row.kind, is_flawed=not item.is_complete)


def _notes(configurations: Sequence[Configuration], summary_rows: Sequence[SummaryRow]) -> tuple[str, ...]:
    notes = []
    objective = configurations[0].objective
    alias = alias_of(configurations, objective=objective)
    if alias is not None:
        notes.append(f"{plain_name(objective.reported)} is this study's {plain_name(alias)}.")
    if any(row.tried > 1 for row in summary_rows) and not is_counted(objective.metric):
        notes.append(_about_selection(objective))
    if any(row.item.is_confirmed for row in summary_rows):
        notes.append("The marks rest on the means on fresh seeds. Means over the seeds of the search have no marks.")
    groups = {comparable_group(row.item) for row in summary_rows if not row.item.is_dense}
    if len(groups) > 1:
        notes.append(f"{len(groups)} groups of rows are not compared with each other.")
    return tuple(notes)


def _about_selection(objective: Objective) -> str:
    chosen = chosen_on(objective.reported, objective=objective)
    if objective.selects_on_validation:
        return f"The best of several configurations was chosen {chosen}. Those means stand beside and are not marked."
    return f"The best of several configurations was chosen {chosen}: its mean in the search is optimistic."
