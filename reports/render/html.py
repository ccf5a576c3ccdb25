"""The report as one self-contained HTML file with its styles, script and drawings."""

import re
from collections.abc import Mapping
from functools import partial

from markupsafe import Markup, escape

from nmlab.reports.figures import DARK, LIGHT, DataPoint, FigureFile
from nmlab.reports.narrative.provenance import moment_text
from nmlab.reports.render.document import Document, RunLinks
from nmlab.reports.render.html_rows import cell_html, named_runs, row_html, with_anchors
from nmlab.reports.render.templates import environment
from nmlab.reports.values import Column, cell_text, for_pages, title_text
from nmlab.trials.contract.escaping import printable, safe_link

NO_BREAK = "\N{NO-BREAK SPACE}"
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
            row=partial(row_html, links=document.links, anchors=anchors),
            later_row=partial(row_html, links=document.links, anchors=anchors, is_short=True),
            drawing=lambda figure: inline_svg(figure, links=document.links),
            tiles=[] if document.screen is None else _tiles(document, anchors),
            linked=lambda text: with_anchors(text.replace(" ± ", f"{NO_BREAK}±{NO_BREAK}"), anchors),
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
            with_anchors(_with_units(cell_text(row.cells[2], column=table.columns[2])), anchors),
        )
        for row in table.rows
    ]


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
    return Markup('<a class="{}" href="{}" {} data-configuration="{}">{}</a>\n').format(
        kind, safe_link(links.run(point.run_ids[0])), Markup(named_runs(point.run_ids)), point.configuration, inside
    )


def _title(column: Column) -> Markup:
    """Return a column's title: names may break after an underscore, and the arrow stays with the last word."""
    text = printable(title_text(column))
    for arrow in ("↓", "↑"):
        text = text.replace(f" {arrow}", f"{NO_BREAK}{arrow}")
    return Markup("_<wbr>").join(escape(part) for part in text.split("_"))


def _with_units(text: str) -> str:
    """Return text in which a time stays on one line with its unit."""
    return re.sub(r"(?<=\d) (?=(?:s|min|h)\b)", NO_BREAK, text)


def _variables(colours: Mapping[str, str]) -> Markup:
    return Markup(" ".join(f"--{name}: {colour};" for name, colour in colours.items()))
