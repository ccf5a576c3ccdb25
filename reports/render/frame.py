"""A table as a DataFrame with typed columns, those of its CSV."""

from typing import TYPE_CHECKING

from nmlab.reports.render.csv import column_names, values_of
from nmlab.reports.values import ReportTable

if TYPE_CHECKING:
    import pandas as pd


def table_frame(table: ReportTable) -> "pd.DataFrame":
    """Return a table at full precision: numbers as float64 or Int64, text as string, absent values as NaN or NA.

    Its columns are those of the CSV; the last holds the run ids of a row, separated by spaces.
    """
    import pandas as pd

    names = [(column, own) for column in table.columns for own in column_names(column, table.column(column.key))]
    found: dict[str, pd.Series] = {}
    for column, name in names:
        values = [values_of(column, cell)[name] for cell in table.column(column.key)]
        found[name] = _typed(pd.Series(values, dtype="object"))
    found["run_ids"] = pd.Series([" ".join(row.run_ids) for row in table.rows], dtype="string")
    return pd.DataFrame(found)


def _typed(series: "pd.Series") -> "pd.Series":
    """Return a column in the type of its values; a column of several types stays as it is."""
    kinds = {type(value) for value in series if value is not None}
    if kinds <= {float}:
        return series.astype("float64")
    if kinds <= {int}:
        return series.astype("Int64")
    if kinds <= {int, float}:
        return series.astype("float64")
    return series.astype("string") if all(issubclass(kind, str) for kind in kinds) else series
