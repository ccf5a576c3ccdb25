"""The pivot table of a comparison of studies: one cell for each combination of values of its rows and columns."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from nmlab.reports.analysis.compared_studies import ComparedConfiguration
from nmlab.reports.analysis.cross_tabulation import CrossTabulation, Key, Layout
from nmlab.reports.analysis.metrics import metric_column, plain_name
from nmlab.reports.analysis.settings import value_text
from nmlab.reports.read.typed_text import Value
from nmlab.reports.tables.cells import INFEASIBLE, metric_cell
from nmlab.reports.values import Cell, Column, ReportTable, Row, counted


def pivot_table(found: CrossTabulation, *, members: Sequence[ComparedConfiguration]) -> ReportTable:
    """Return the table: in each cell the mean of its best complete configuration, with interval, mark and runs.

    Args:
        found: the best configuration of each cell.
        members: all configurations, for the notes.
    """
    layout = found.layout
    places = list(product(found.columns, layout.metrics))
    return ReportTable(
        key="compare",
        title="Studies compared" if len({member.study for member in members}) > 1 else "Configurations compared",
        caption="Mean and 95% t-interval over seeds of the best complete configuration of each cell, by "
        f"{plain_name(layout.objective.metric)}. Among masks of the same pattern, model and evaluation text, bold "
        "marks the best of a column and all that no test separates from it; underlined is the next best mean. Where "
        "nothing could be tested, nothing is marked.",
        columns=(*map(_dimension_column, layout.rows), *(_value_column(key, metric, layout) for key, metric in places)),
        rows=tuple(row for key in found.rows if (row := _row(found, key)) is not None),
        notes=(*_notes(members, found.most_in_a_cell), *_infeasible_notes(members, has_cells=bool(found.infeasible))),
    )


def _row(found: CrossTabulation, row: Key) -> Row | None:
    """Return one row; None where no cell of it has a value."""
    values = [
        _cell(found, row, column, metric=metric) for column, metric in product(found.columns, found.layout.metrics)
    ]
    if all(cell.value is None for cell in values):
        return None
    run_ids = dict.fromkeys(run_id for cell in values for run_id in cell.run_ids)
    return Row((*map(_key_cell, row), *values), run_ids=tuple(run_ids), kind="searched")


def _cell(found: CrossTabulation, row: Key, column: Key, *, metric: str) -> Cell:
    item = found.best.get((row, column))
    if item is not None:
        return replace(metric_cell(item, metric=metric), mark=found.marks[row, column, metric])
    broken = found.infeasible.get((row, column), ())
    return Cell(INFEASIBLE, run_ids=tuple(run for each in broken for run in each.run_ids)) if broken else Cell(None)


def _dimension_column(name: str) -> Column:
    return Column(name, name, help=f"{name} of the configurations")


def _value_column(key: Key, metric: str, layout: Layout) -> Column:
    """Return the column of one metric for one combination of dimensions, titled by their values."""
    base = metric_column(metric, objective=layout.objective)
    place = ", ".join("none" if value is None else value_text(value) for value in key)
    several = len(layout.metrics) > 1 or not place
    title = " ".join(part for part in (place, base.title if several else "") if part)
    name = ":".join(["/".join("none" if value is None else value_text(value) for value in key), metric])
    return Column(name if place else metric, title, base.style, base.direction, base.interval, help=base.help)


def _key_cell(value: Value | None) -> Cell:
    if value is None:
        return Cell("–")
    return Cell(value if isinstance(value, str) else value_text(value), shown="dense" if value == "" else "")


def _infeasible_notes(members: Sequence[ComparedConfiguration], *, has_cells: bool) -> tuple[str, ...]:
    """Say how many configurations break a constraint of their search, and what a cell without another one shows."""
    broken = [member.item for member in members if member.item.breaks_constraint]
    if not broken:
        return ()
    limits = dict.fromkeys(limit.describe() for item in broken for limit in item.objective.constraints)
    among = f"{counted(len(broken), noun='configuration')} ({'; '.join(limits)})"
    text = f"Never the best of a cell, because a constraint of the search is broken: {among}."
    return (f"{text} A cell that has no other says {INFEASIBLE}." if has_cells else text,)


def _chosen_on(members: Sequence[ComparedConfiguration]) -> str:
    validated = {member.study for member in members if member.item.objective.selects_on_validation}
    if not validated:
        return "on the same evaluation text"
    if len({member.study for member in members}) == 1:
        return "on the validation text"
    return f"within {', '.join(sorted(validated))} on validation text, otherwise on the same evaluation text"


def _notes(members: Sequence[ComparedConfiguration], most: int) -> tuple[str, ...]:
    notes = []
    if most > 1:
        notes.append(
            f"A cell shows the best of up to {counted(most, noun='configuration')}, chosen {_chosen_on(members)}. "
            "Add rows or columns to see them apart."
        )
    if any(member.item.is_confirmed for member in members):
        notes.append("All means are of the search; `nmlab report` has those over fresh seeds.")
    left = sum(not member.item.is_complete for member in members)
    if left:
        notes.append(f"Left out, because a seed did not finish: {counted(left, noun='configuration')}.")
    return tuple(notes)
