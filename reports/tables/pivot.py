"""A pivot table of configurations: its rows, its columns, and the best configuration of each cell."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from nmlab.reports.analysis.compared_studies import ATTRIBUTES, Member
from nmlab.reports.analysis.configurations import Configuration, value_text
from nmlab.reports.analysis.marks import ONLY_SEEDS, Evidence, configuration_marks
from nmlab.reports.analysis.metrics import metric_column, plain_name
from nmlab.reports.analysis.pairwise import Side, best_side
from nmlab.reports.read.collect import Objective
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.frame import Value
from nmlab.reports.tables.cells import metric_cell
from nmlab.reports.values import Cell, Column, Row, Table
from nmlab.reports.values.wording import counted
from nmlab.trials.contract.near_names import unknown_name

Key = tuple[Value | None, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The dimensions of rows and columns, and the metrics that are shown."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    metrics: tuple[str, ...]
    objective: Objective

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The dimensions of rows and columns together."""
        return (*self.rows, *self.columns)


def layout_of(
    members: Sequence[Member], *, rows: Sequence[str], columns: Sequence[str], metrics: Sequence[str]
) -> Layout:
    """Check the requested rows, columns and metrics, and choose defaults.

    Rows are methods by default; columns are studies and patterns, where there are several.

    Raises:
        ReportError: an unknown name, with the nearest; or one that is asked for as row and as column.
    """
    known = {*ATTRIBUTES, *(name for member in members for name in member.item.settings)}
    for name in (*rows, *columns):
        if name not in known:
            raise ReportError(unknown_name(name, kind="row or column", known=known))
    twice = [name for name in rows if name in columns]
    if twice:
        raise ReportError(f"{twice[0]!r} is asked for as row and as column; it can be one of them")
    objective = members[0].item.objective
    measured = {str(name) for member in members for name in member.item.trials.columns if "/" in str(name)}
    for name in metrics:
        if name not in measured:
            raise ReportError(unknown_name(name, kind="metric", known=measured))
    chosen_rows = tuple(rows) or tuple(name for name in ("method",) if name not in columns) or ("study",)
    several = [name for name in ("study", "pattern") if len({member.get(name) for member in members} - {""}) > 1]
    chosen_columns = tuple(columns) or tuple(name for name in several if name not in chosen_rows)
    return Layout(chosen_rows, chosen_columns, tuple(metrics) or (objective.metric,), objective)


def crosstab(members: Sequence[Member], *, layout: Layout, evidence: Evidence = ONLY_SEEDS) -> Table:
    """Return the table: in each cell the mean of its best complete configuration, with interval and runs.

    Masks of a column that may be compared are marked as in every table. The dense model has no pattern: it is in the
    column of every pattern and never competes.

    Args:
        members: the configurations.
        layout: rows, columns and metrics.
        evidence: what marks rest on beside the seeds.
    """
    row_keys, column_keys = _keys(members, layout.rows), _column_keys(members, layout.columns)
    cells: dict[tuple[Key, Key], Configuration | None] = {}
    counts: list[int] = []
    for row, column in product(row_keys, column_keys):
        inside = [member.item for member in members if _is_in(member, layout, row, column)]
        complete = [Side(item) for item in inside if item.is_complete and Side(item).values(layout.objective.metric)]
        best = best_side(complete, metric=layout.objective.metric) if complete else None
        cells[row, column] = best.item if best is not None else None
        counts.append(len(complete))
    columns = [_dimension_column(name) for name in layout.rows]
    body: list[list[Cell]] = [[_key_cell(value) for value in key] for key in row_keys]
    for key, metric in product(column_keys, layout.metrics):
        columns.append(_value_column(key, metric, layout))
        for own, cell in zip(body, _marked([cells[row, key] for row in row_keys], metric, evidence), strict=True):
            own.append(cell)
    rows = [_row(own) for own in body if any(cell.value is not None for cell in own[len(layout.rows) :])]
    return Table(
        key="compare",
        title="Studies compared" if len({member.study for member in members}) > 1 else "Configurations compared",
        caption="Mean and 95% t-interval over seeds of the best complete configuration of each cell, by "
        f"{plain_name(layout.objective.metric)}. Among masks of the same pattern, model and evaluation text, bold "
        "marks the best of a column and all that no test separates from it; underlined is the next best mean. Where "
        "nothing could be tested, nothing is marked.",
        columns=tuple(columns),
        rows=tuple(rows),
        notes=_notes(members, counts),
    )


def _marked(items: Sequence[Configuration | None], metric: str, evidence: Evidence) -> tuple[Cell, ...]:
    """Return one column's cells with their marks."""
    present = [item for item in items if item is not None]
    marks = iter(configuration_marks(present, metrics=[metric], evidence=evidence)[metric])
    return tuple(
        Cell(None) if item is None else replace(metric_cell(item, metric=metric), mark=next(marks)) for item in items
    )


def _keys(members: Sequence[Member], names: Sequence[str]) -> list[Key]:
    found = {tuple(member.get(name) for name in names) for member in members}
    return sorted(found, key=lambda key: [_order(value) for value in key])


def _column_keys(members: Sequence[Member], names: Sequence[str]) -> list[Key]:
    """Return the columns; the dense model has no column of its own where columns are patterns."""
    return _keys([member for member in members if not member.item.is_dense] or members, names)


def _is_in(member: Member, layout: Layout, row: Key, column: Key) -> bool:
    in_row = all(member.get(name) == value for name, value in zip(layout.rows, row, strict=True))
    return in_row and all(
        member.get(name) == value or (name == "pattern" and member.item.is_dense)
        for name, value in zip(layout.columns, column, strict=True)
    )


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


def _row(cells: Sequence[Cell]) -> Row:
    run_ids = dict.fromkeys(run_id for cell in cells for run_id in cell.run_ids)
    return Row(tuple(cells), run_ids=tuple(run_ids), kind="searched")


def _order(value: Value | None) -> tuple[int, float, str]:
    if value is None:
        return (2, 0.0, "")
    return (1, 0.0, value) if isinstance(value, str) else (0, float(value), "")


def _notes(members: Sequence[Member], counts: Sequence[int]) -> tuple[str, ...]:
    notes = []
    most = max(counts, default=0)
    if most > 1:
        notes.append(
            f"A cell shows the best of up to {counted(most, noun='configuration')}, chosen on the same "
            "evaluation text. Add rows or columns to see them apart."
        )
    left = sum(not member.item.is_complete for member in members)
    if left:
        notes.append(f"Left out, because a seed did not finish: {counted(left, noun='configuration')}.")
    return tuple(notes)
