"""Text from users and other packages is shown as text in every format, with no unintended links."""

import csv
import io
import json
import re
from datetime import UTC, datetime

import pytest

from nmlab.reports.figures.style import SETTINGS, new_figure, saved
from nmlab.reports.narrative.provenance import ProvenanceSection
from nmlab.reports.render import csv_text, html_text, latex_text, markdown_text
from nmlab.reports.render.document import Command, Document, RunLinks
from nmlab.reports.render.json import json_text
from nmlab.reports.values import Cell, Column, ReportTable, Row, Style
from nmlab.trials.contract.escaping import csv_cell, markdown_code, printable, safe_link
from nmlab.trials.contract.escaping import markdown_text as escaped

HOSTILE = (
    "[run](javascript:alert(1))",
    "![x](data:text/html;base64,AAAA)",
    "[a]: javascript:alert(1)",
    "<javascript:alert(1)>",
    "<img src=x onerror=alert(1)>",
    "</td><script>alert(1)</script>",
    "a | b",
    "``` x ` y",
    "# title",
    "- item",
    "1. item",
    "&lt;b&gt;",
    "~~gone~~",
    "$x$",
    "\x1b[31mred\x1b[0m",
    "\x9b31mred",
    "\u202egnp.exe",
    "two\n\n# lines",
    '=HYPERLINK("http://x")',
    "@SUM(A1)",
    "-2+3+cmd|' /C calc'!A0",
    "[5pt]",
    "*",
    "\\input{/etc/passwd}",
    "100% & ${x}_^~#",
)


def document_of(texts, *, links=None):
    """Return a report in which each text stands everywhere that text can stand."""
    columns = (
        Column("name", "name"),
        Column("code", "code", Style.CODE),
        Column("run", "run", Style.RUN),
        Column("number", "number", Style.FIXED2),
    )
    rows = tuple(Row((Cell(text), Cell(text), Cell(text), Cell(-0.5)), (text,)) for text in texts)
    table = ReportTable("hostile", texts[0], texts[0], columns, rows, notes=tuple(texts))
    facts = tuple((text, text) for text in texts)
    return Document(
        study=texts[0],
        facts=facts,
        headline=tuple(texts),
        warnings=tuple(texts),
        tables=(table,),
        figures=(),
        provenance=(ProvenanceSection("section", facts),),
        links=links or RunLinks("http://127.0.0.1:5000", "7"),
        written=datetime(2026, 1, 1, tzinfo=UTC),
        title=texts[0],
        question=texts[0],
        commands=tuple(Command(line=text, does=text) for text in texts),
    )


@pytest.fixture(scope="module", params=HOSTILE)
def document(request):
    return document_of([request.param])


def without_code(text):
    """Return Markdown without its code spans, in which nothing has a meaning."""
    return re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text)


def test_markdown_leads_only_to_mlflow_and_holds_no_tag(document):
    text = markdown_text(document)
    links = re.findall(
        r"(?<!\\)\]\(([^)]*)\)|(?<!\\)\[[^\]]*(?<!\\)\]: *(\S+)|(?<!\\)<([a-z]+:[^>]*)>", without_code(text)
    )
    assert all("".join(link).startswith("http://127.0.0.1:5000/") for link in links)
    assert re.findall(r"(?<!\\)<(?!http://127|/?u>)", without_code(text)) == []


def test_markdown_has_the_blocks_of_the_report_and_no_others(document):
    plain = markdown_text(document_of(["plain"]))
    kinds = [re.match(r"(#+ |- |\||\d+\. |)", line)[0] for line in markdown_text(document).splitlines()]
    assert kinds == [re.match(r"(#+ |- |\||\d+\. |)", line)[0] for line in plain.splitlines()]


def test_a_row_of_markdown_has_as_many_cells_as_columns(document):
    rows = [line for line in markdown_text(document).splitlines() if line.startswith("| ")]
    assert rows
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}


def test_no_format_contains_terminal_control_characters(document):
    shown = (markdown_text, html_text, json_text)
    texts = [render(document) for render in shown] + [latex_text(document.tables[0]), csv_text(document.tables[0])]
    for text in texts:
        assert printable(text) == text


def test_html_runs_nothing_that_was_not_written_here(document):
    plain, text = html_text(document_of(["plain"])), html_text(document)
    for mark in ("<script", "<img", "onerror=", "<td", "</td>"):
        assert text.count(mark) - text.count("&lt;img src=x onerror=") * (mark == "onerror=") == plain.count(mark)
    assert all(link.startswith(("http://127.0.0.1:5000/", "#")) for link in re.findall(r'href="([^"]*)"', text))


def test_json_keeps_every_text_exactly(document):
    assert json.loads(json_text(document))["headline"] == list(document.headline)


def test_latex_holds_no_command_that_is_not_its_own(document):
    own = re.compile(r"\\[a-zA-Z]+|\\.")
    plain = set(own.findall(latex_text(document_of(["plain"]).tables[0])))
    escapes = {"\\textbackslash", "\\textless", "\\textgreater", "\\textasciitilde", "\\textasciicircum"}
    escapes |= {"\\allowbreak", "\\&", "\\%", "\\$", "\\#", "\\_", "\\{", "\\}"}
    text = latex_text(document.tables[0])
    assert set(own.findall(text)) - plain <= escapes
    assert not re.search(r"\\\\\s*[\[*]", text)


def test_no_spreadsheet_takes_text_for_a_formula(document):
    rows = list(csv.reader(io.StringIO(csv_text(document.tables[0]))))
    for cell in rows[1]:
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r")) or float(cell) == -0.5
    assert rows[1][3] == "-0.5"


@pytest.mark.parametrize("number", ["-0.5", "+1e-3", "-inf", "-7", "- ", ""])
def test_numbers_in_text_stay_numbers(number):
    assert csv_cell(number) == ("'- " if number == "- " else number)


@pytest.mark.parametrize("text", ["=1+1", " =1", "+x", "-x", "@x", "\t=1", "＝1"])
def test_formulas_are_text(text):
    assert csv_cell(text).startswith("'")


@pytest.mark.parametrize(
    "scheme", ["javascript:alert(1)", "JaVa\nScript:alert(1)", "\x01javascript:x", "data:x", "file:///x", " vbscript:x"]
)
def test_a_page_leads_to_servers_and_beside_itself_only(scheme):
    assert safe_link(scheme) == ""
    links = RunLinks(scheme, "7")
    hostile = document_of(["plain"], links=links)
    assert 'href=""' in html_text(hostile) or "href" not in html_text(hostile)
    assert "](" not in without_code(markdown_text(hostile))


def test_ordinary_text_stays_readable():
    for text in ("0.98 [0.97, 0.99]", "2:4 on layers.0.q_proj", "a_b c", "1.5 x", "-0.5", "a > b & c", "see #3: x"):
        assert escaped(text) == text
    assert markdown_code("a|b", in_table=True) == "`a\\|b`"
    assert markdown_code("a`b") == "`` a`b ``"
    assert safe_link("http://h:1/#/x?a=b&c=%20") == "http://h:1/#/x?a=b&c=%20"
    assert safe_link("a study/report.html") == "a%20study/report.html"


def test_names_in_figures_are_drawn_as_they_are():
    import matplotlib

    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(2.0)
        axes = figure.add_subplot()
        axes.set_title("$\\frac{ \x1b[31m <script>")
        axes.plot([1, 2], label="$x^")
        axes.legend()
        drawn = saved(figure, key="k", title="t", caption="c", alternative="a")
    assert b"\x1b" not in drawn.svg
    assert b"<script" not in drawn.svg
