"""The report as Markdown, readable as plain text and on a code host; best in bold, second best underlined."""

from nmlab.reports.narrative.provenance import moment_text
from nmlab.reports.render.document import Document, RunLinks
from nmlab.reports.render.templates import environment
from nmlab.reports.values import Cell, Column, Mark, ReportTable, Style, cell_text, for_pages, title_text
from nmlab.trials.contract.escaping import markdown_code, safe_link
from nmlab.trials.contract.escaping import markdown_text as escaped

MARKS = {Mark.NONE: "{}", Mark.BEST: "**{}**", Mark.TIED: "**{}**", Mark.SECOND: "<u>{}</u>"}


def markdown_text(document: Document) -> str:
    """Return the whole report; the runs table holds the full run ids, linked to MLflow."""
    template = environment(autoescape=False).get_template("report.md.jinja")
    cut = [for_pages(table, where=document.where_whole(table)) for table in (*document.lead, *document.details)]
    tables = [(table, markdown_table(table, links=document.links)) for table in cut]
    return template.render(
        document=document,
        tables=tables,
        tiles="" if document.screen is None else markdown_table(document.screen.tiles, links=document.links),
        written=moment_text(document.written),
        escaped=escaped,
        code=markdown_code,
        address=safe_link(document.links.experiment),
    )


def markdown_table(table: ReportTable, *, links: RunLinks) -> str:
    """Return one table as a pipe table."""
    head = [escaped(title_text(column)) for column in table.columns]
    rule = ["---:" if column.is_numeric else ":---" for column in table.columns]
    rows = [
        [_cell(cell, column, links) for cell, column in zip(row.cells, table.columns, strict=True)]
        for row in table.rows
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *rows))


def _cell(cell: Cell, column: Column, links: RunLinks) -> str:
    text = cell_text(cell, column=column)
    if column.style is Style.RUN and isinstance(cell.value, str):
        return _linked(markdown_code(text, in_table=True), links.run(cell.value))
    if column.style is Style.CODE and text:
        return markdown_code(text, in_table=True)
    shown = MARKS[cell.mark].format(escaped(text))
    return _linked(shown, cell.href)


def _linked(shown: str, address: str) -> str:
    address = safe_link(address)
    return f"[{shown}]({address})" if address else shown
