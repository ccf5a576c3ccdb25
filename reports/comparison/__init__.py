"""The tables of a comparison report, built from the configurations of one launch."""

from nmlab.reports.collect import StudyRuns
from nmlab.reports.comparison.cost import cost_table
from nmlab.reports.comparison.learned import learned_table
from nmlab.reports.comparison.runs import runs_table
from nmlab.reports.comparison.settings import configurations_table
from nmlab.reports.comparison.summary import summary_table
from nmlab.reports.configurations import Configuration
from nmlab.reports.tables import Table

__all__ = [
    "comparison_tables",
    "configurations_table",
    "cost_table",
    "learned_table",
    "runs_table",
    "summary_table",
]


def comparison_tables(runs: StudyRuns, *, configurations: tuple[Configuration, ...]) -> tuple[Table, ...]:
    """Return every table of the report that has a row, in the order of reading."""
    built = (
        summary_table(configurations),
        learned_table(configurations),
        configurations_table(configurations),
        cost_table(configurations),
        runs_table(runs, configurations=configurations),
    )
    return tuple(table for table in built if table.rows)
