"""The summary: the dense model, the baselines, and the best configuration of each searched method."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from nmlab.reports.analysis.configurations import Configuration, comparable_group, evaluation_setting
from nmlab.reports.analysis.metrics import alias_of, chosen_on, evaluation_metrics, is_counted, plain_name
from nmlab.reports.analysis.pairwise import PairwiseComparison, tied_with_best, untested_groups
from nmlab.reports.analysis.summary_rows import SummaryRow, summary_rows_of
from nmlab.reports.tables.cells import CONFIGURATION, PATTERN, SEEDS, metric_cell, metric_columns, seeds_cell
from nmlab.reports.values import Cell, Column, Row, Table, estimate_cell, marked, without_empty_columns
from nmlab.trials.contract.metrics import initial_name

PairwiseComparisons: TypeAlias = Mapping[str, Mapping[Hashable, Sequence[PairwiseComparison]]]

MASK = Column("mask", "mask")
EVALUATED = Column("evaluated", "evaluated", help="model and evaluation text, where rows differ in them")
SETTING = Column("setting", "setting", help="the settings that the search varied, as in the best configuration")


def summary_table(configurations: Sequence[Configuration], *, comparisons: PairwiseComparisons | None = None) -> Table:
    """Return the summary table of a study.

    Rows: dense, the baselines, and for each searched method the initial mask of its best configuration and
    that configuration, within each group of comparable configurations. The dense row never competes for a mark, nor
    does a mean that lacks a seed.

    Args:
        configurations: all of a launch, best first.
        comparisons: for each metric, the rows of each group against its best; they decide which rows share its mark.
    """
    summary_rows = summary_rows_of(configurations)
    objective = configurations[0].objective
    metrics = evaluation_metrics(configurations, objective=objective)
    columns = (
        MASK,
        PATTERN,
        EVALUATED,
        SETTING,
        *metric_columns(metrics, configurations=configurations),
        SEEDS,
        CONFIGURATION,
    )
    shared = set.intersection(*(set(evaluation_setting(row.item)) for row in summary_rows))
    rows = [_row(row, metrics, shared) for row in summary_rows]
    for index, column in enumerate(columns):
        if column.key in metrics:
            tested = (comparisons or {}).get(column.key, {})
            tied, unmarked = tied_with_best(tested), untested_groups(tested)
            cells = marked(
                [row.cells[index] for row in rows],
                direction=column.direction,
                groups=[None if row.group in unmarked else row.group for row in summary_rows],
                tied=[(row.item.key, row.kind == "initial") in tied for row in summary_rows],
            )
            rows = [_with_cell(row, index, cell) for row, cell in zip(rows, cells, strict=True)]
    table = Table(
        key="summary",
        title="Summary",
        caption="Mean and 95% t-interval over seeds. Among masks of the same pattern, model and evaluation text, bold "
        "marks the best and all that no test separates from it; underlined is the next best mean. Where nothing could "
        "be tested, nothing is marked. The dense model is shown for scale and does not compete.",
        columns=columns,
        rows=tuple(rows),
        notes=_notes(configurations, summary_rows),
    )
    return without_empty_columns(table)


def _row(row: SummaryRow, metrics: Sequence[str], shared: set[str]) -> Row:
    item = row.item
    evaluated = ", ".join(part for part in evaluation_setting(item) if part not in shared)
    cells = [Cell(row.name), Cell("" if item.is_dense else item.pattern), Cell(evaluated), Cell(row.setting)]
    for metric in metrics:
        if row.kind == "initial":
            name = initial_name(metric)
            cells.append(estimate_cell(item.estimate(name), run_ids=item.runs_with(name)))
        else:
            cells.append(metric_cell(item, metric=metric))
    cells += [seeds_cell(item), Cell(item.key, run_ids=item.run_ids)]
    return Row(tuple(cells), run_ids=item.run_ids, kind=row.kind, is_flawed=not item.is_complete)


def _with_cell(row: Row, index: int, cell: Cell) -> Row:
    return replace(row, cells=(*row.cells[:index], cell, *row.cells[index + 1 :]))


def _notes(configurations: Sequence[Configuration], summary_rows: Sequence[SummaryRow]) -> tuple[str, ...]:
    notes = []
    objective = configurations[0].objective
    alias = alias_of(configurations, objective=objective)
    if alias is not None:
        notes.append(f"{plain_name(objective.metric)} is this study's {plain_name(alias)}.")
    if any(row.tried > 1 for row in summary_rows) and not is_counted(objective.metric):
        chosen = chosen_on(objective.metric)
        notes.append(f"The best of several configurations was chosen {chosen}, so its mean is optimistic.")
    groups = {comparable_group(row.item) for row in summary_rows if not row.item.is_dense}
    if len(groups) > 1:
        notes.append(f"{len(groups)} groups of rows are not compared with each other.")
    return tuple(notes)
