"""Rows and cells of the tables of a page, each number linked to its runs."""

import re
from collections.abc import Sequence
from functools import lru_cache

from markupsafe import Markup, escape

from nmlab.reports.render.document import RunLinks
from nmlab.reports.values import Cell, Column, Interval, Mark, ReportTable, Row, Style, cell_text
from nmlab.trials.contract.escaping import printable, safe_link

CONFIGURATION = "configuration"
LONG_TEXT = 34  # longer cells may break into lines
MARKS = {Mark.NONE: "{}", Mark.BEST: "<strong>{}</strong>", Mark.TIED: "<strong>{}</strong>", Mark.SECOND: "<u>{}</u>"}
MOST_LISTED = 200
"""Runs behind a number that the page names; of a number over all runs the table of runs has the others."""
ROWS_OF_ONE_RUN = 4096  # consecutive cells lead to the same runs

_safe_link = lru_cache(ROWS_OF_ONE_RUN)(safe_link)


def row_html(row: Row, *, table: ReportTable, links: RunLinks, anchors: set[str], is_short: bool = False) -> Markup:
    """Return one row of a table; it names the configuration that it is about, which figures highlight.

    Args:
        row: the row.
        table: what it is of.
        links: to runs.
        anchors: the configurations that the page has a row of.
        is_short: write it for a script to read (``completed`` in report.js): it names its runs once, and its cells have
            links without an address and no value that is their text.
    """
    key = _configuration(table, row)
    kind = f"{row.kind}{' flawed' if row.is_flawed else ''}"
    attributes = f' id="configuration-{escape(printable(row.anchor))}"' if row.anchor else ""
    attributes += f' data-configuration="{escape(printable(key))}"' if key else ""
    runs = row.run_ids if is_short else ()
    if runs:
        attributes += f' data-href="{escape(_safe_link(links.run(runs[0])))}" {named_runs(runs)}'
    cells = []
    for cell, column in zip(row.cells, table.columns, strict=True):
        text, value = cell_text(cell, column=column), _sort_value(cell)
        known = "" if is_short and value == text else f' data-value="{escape(printable(value))}"'
        inside = cell_html(cell, column=column, links=links, anchors=anchors, text=text, of_row=runs)
        cells.append(f'<td class="{escape(_kind(cell, column, text))}"{known}>{inside}</td>')
    return Markup(f'<tr class="{escape(kind)}"{attributes}>{"".join(cells)}</tr>')


def cell_html(
    cell: Cell,
    *,
    column: Column,
    links: RunLinks,
    anchors: set[str],
    text: str | None = None,
    of_row: tuple[str, ...] = (),
) -> Markup:
    """Return the content of one table cell: the marked value, linked to its runs.

    Args:
        cell: the value.
        column: how it is written.
        links: to runs.
        anchors: the configurations that the page has a row of.
        text: the cell as text, where it is known.
        of_row: the runs that its row names, so that a cell of the same ones does not.
    """
    text = printable(cell_text(cell, column=column) if text is None else text)
    if column.style is Style.CODE:
        return with_anchors(text, anchors) if text in anchors else Markup("<code>{}</code>").format(text)
    if column.style is Style.RUN:
        inside = Markup('<code class="id">{}</code>').format(text)
    elif column.interval is Interval.BRACKET or cell.mark:
        inside = Markup(MARKS[cell.mark]).format(_with_break(text) if column.interval is Interval.BRACKET else text)
    else:
        inside = escape(text)
    if href := safe_link(cell.href):
        return Markup('<a class="key" href="{}">{}</a>').format(href, inside)
    if not cell.run_ids or cell.value is None:
        return inside
    if cell.run_ids == of_row:
        return Markup(f"<a>{inside}</a>")
    known = f"run {cell.run_ids[0]}" if len(cell.run_ids) == 1 else f"{len(cell.run_ids)} runs"
    first, every = _safe_link(links.run(cell.run_ids[0])), named_runs(cell.run_ids)
    # Written without Markup.format, which takes most of the time of a page with thousands of rows.
    return Markup(f'<a href="{escape(first)}" {every} title="{escape(known)}">{inside}</a>')


def named_runs(run_ids: Sequence[str]) -> str:
    """Return the attributes that name the runs behind a number, and how many are left out, for the page's script."""
    named = f'data-runs="{escape(" ".join(run_ids[:MOST_LISTED]))}"'
    return f'{named} data-more="{len(run_ids) - MOST_LISTED}"' if len(run_ids) > MOST_LISTED else named


def with_anchors(text: str, anchors: set[str]) -> Markup:
    """Return text in which the hash of each configuration links to its row in the table of configurations."""
    parts = re.split(r"\b([0-9a-f]{6,64})\b", printable(text))
    link = Markup('<a class="key" href="#configuration-{0}"><code>{0}</code></a>')
    return Markup("").join(link.format(part) if part in anchors else escape(part) for part in parts)


def _configuration(table: ReportTable, row: Row) -> str:
    """Return the hash of the configuration that a row is about; empty where it is about none."""
    for column, cell in zip(table.columns, row.cells, strict=True):
        if column.key == CONFIGURATION:
            return str(cell.value)
    return row.configuration


def _with_break(text: str) -> Markup:
    """Return a number's text that may break only before its interval in brackets."""
    mean, bracket, interval = text.partition(" [")
    return Markup('{} <span class="interval">[{}</span>').format(mean, interval) if bracket else escape(text)


def _kind(cell: Cell, column: Column, text: str) -> str:
    """Return the classes of one table cell."""
    is_long = column.is_prose or len(text) > LONG_TEXT
    verdict = ["verdict", str(cell.value).split()[0]] if column.key == "verdict" else []
    is_bracket = column.interval is Interval.BRACKET
    return " ".join(
        [column.style, *["number"] * column.is_numeric, *["bracket"] * is_bracket, *["long"] * is_long, *verdict]
    )


def _sort_value(cell: Cell) -> str:
    return "" if cell.value is None else str(cell.value)
