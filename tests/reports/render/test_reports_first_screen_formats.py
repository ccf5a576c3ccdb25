"""The first screen of a report in every format: the same values, each with its runs, before everything else."""

import csv
import html
import io
import json
import re

import pytest

from nmlab.reports.narrative.first_screen.differences import Difference
from nmlab.reports.render import csv_text, html_text, json_text, latex_text, markdown_text
from nmlab.reports.report import document_of
from nmlab.reports.values import cell_text


def test_every_format_holds_the_verdict_and_the_tiles(document):
    screen, page = document.screen, html_text(document)
    (shown,) = re.findall(r'<p class="verdict[^"]*"><strong>(.*?)</strong></p>', page)
    assert html.unescape(re.sub(r"<[^>]+>", "", shown)).replace("\N{NO-BREAK SPACE}", " ") == screen.verdict
    markdown, read = markdown_text(document).replace("\\", ""), json.loads(json_text(document))
    assert f"**{screen.verdict}**" in markdown
    assert read["verdict"] == screen.verdict
    assert read["before_you_trust_this"] == list(screen.trust)
    rows = list(csv.DictReader(io.StringIO(csv_text(screen.tiles))))
    tiles = re.findall(r'<dd class="value">(.*?)</dd>', page)
    for row, line, own, tile in zip(screen.tiles.rows, rows, read["tiles"]["rows"], tiles, strict=True):
        cell = row.cells[1]
        shown = cell_text(cell, column=screen.tiles.columns[1])
        assert html.unescape(re.sub(r"<[^>]+>", "", tile)) == shown
        assert f"| {shown} |" in markdown
        assert own["cells"]["value"]["shown"] == shown
        assert line["value"] == str(cell.value)
        assert line["run_ids"].split() == list(row.run_ids) == own["runs"]
        assert shown.replace("%", r"\%").replace("−", "$-$").split(" ")[0] in latex_text(screen.tiles)


def test_every_tile_leads_to_its_runs(document, runs):
    known = {trial.run_id for trial in runs.trials}
    links = re.findall(r'<dd class="value"><a href="[^"]+" data-runs="([^"]+)"', html_text(document))
    assert len(links) == len(document.screen.tiles.rows) == 6
    assert all(set(ids.split()) <= known for ids in links)


def test_every_number_of_the_verdict_stands_in_a_table(document):
    """From the sentence to the runs: each number is that of a cell, whose row names its runs."""
    tables = document.every_table
    texts = " ".join(
        cell_text(c, column=k) for t in tables for r in t.rows for k, c in zip(t.columns, r.cells, strict=True)
    )
    tiles = [cell for cell in document.screen.tiles.column("value") if cell.low is not None]
    texts += " ".join(Difference("eval/perplexity", cell.value, cell.low, cell.high).bracketed for cell in tiles)
    verdict, _, cost = document.screen.verdict.rpartition(" This took ")
    sentence = re.sub(r"95% interval|\bp (?:= |<)", "", verdict)
    numbers = re.findall(r"\d[\d,]*\.?\d*", sentence)
    assert len(numbers) > 3
    missing = [number for number in numbers if number not in texts and float(number) > 5]
    assert missing == []
    every = next(table for table in tables if table.key == "runs")
    assert f"{len(every.rows)} runs and " in cost, "a row for each"


def test_the_parts_of_the_first_screen_come_before_everything_else(document):
    page = html_text(document)
    order = [
        "<h1>",
        '<p class="verdict">',
        '<dl class="tiles ',
        'id="figure-ranking"',
        "Before you trust this",
        "<nav",
    ]
    places = [page.index(mark) for mark in order]
    assert places == sorted(places)
    assert page.count('id="figure-ranking"') == 1


@pytest.mark.usefixtures("undrawn")
def test_a_page_is_right_without_the_figure(store):
    page = html_text(document_of(store, study="maskpro-alpha"))
    assert '<p class="verdict' in page
    assert 'id="figure-ranking"' not in page
