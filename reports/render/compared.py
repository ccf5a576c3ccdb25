"""A comparison in every format: a document with one table, or with a verdict, a figure and several tables."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from nmlab.reports.figures.differences import Differences, draw_differences
from nmlab.reports.narrative.provenance import moment_text
from nmlab.reports.read.errors import ReportError
from nmlab.reports.render.csv import csv_text
from nmlab.reports.render.document import Document
from nmlab.reports.render.frame import table_frame
from nmlab.reports.render.html import html_text
from nmlab.reports.render.json import json_text, table_json
from nmlab.reports.render.latex import latex_text
from nmlab.reports.render.markdown import markdown_text
from nmlab.reports.values import ReportTable, Style, without_columns
from nmlab.trials.contract.near_names import unknown_name

if TYPE_CHECKING:
    import pandas as pd

DIFFERENCES, TEST = "differences", "test"
KEYS, CHOSEN = ("configuration_a", "configuration_b"), ("a_is", "b_is")
FORMATS = ("html", "md", "tex", "csv", "json")


@dataclass(frozen=True)
class Compared:
    """A comparison: a document of one table, or of the tables of two sides with a verdict and a figure.

    Attributes:
        undrawn: what is shown, without the figure.
        verdict: which side is better; empty for one table of several studies.
        differences: what the figure draws; None without a figure.
    """

    undrawn: Document
    verdict: str = ""
    differences: Differences | None = None

    @cached_property
    def document(self) -> Document:
        """What is shown; the figure is drawn when it is first asked for."""
        if self.differences is None:
            return self.undrawn
        return replace(self.undrawn, figures=(draw_differences(self.differences),))

    @cached_property
    def page(self) -> Document:
        """The document as HTML shows it: without what the first screen says of a single pair, and keys of pairs."""
        return _for_a_page(self.document)

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of the tables, the leading one first."""
        return tuple(table.key for table in self.undrawn.tables)

    def table(self, name: str = "") -> ReportTable:
        """Return one table, by default the leading one.

        Raises:
            ReportError: an unknown name, with the nearest.
        """
        for table in self.undrawn.tables:
            if table.key == (name or self.tables[0]):
                return table
        raise ReportError(unknown_name(name, kind="table", known=self.tables))

    def text(self, form: str, *, table: str = "") -> str:
        """Return the comparison in one of the formats; LaTeX and CSV hold one table, JSON all of them or one.

        Only HTML says when it was written.

        Raises:
            ReportError: an unknown format or table.
        """
        if form == "html":
            return html_text(self.page)
        if form == "md":
            return self._markdown()
        if form == "json" and self.verdict and not table:
            return json_text(self.document)
        writers = {"tex": _latex, "csv": csv_text, "json": table_json}
        if form not in writers:
            raise ReportError(unknown_name(form, kind="format", known=FORMATS))
        return writers[form](self.table(table))

    def frame(self, table: str = "") -> "pd.DataFrame":
        """Return one table as a DataFrame with typed columns; raises ``ReportError`` for an unknown table."""
        return table_frame(self.table(table))

    def _markdown(self) -> str:
        """Return the document as Markdown, without the drawing, which would be a file of its own."""
        return markdown_text(_for_a_page(self.undrawn)).replace(
            f"Report written {moment_text(self.undrawn.written)}\n", ""
        )


def _for_a_page(document: Document) -> Document:
    """Return a document whose table of pairs lacks what its page says elsewhere; CSV, JSON and frames keep it all.

    These are the keys of both configurations, a test that is the same in every row, which a note names, and of a single
    pair the two configurations, which stand on the first screen.
    """
    if document.screen is None:
        return document
    tables = tuple(_shortened(table) if table.key == DIFFERENCES else table for table in document.tables)
    return replace(document, tables=tables)


def _shortened(table: ReportTable) -> ReportTable:
    tests = {str(row.cells[place].value) for place in _places(table, TEST) for row in table.rows}
    left = {
        *KEYS,
        *([TEST] if len(tests) == 1 and tests != {"counted"} else []),
        *(CHOSEN if len(table.rows) == 1 else []),
    }
    return without_columns(table, keys=left)


def _places(table: ReportTable, key: str) -> list[int]:
    return [place for place, column in enumerate(table.columns) if column.key == key]


def _latex(table: ReportTable) -> str:
    """Return a table as LaTeX, without keys of configurations, which print does not need."""
    kept = [place for place, column in enumerate(table.columns) if column.style is not Style.CODE]
    rows = tuple(replace(row, cells=tuple(row.cells[place] for place in kept)) for row in table.rows)
    return latex_text(replace(table, columns=tuple(table.columns[place] for place in kept), rows=rows))
