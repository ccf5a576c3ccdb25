"""The tables of a comparison of two sides."""

from nmlab.reports.analysis.two_sides import TwoSides
from nmlab.reports.tables.two_sides.costs import costs_table
from nmlab.reports.tables.two_sides.differences import differences_table
from nmlab.reports.tables.two_sides.names import RowNames
from nmlab.reports.tables.two_sides.settings import settings_table, unmatched_table
from nmlab.reports.values import ReportTable

__all__ = [
    "RowNames",
    "costs_table",
    "differences_table",
    "settings_table",
    "two_sides_tables",
    "unmatched_table",
]


def two_sides_tables(found: TwoSides) -> tuple[ReportTable, ...]:
    """Return the tables that have a row, the differences first."""
    built = (differences_table(found), unmatched_table(found), costs_table(found), settings_table(found))
    return tuple(table for table in built if table.rows)
