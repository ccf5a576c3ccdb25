"""Long tables of the page: fifty rows to see, the others as text that the script turns over, and a note without it."""

import re
from dataclasses import replace

import pytest

from nmlab.reports.render import html_text, markdown_text
from nmlab.reports.render.html import MOST_ROWS, ROWS_ON_PAGE
from nmlab.reports.render.html_rows import row_html
from nmlab.reports.values import Cell, Column, ReportTable, Row

ROW = re.compile(r'<tr class="searched" id="configuration-(\w+)" data-configuration="(\w+)">')
REST = re.compile(r'<script type="text/plain" class="rows" data-rows="(\d+)">\n(.*?)\n</script>', re.DOTALL)


def rows_of(count):
    keys = [f"{number:08x}" for number in range(count)]
    return tuple(Row((Cell("</script><b>"), Cell(key)), (), kind="searched", anchor=key) for key in keys)


@pytest.fixture
def page_of(document):
    def build(count):
        columns = (Column("note", "note"), Column("configuration", "configuration"))
        table = ReportTable("configurations", "Every configuration", "C.", columns, rows_of(count))
        own = replace(document, tables=(table,), figures=())
        return html_text(own), markdown_text(own)

    return build


def test_rows_after_the_first_page_are_text_that_holds_them_whole(page_of):
    page, _ = page_of(ROWS_ON_PAGE + 7)
    (rest,) = REST.findall(page)
    assert rest[0] == "7"
    table = page[page.index("<tbody>") : page.index("</tbody>")]
    shown, hidden = ([key for key, _ in ROW.findall(text)] for text in (table, rest[1]))
    assert shown + hidden == [f"{number:08x}" for number in range(ROWS_ON_PAGE + 7)]
    assert "</script>" not in rest[1]  # text of a table never ends the script
    assert (
        f"The first {ROWS_ON_PAGE} of {ROWS_ON_PAGE + 7} rows; all are in tables/configurations.csv and in report.json."
        in page
    )


def test_a_table_of_one_page_has_neither_pages_nor_text(page_of):
    page, _ = page_of(ROWS_ON_PAGE)
    assert not REST.search(page)
    assert len(ROW.findall(page)) == ROWS_ON_PAGE


def test_what_the_file_does_not_hold_is_said(page_of):
    page, markdown = page_of(MOST_ROWS + 3)
    assert len(ROW.findall(page)) == MOST_ROWS
    assert "3 further rows are in tables/configurations.csv and in report.json." in page
    assert f"{MOST_ROWS + 3 - 400:,} further rows are in tables/configurations.csv" in markdown.replace("\\", "")


def test_a_row_of_a_later_page_names_its_runs_once(document):
    table = next(table for table in document.tables if table.key == "configurations")
    row = next(row for row in table.rows if len(row.run_ids) > 1)
    first, later = (
        row_html(row, table=table, links=document.links, anchors=set(), is_short=is_short) for is_short in (False, True)
    )
    every, href = " ".join(row.run_ids), document.links.run(row.run_ids[0])
    assert later.count(f'data-href="{href}" data-runs="{every}"') == later.count(f'data-runs="{every}"') == 1
    assert later.count("<a>") == first.count(f'data-runs="{every}"') > 2
    assert re.sub("<.*?>", "", later) == re.sub("<.*?>", "", first)
