"""Tables as values, and how their numbers become text."""

from nmlab.reports.values.format import (
    bracket_text,
    cell_text,
    counted,
    number_text,
    plus_minus_text,
    rounded_texts,
    title_text,
    wants_log,
)
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
    without_columns,
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
    "bracket_text",
    "cell_text",
    "counted",
    "estimate_cell",
    "for_pages",
    "number_text",
    "plus_minus_text",
    "rounded_texts",
    "title_text",
    "wants_log",
    "with_notes",
    "without_columns",
    "without_empty_columns",
]
