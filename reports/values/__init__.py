"""Tables as values, and how their numbers become text."""

from nmlab.reports.values.format import cell_text, counted, half_width_text, number_text, title_text, wants_log
from nmlab.reports.values.table import (
    Cell,
    Column,
    Interval,
    Mark,
    ReportTable,
    Row,
    Style,
    estimate_cell,
    for_pages,
    with_notes,
    without_empty_columns,
)
from nmlab.trials.contract.measures import Direction

__all__ = [
    "Cell",
    "Column",
    "Direction",
    "Interval",
    "Mark",
    "ReportTable",
    "Row",
    "Style",
    "cell_text",
    "counted",
    "estimate_cell",
    "for_pages",
    "half_width_text",
    "number_text",
    "title_text",
    "wants_log",
    "with_notes",
    "without_empty_columns",
]
