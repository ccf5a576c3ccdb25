"""The report as one self-contained HTML file with its styles, script and drawings."""

import re
from collections.abc import Mapping

from markupsafe import Markup, escape

from nmlab.reports.figures import DARK, LIGHT, FigureFile
from nmlab.reports.narrative.provenance import moment_text
from nmlab.reports.render.document import Document, RunLinks
from nmlab.reports.render.templates import environment
from nmlab.reports.values import Cell, Column, Interval, Mark, Style, cell_text, title_text
from nmlab.trials.contract.escaping import printable, safe_link

LONG_TEXT = 34  # longer cells may break into lines
NO_BREAK = "\N{NO-BREAK SPACE}"
MARKS = {Mark.NONE: "{}", Mark.BEST: "<strong>{}</strong>", Mark.TIED: "<strong>{}</strong>", Mark.SECOND: "<u>{}</u>"}


def html_text(document: Document) -> str:
    """Return the whole report; its only addresses are links to MLflow, and it loads nothing."""
    anchors = {row.anchor for table in document.details for row in table.rows if row.anchor}
    return (
        environment(autoescape=True)
        .get_template("report.html.jinja")
        .render(
            document=document,
            light=_variables(LIGHT),
            dark=_variables(DARK),
            written=moment_text(document.written),
            address=safe_link(document.links.experiment),
            title=_title,
            kind=_kind,
            cell=lambda cell, column: cell_html(cell, column=column, links=document.links, anchors=anchors),
            tiles=[] if document.screen is None else _tiles(document, anchors),
            sort_value=_sort_value,
            drawing=inline_svg,
            linked=lambda text: _with_anchors(text.replace(" ± ", f"{NO_BREAK}±{NO_BREAK}"), anchors),
        )
    )


def _tiles(document: Document, anchors: set[str]) -> list[tuple[str, Markup, Markup]]:
    """Return what each tile of the first screen is about, its value linked to its runs, and its detail."""
    assert document.screen is not None
    table = document.screen.tiles
    _, value, _ = table.columns
    return [
        (
            cell_text(row.cells[0], column=table.columns[0]),
            cell_html(row.cells[1], column=value, links=document.links, anchors=anchors),
            _with_anchors(cell_text(row.cells[2], column=table.columns[2]), anchors),
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
    noun = "run" if len(cell.run_ids) == 1 else f"{len(cell.run_ids)} runs"
    return Markup('<a href="{}" data-runs="{}" title="{}: {}">{}</a>').format(
        safe_link(links.run(cell.run_ids[0])), " ".join(cell.run_ids), noun, ", ".join(cell.run_ids), inside
    )


def inline_svg(figure: FigureFile) -> Markup:
    """Return a drawing as an SVG element with the page's colour variables and ids prefixed by the figure's key."""
    text = figure.svg.decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'\bid="', f'id="{figure.key}-', text)
    text = re.sub(r'href="#', f'href="#{figure.key}-', text)
    text = re.sub(r"url\(#", f"url(#{figure.key}-", text)
    for name, colour in LIGHT.items():
        text = re.sub(re.escape(colour), f"var(--{name})", text, flags=re.IGNORECASE)
    label = f'<svg role="img" aria-label="{escape(printable(figure.title))}"'
    return Markup(re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r"\1", text, count=1).replace("<svg", label, 1))


def _title(column: Column) -> Markup:
    """Return a column's title: names may break after an underscore, and the arrow stays with the last word."""
    text = printable(title_text(column))
    for arrow in ("↓", "↑"):
        text = text.replace(f" {arrow}", f"{NO_BREAK}{arrow}")
    return Markup("_<wbr>").join(escape(part) for part in text.split("_"))


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
