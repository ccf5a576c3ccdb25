"""The report as one self-contained HTML file with its styles, script and drawings."""

import re
from collections.abc import Mapping

from markupsafe import Markup, escape

from nmlab.reports.figures import DARK, LIGHT, DataPoint, FigureFile
from nmlab.reports.narrative.provenance import moment_text
from nmlab.reports.render.document import Document, RunLinks
from nmlab.reports.render.templates import environment
from nmlab.reports.values import (
    Cell,
    Column,
    Interval,
    Mark,
    ReportTable,
    Row,
    Style,
    cell_text,
    for_pages,
    title_text,
)
from nmlab.trials.contract.escaping import printable, safe_link

CONFIGURATION = "configuration"
LONG_TEXT = 34  # longer cells may break into lines
NO_BREAK = "\N{NO-BREAK SPACE}"
MARKS = {Mark.NONE: "{}", Mark.BEST: "<strong>{}</strong>", Mark.TIED: "<strong>{}</strong>", Mark.SECOND: "<u>{}</u>"}


ROWS_ON_PAGE = 50
"""Rows of a table that are shown at once; the others are text until they are asked for."""
MOST_ROWS = 2_000
"""Rows of a table that the file holds."""


def html_text(document: Document) -> str:
    """Return the whole report; its only addresses are links to MLflow, and it loads nothing."""
    lead, details = (
        tuple(for_pages(table, most=MOST_ROWS, where=document.where_whole(table)) for table in tables)
        for tables in (document.lead, document.details)
    )
    anchors = {row.anchor for table in details for row in table.rows if row.anchor}
    return (
        environment(autoescape=True)
        .get_template("report.html.jinja")
        .render(
            document=document,
            lead=lead,
            details=details,
            page_rows=ROWS_ON_PAGE,
            light=_variables(LIGHT),
            dark=_variables(DARK),
            written=moment_text(document.written),
            address=safe_link(document.links.experiment),
            title=_title,
            row=lambda table, row: row_html(row, table=table, links=document.links, anchors=anchors),
            drawing=lambda figure: inline_svg(figure, links=document.links),
            tiles=[] if document.screen is None else _tiles(document, anchors),
            linked=lambda text: _with_anchors(text.replace(" ± ", f"{NO_BREAK}±{NO_BREAK}"), anchors),
        )
    )


def row_html(row: Row, *, table: ReportTable, links: RunLinks, anchors: set[str]) -> Markup:
    """Return one row of a table; it names the configuration that it is about, which figures highlight."""
    key = _configuration(table, row)
    kind = f"{row.kind}{' flawed' if row.is_flawed else ''}"
    attributes = f' id="configuration-{escape(printable(row.anchor))}"' if row.anchor else ""
    attributes += f' data-configuration="{escape(printable(key))}"' if key else ""
    cells = (
        f'<td class="{escape(_kind(cell, column))}" data-value="{escape(printable(_sort_value(cell)))}">'
        f"{cell_html(cell, column=column, links=links, anchors=anchors)}</td>"
        for cell, column in zip(row.cells, table.columns, strict=True)
    )
    return Markup(f'<tr class="{escape(kind)}"{attributes}>{"".join(cells)}</tr>')


def _tiles(document: Document, anchors: set[str]) -> list[tuple[str, Markup, Markup]]:
    """Return what each tile of the first screen is about, its value linked to its runs, and its detail."""
    assert document.screen is not None
    table = document.screen.tiles
    _, value, _ = table.columns
    return [
        (
            cell_text(row.cells[0], column=table.columns[0]),
            cell_html(row.cells[1], column=value, links=document.links, anchors=anchors),
            _with_anchors(_with_units(cell_text(row.cells[2], column=table.columns[2])), anchors),
        )
        for row in table.rows
    ]


def cell_html(cell: Cell, *, column: Column, links: RunLinks, anchors: set[str]) -> Markup:
    """Return the content of one table cell: the marked value, linked to its runs."""
    text = printable(cell_text(cell, column=column))
    if column.style is Style.CODE:
        return _with_anchors(text, anchors) if text in anchors else Markup("<code>{}</code>").format(text)
    if column.style is Style.RUN:
        inside = Markup('<code class="id">{}</code>').format(text)
    else:
        inside = Markup(MARKS[cell.mark]).format(_with_break(text) if column.interval is Interval.BRACKET else text)
    if href := safe_link(cell.href):
        return Markup('<a class="key" href="{}">{}</a>').format(href, inside)
    if not cell.run_ids or cell.value is None:
        return inside
    known = f"run {cell.run_ids[0]}" if len(cell.run_ids) == 1 else f"{len(cell.run_ids)} runs"
    first, every = safe_link(links.run(cell.run_ids[0])), " ".join(cell.run_ids)
    # Written without Markup.format, which takes most of the time of a page with thousands of rows.
    return Markup(f'<a href="{escape(first)}" data-runs="{escape(every)}" title="{escape(known)}">{escape(inside)}</a>')


def inline_svg(figure: FigureFile, *, links: RunLinks) -> Markup:
    """Return a drawing as an SVG element with its text alternative and, over it, the points that a reader can reach.

    Colours are the page's variables, and ids are prefixed by the figure's key.
    """
    text = figure.svg.decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'\bid="', f'id="{figure.key}-', text)
    text = re.sub(r'href="#', f'href="#{figure.key}-', text)
    text = re.sub(r"url\(#", f"url(#{figure.key}-", text)
    for name, colour in LIGHT.items():
        text = re.sub(re.escape(colour), f"var(--{name})", text, flags=re.IGNORECASE)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r"\1", text, count=1)
    text = text.replace("<g ", '<g aria-hidden="true" ', 1)
    points = Markup("").join(_point(point, links) for point in figure.points)
    layer = f'<g class="points">\n{points}</g>\n' if figure.points else ""
    said = escape(printable(f"{figure.title}: {figure.alternative}".removesuffix(": ")))
    role = "group" if figure.points else "img"  # the parts of an image are hidden from who listens
    text = text.replace("<svg", f'<svg role="{role}" aria-label="{said}"', 1)
    return Markup(text.replace("</svg>", f"{layer}</svg>"))


def _point(point: DataPoint, links: RunLinks) -> Markup:
    """Return a point or line that lies over its drawing, invisible until it is pointed at, and linked to its runs."""
    first, *others = (f"{across:g} {down:g}" for across, down in point.places)
    inside = Markup('<title>{}</title><path d="M{}{}"/>').format(
        printable(point.text), first, "".join(f"L{place}" for place in others) if others else "h0"
    )
    kind = "point line" if len(others) > 1 else "point"
    if not point.run_ids:
        return Markup('<g class="{}" role="img">{}</g>\n').format(kind, inside)
    return Markup('<a class="{}" href="{}" data-runs="{}" data-configuration="{}">{}</a>\n').format(
        kind, safe_link(links.run(point.run_ids[0])), " ".join(point.run_ids), point.configuration, inside
    )


def _configuration(table: ReportTable, row: Row) -> str:
    """Return the hash of the configuration that a row is about; empty where it is about none."""
    for column, cell in zip(table.columns, row.cells, strict=True):
        if column.key == CONFIGURATION:
            return str(cell.value)
    return row.configuration


def _title(column: Column) -> Markup:
    """Return a column's title: names may break after an underscore, and the arrow stays with the last word."""
    text = printable(title_text(column))
    for arrow in ("↓", "↑"):
        text = text.replace(f" {arrow}", f"{NO_BREAK}{arrow}")
    return Markup("_<wbr>").join(escape(part) for part in text.split("_"))


def _with_units(text: str) -> str:
    """Return text in which a time stays on one line with its unit."""
    return re.sub(r"(?<=\d) (?=(?:s|min|h)\b)", NO_BREAK, text)


def _with_break(text: str) -> Markup:
    """Return a number's text that may break only before its interval in brackets."""
    mean, bracket, interval = text.partition(" [")
    return Markup('{} <span class="interval">[{}</span>').format(mean, interval) if bracket else escape(text)


def _kind(cell: Cell, column: Column) -> str:
    """Return the classes of one table cell."""
    is_long = column.is_prose or len(cell_text(cell, column=column)) > LONG_TEXT
    verdict = ["verdict", str(cell.value).split()[0]] if column.key == "verdict" else []
    is_bracket = column.interval is Interval.BRACKET
    return " ".join(
        [column.style, *["number"] * column.is_numeric, *["bracket"] * is_bracket, *["long"] * is_long, *verdict]
    )


def _variables(colours: Mapping[str, str]) -> Markup:
    return Markup(" ".join(f"--{name}: {colour};" for name, colour in colours.items()))


def _sort_value(cell: Cell) -> str:
    return "" if cell.value is None else str(cell.value)


def _with_anchors(text: str, anchors: set[str]) -> Markup:
    """Return text in which the hash of each configuration links to its row in the table of configurations."""
    parts = re.split(r"\b([0-9a-f]{6,64})\b", printable(text))
    link = Markup('<a class="key" href="#configuration-{0}"><code>{0}</code></a>')
    return Markup("").join(link.format(part) if part in anchors else escape(part) for part in parts)
