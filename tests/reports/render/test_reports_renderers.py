"""The same values in every format, with the marks and the links of each."""

import csv
import io
import json
import math
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from nmlab.reports.figures import FigureFile
from nmlab.reports.render import csv_text, html_text, json_text, latex_text, markdown_text, table_json
from nmlab.reports.render.document import RunLinks
from nmlab.reports.render.html import inline_svg
from nmlab.reports.render.html_rows import MOST_LISTED, cell_html
from nmlab.reports.render.latex import escaped
from nmlab.reports.render.markdown import markdown_table
from nmlab.reports.report import document_of
from nmlab.reports.values import Cell, Column, Direction, Interval, Mark, ReportTable, Row, Style, cell_text, for_pages

LINKS = RunLinks("http://127.0.0.1:5000", "7")


class Cells(HTMLParser):
    """Collect the text of every table cell, by the id of its section."""

    def __init__(self):
        super().__init__()
        self.tables, self.section, self.inside = {}, "", False

    def handle_starttag(self, tag, attrs):
        if tag == "section":
            self.section = dict(attrs).get("id", "")
        if tag == "tr" and self.section:
            self.tables.setdefault(self.section, []).append([])
        self.inside = tag == "td" or (self.inside and tag != "tr")
        if tag == "td":
            self.tables[self.section][-1].append("")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "td"

    def handle_data(self, data):
        if self.inside:
            self.tables[self.section][-1][-1] += data


@pytest.fixture(scope="module")
def page(document):
    return html_text(document)


def expected(table, *, run_length):
    def text(cell, column):
        shown = cell_text(cell, column=column)
        return shown[:run_length] if column.style is Style.RUN else shown

    return [[text(c, column) for c, column in zip(row.cells, table.columns, strict=True)] for row in table.rows]


def test_html_holds_every_cell_of_every_table(document, page):
    parser = Cells()
    parser.feed(page)
    for table in document.tables:
        rows = [row for row in parser.tables[f"table-{table.key}"] if row]
        assert rows == expected(table, run_length=32)


def test_markdown_holds_every_cell_of_every_table(document):
    for table in document.tables:
        lines = markdown_table(table, links=document.links).splitlines()[2:]
        rows = [[plain_markdown(cell) for cell in line[2:-2].split(" | ")] for line in lines]
        assert rows == expected(table, run_length=32)


def plain_markdown(text):
    text = re.sub(r"\[`(\w+)`\]\(\S+\)", r"\1", text.strip())
    return re.sub(r"</?u>|\*\*|`", "", text).replace("\\", "")


def test_latex_holds_every_cell_of_every_table(document):
    for table in document.tables:
        body = latex_text(table).rpartition(r"\midrule")[2]  # the head of a table over pages stands twice
        lines = [line for line in body.splitlines() if line.endswith(r"\\") and " & " in line]
        rows = [[plain_latex(cell) for cell in line.removesuffix(r" \\").split(" & ")] for line in lines]
        assert rows == expected(table, run_length=8)


PLAIN = {"−": "$-$", "±": r"$\pm$", "·": r"$\cdot$", "–": "--", "×": r"$\times$", "<": r"\textless{}"}


def plain_latex(text):
    text = re.sub(r"\\(?:textbf|underline|texttt)\{(.*)\}", r"\1", text)
    for shown, written in (
        ("−", "$-$"),
        ("±", r"$\pm$"),
        ("·", r"$\cdot$"),
        ("–", "--"),
        ("×", r"$\times$"),
        ("<", r"\textless{}"),
    ):
        text = text.replace(written, shown)
    return re.sub(r"\\([%&#_$])", r"\1", text.replace(r"\allowbreak{}", ""))


def test_csv_holds_every_value_at_full_precision(document):
    for table in document.tables:
        rows = list(csv.DictReader(io.StringIO(csv_text(table))))
        assert len(rows) == len(table.rows)
        for read, row in zip(rows, table.rows, strict=True):
            assert read["run_ids"].split() == list(row.run_ids)
            for column, cell in zip(table.columns, row.cells, strict=True):
                assert read[column.key] == ("" if cell.value is None else str(cell.value))
                if cell.low is not None:
                    assert float(read[f"{column.key}_low"]) == cell.low
                    assert int(read[f"{column.key}_n"]) == cell.n


def test_csv_says_what_is_best(document):
    rows = list(csv.DictReader(io.StringIO(csv_text(document.tables[0]))))
    assert [row["eval/perplexity_mark"] for row in rows] == ["", "second", "", "second", "best"]


def test_best_is_bold_and_second_underlined_everywhere(document, page):
    summary = document.tables[0]
    markdown, latex = markdown_table(summary, links=document.links), latex_text(summary)
    assert "<strong>80.0 ± 5.0</strong>" in page
    assert "<u>120.0 ± 2.5</u>" in page
    assert "**80.0 ± 5.0**" in markdown
    assert "<u>120.0 ± 2.5</u>" in markdown
    assert r"\textbf{80.0 $\pm$ 5.0}" in latex
    assert r"\underline{120.0 $\pm$ 2.5}" in latex


def test_the_page_needs_nothing_from_anywhere(page):
    addresses = re.findall(
        r"""(?:https?:)?//[^\s"'<>)]+""", re.sub(r"--tracking-uri [^<]+", "", page.replace("// ", ""))
    )
    assert addresses
    assert all(address.startswith("http://127.0.0.1:5000/#/experiments/") for address in addresses)
    assert not re.search(r"<(?:link|iframe|img|object|embed)\b|@import|<script[^>]+src|url\((?!#)", page)


def test_every_number_leads_to_its_runs(document, page, runs):
    known = {trial.run_id for trial in runs.trials}
    links = re.findall(r'<a href="([^"]+)" data-runs="([^"]+)" title="([^"]+)"', page)
    assert len(links) > 100
    for href, ids, title in links:
        first = ids.split()[0]
        assert set(ids.split()) <= known
        assert href == document.links.run(first)
        count = len(ids.split())
        assert title == (f"run {first}" if count == 1 else f"{count} runs")


def test_a_number_over_very_many_runs_names_the_first_and_counts_the_others():
    ids = tuple(f"run{number}" for number in range(MOST_LISTED + 3))
    shown = cell_html(Cell("x", run_ids=ids), column=Column("x", "x"), links=LINKS, anchors=set())
    (named,) = re.findall('data-runs="([^"]+)" data-more="3" title="203 runs"', shown)
    assert named.split() == list(ids[:MOST_LISTED])
    few = cell_html(Cell("x", run_ids=ids[:MOST_LISTED]), column=Column("x", "x"), links=LINKS, anchors=set())
    assert re.findall('data-runs="([^"]+)" title="200 runs"', few) == [" ".join(ids[:MOST_LISTED])]
    assert "data-more" not in few


def test_links_inside_the_page_lead_somewhere(page):
    targets = re.findall(r'href="#([^"]+)"', page)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert set(targets) <= set(ids)
    assert len(ids) == len(set(ids))


def test_the_headline_leads_to_its_configuration(document, page):
    key = document.tables[0].column("configuration")[-1].value
    assert f'<a class="key" href="#configuration-{key}"><code>{key}</code></a>) reaches' in page


@pytest.mark.usefixtures("undrawn")
def test_other_user_interfaces_are_linked_where_asked(store):
    page = html_text(document_of(store, study="maskpro-alpha", ui_base="https://mlflow.example/base/"))
    assert 'href="https://mlflow.example/base/#/experiments/' in page
    assert "127.0.0.1" not in page


def test_text_from_the_store_is_never_markup():
    column = Column("x", "x")
    cell = cell_html(Cell("<script>alert(1)</script>"), column=column, links=LINKS, anchors=set())
    assert cell == "&lt;script&gt;alert(1)&lt;/script&gt;"


def test_markdown_escapes_what_would_be_markup():
    table = ReportTable("t", "t", "t", (Column("a|b", "a|b"),), (Row((Cell("x|y *z* `c` <b> _q_ snake_case"),), ()),))
    text = markdown_table(table, links=LINKS)
    assert text.splitlines()[0] == r"| a\|b |"
    assert text.splitlines()[2] == r"| x\|y \*z\* \`c\` \<b> \_q\_ snake_case |"


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("100% & 5$ #1 a_b {c}", r"100\% \& 5\$ \#1 a\_b \{c\}"),
        ("a\\b~c^d", r"a\textbackslash{}b\textasciitilde{}c\textasciicircum{}d"),
        ("−1 ± 2 · 3", r"$-$1 $\pm$ 2 $\cdot$ 3"),
        ("<x>", r"\textless{}x\textgreater{}"),
    ],
)
def test_latex_escapes_what_would_be_a_command(text, latex):
    assert escaped(text) == latex


def test_latex_arrows_and_rules():
    columns = (Column("a", "a", Style.FIXED2, Direction.LOWER), Column("b", "b", Style.FIXED2, Direction.HIGHER))
    rows = (Row((Cell(1.0, mark=Mark.BEST), Cell(2.0)), ()),)
    text = latex_text(ReportTable("t", "Title", "Says.", columns, rows, notes=("50% of it",)))
    assert r"a $\downarrow$ & b $\uparrow$ \\" in text
    assert r"\begin{tabular}{rr}" in text
    assert r"\textbf{1.00} & 2.00 \\" in text
    assert r"\caption{Title. Says.}\label{tab:t}" in text
    assert r"50\% of it" in text
    positions = [text.index(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")]
    assert positions == sorted(positions)


def test_a_long_latex_table_goes_over_pages():
    rows = tuple(Row((Cell(i),), ()) for i in range(60))
    text = latex_text(ReportTable("t", "T", "C.", (Column("a", "a", Style.INTEGER),), rows))
    assert text.count(r"\toprule") == 2
    assert r"\endfirsthead" in text
    assert r"\endhead" in text
    assert r"\begin{table}" not in text
    assert text.count(r" \\") == 62


def test_a_latex_float_is_shrunk_by_latex_and_holds_few_rows():
    rows = tuple(Row((Cell("setting=1"),), ()) for _ in range(31))
    few, many = (latex_text(ReportTable("t", "T", "C.", (Column("a", "a"),), rows[:count])) for count in (30, 31))
    assert "\\sbox0{\\begin{tabular}{l}\n" in few
    assert r"\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi" in few
    assert r"\begin{table}" not in many
    assert r"\begin{longtable}{l}" in many


def test_prose_in_latex_fills_the_width_and_breaks_over_pages():
    columns = (Column("a", "a"), Column("b", "b", is_prose=True), Column("c", "c", Style.INTEGER))
    text = latex_text(ReportTable("t", "T", "C.", columns, (Row((Cell("x"), Cell("words " * 50), Cell(1)), ()),)))
    share = re.search(r"\\begin\{longtable\}\{l>\{\\raggedright\\arraybackslash\}p\{(0\.\d+)\\linewidth\}r\}", text)
    assert 0.8 < float(share[1]) < 1.0
    assert text.count(r"\toprule") == 2
    assert r"\begin{table}" not in text


@pytest.mark.parametrize(("title", "opening"), [("Cost", "Cost. Says."), ("Really better?", "Really better? Says.")])
def test_a_latex_caption_is_title_and_text(title, opening):
    table = ReportTable("t", title, "Says.", (Column("a", "a"),), (Row((Cell("x"),), ()),))
    assert rf"\caption{{{opening}}}\label{{tab:t}}" in latex_text(table)


def test_long_names_in_latex_may_break_but_numbers_may_not():
    table = ReportTable(
        "t",
        "T",
        "C.",
        (Column("a", "a", is_prose=True),),
        (Row((Cell("data.calibration.samples=128, alpha=0.97"),), ()),),
    )
    written = r"data.\allowbreak{}calibration.\allowbreak{}samples=\allowbreak{}128, alpha=\allowbreak{}0.97"
    assert written in latex_text(table)


def test_only_a_column_of_bracketed_intervals_breaks_before_one():
    brackets = Column("x", "x", Style.SIGNED2, interval=Interval.BRACKET)
    shown = cell_html(Cell(-40.0, -42.48, 1.0, 3), column=brackets, links=LINKS, anchors=set())
    assert shown == '−40 <span class="interval">[−42, +1]</span>'
    prose = "ends at −40.00 [−42.48, +1.00], which is a sentence that goes on"
    assert cell_html(Cell(prose), column=Column("x", "x"), links=LINKS, anchors=set()) == prose


def test_inline_drawings_share_no_ids_and_follow_the_theme():
    svg = (
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="10pt" height="5pt" viewBox="0 0 10 5">'
        b'<metadata>x</metadata><path id="p" style="fill: #1C2128"/><use xlink:href="#p" clip-path="url(#p)"/></svg>'
    )
    text = inline_svg(FigureFile("key", 'A "title"', "", svg=svg, alternative="Two."), links=LINKS)
    assert text.startswith('<svg role="img" aria-label="A &#34;title&#34;: Two." viewBox=')
    assert 'id="key-p"' in text
    assert 'href="#key-p"' in text
    assert "url(#key-p)" in text
    assert "var(--fig-ink)" in text
    assert "http" not in text


def test_only_one_line_of_a_page_holds_the_time(store, document):
    later = type(document)(
        **{name: getattr(document, name) for name in document.__dataclass_fields__}
        | {"written": datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC)}
    )
    for render in (html_text, markdown_text):
        lines = zip(render(document).splitlines(), render(later).splitlines(), strict=True)
        changed = [new for old, new in lines if old != new]
        assert len(changed) == 1
        assert "Report written 2031-01-02 03:04:05 UTC" in changed[0]


@pytest.mark.usefixtures("undrawn")
def test_warnings_stand_out(writer, store, trial):
    trials = [trial("wanda", 0, 50.0, role="baseline")]
    writer.launch("dirty", trials, name="dirty-1", tags={"nmlab.git_dirty": "true"})
    document = document_of(store, study="dirty")
    assert '<section class="warnings"' in html_text(document)
    assert "- Run from a dirty tree" in markdown_text(document)


def test_a_figure_without_data_is_left_out_with_its_reason(document, page):
    reason = "only alpha varied between the configurations"
    assert 'id="figure-importance"' not in page
    assert f"<dt>Hyperparameter importance</dt><dd>{reason}" in page
    markdown = markdown_text(document)
    assert "![Hyperparameter importance" not in markdown
    assert "![Configurations side by side: From the top down: 0.7 perplexity" in markdown
    assert f"- Hyperparameter importance: {reason}" in markdown


def test_json_holds_every_cell_and_the_findings(document):
    read = json.loads(json_text(document))
    assert read["headline"] == list(document.headline)
    assert [table["key"] for table in read["tables"]] == [table.key for table in document.tables]
    for own, table in zip(read["tables"], document.tables, strict=True):
        for line, row in zip(own["rows"], table.rows, strict=True):
            assert line["runs"] == list(row.run_ids)
            for column, cell in zip(table.columns, row.cells, strict=True):
                found = line["cells"][column.key]
                assert found["value"] == (None if cell.value is None else pytest.approx(cell.value)
                                          if isinstance(cell.value, float) else cell.value)  # fmt: skip
                assert found["shown"] == cell_text(cell, column=column)
                assert found.get("mark", "") == str(cell.mark)


def test_json_knows_no_infinity(document):
    table = replace(document.tables[0], columns=(Column("x", "x", Style.FIXED2),), rows=(Row((Cell(math.inf),), ()),))
    assert json.loads(table_json(table))["rows"][0]["cells"]["x"]["value"] == "inf"


def test_a_long_table_is_cut_on_pages_and_whole_in_data_files():
    rows = tuple(Row((Cell(float(place)),), ()) for place in range(12))
    table = ReportTable("long", "Long", "Rows.", (Column("x", "x", Style.FIXED2),), rows, notes=("A note.",))
    cut = for_pages(table, most=10)
    assert len(cut.rows) == 10
    assert cut.notes == ("2 further rows are in tables/long.csv and in report.json.", "A note.")
    assert for_pages(table, most=12) is table
    assert len(csv_text(table).splitlines()) == 13
    assert len(json.loads(table_json(table))["rows"]) == 12
