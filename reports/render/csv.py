"""Tables as CSV at full precision: columns for each value, its interval and count, and the run ids."""

import csv
import io

from nmlab.reports.values import Cell, Column, ReportTable
from nmlab.trials.contract.escaping import csv_cell


def csv_text(table: ReportTable) -> str:
    """Return a table as CSV.

    A column of means gives ``key, key_low, key_high, key_n`` and, where it was marked, ``key_mark``; the last
    column holds the row's run ids, separated by spaces. Text that a spreadsheet would read as a formula gets a
    leading ``'``.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    parts = [column_names(column, table.column(column.key)) for column in table.columns]
    writer.writerow([*(csv_cell(name) for names in parts for name in names), "run_ids"])
    for row in table.rows:
        values = [
            _text(values_of(column, cell)[name])
            for column, names, cell in zip(table.columns, parts, row.cells, strict=True)
            for name in names
        ]
        writer.writerow([*values, csv_cell(" ".join(row.run_ids))])
    return out.getvalue()


def column_names(column: Column, cells: tuple[Cell, ...]) -> tuple[str, ...]:
    """Return the names of the columns that one column of a table becomes, given its cells."""
    names = [column.key]
    if any(cell.n is not None for cell in cells):
        names += [f"{column.key}_low", f"{column.key}_high", f"{column.key}_n"]
    if any(cell.mark for cell in cells):
        names.append(f"{column.key}_mark")
    return tuple(names)


def values_of(column: Column, cell: Cell) -> dict[str, float | int | str | None]:
    """Return the values of one cell by the names of these columns."""
    return {
        column.key: cell.value,
        f"{column.key}_low": cell.low,
        f"{column.key}_high": cell.high,
        f"{column.key}_n": cell.n,
        f"{column.key}_mark": str(cell.mark),
    }


def _text(value: float | int | str | None) -> str:
    if value is None:
        return ""
    return csv_cell(value) if isinstance(value, str) else repr(value)
