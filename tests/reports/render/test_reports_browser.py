"""The page in a headless browser: hover, highlight, keyboard and paging work, without errors and without network."""

from dataclasses import replace

import pytest
from chromium import chromium_page

from nmlab.reports.render import html_text
from nmlab.reports.render.html import ROWS_ON_PAGE
from nmlab.reports.values import Cell

pytestmark = pytest.mark.slow
ROWS = 2 * ROWS_ON_PAGE + 7
POINT = "#figure-ranking .point"
CLICK = "new MouseEvent('click', { bubbles: true, cancelable: true })"


@pytest.fixture(scope="module")
def opened(document, tmp_path_factory):
    """The report of the small study, and one whose table of configurations runs over three pages."""
    folder = tmp_path_factory.mktemp("browser")
    tables = tuple(_long(table) if table.key == "configurations" else table for table in document.tables)
    for name, own in (("report", document), ("long", replace(document, tables=tables))):
        (folder / f"{name}.html").write_text(html_text(own), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def page():
    """One browser for all tests, each of which opens a file in it."""
    with chromium_page() as page:
        yield page


def _long(table):
    """The table with its first row repeated, under hashes of their own."""
    place = [column.key for column in table.columns].index("configuration")
    rows = []
    for number in range(ROWS):
        key = f"{number:08x}"
        cells = list(table.rows[0].cells)
        cells[place] = Cell(key, run_ids=table.rows[0].run_ids)
        rows.append(replace(table.rows[0], cells=tuple(cells), anchor=key))
    return replace(table, rows=tuple(rows))


def nothing_wrong(page):
    assert page.complaints == []
    assert [address for address in page.requests if not address.startswith("file:")] == []


def test_hover_shows_value_and_runs_and_a_click_highlights_it_everywhere(page, opened, document):
    ranking = next(figure for figure in document.figures if figure.key == "ranking")
    best = next(point for point in ranking.points if "alpha=0.99:" in point.text)
    target = f'{POINT}[data-configuration="{best.configuration}"]'
    page.open_file(opened / "report.html")
    page.move_to(target)
    shown = page.evaluate("[hover.hidden, hover.innerText]")
    assert shown[0] is False
    assert best.text in shown[1]
    assert "perplexity 80.0 ± 5.0" in shown[1]
    assert all(run_id[:8] in shown[1] for run_id in best.run_ids)
    page.evaluate(f"document.querySelector('{target}').dispatchEvent({CLICK})")
    listed = page.evaluate("[...panel.querySelectorAll('a')].map((link) => link.href)")
    assert listed == [document.links.run(run_id) for run_id in best.run_ids]
    ids = "[...document.querySelectorAll('.point.picked')].map((one) => one.closest('figure').id)"
    figures = page.evaluate(ids)
    with_points = {"ranking", "pareto", "sensitivity", "outcomes", "parallel_coordinates", "loss_residual"}
    assert with_points <= {name.removeprefix("figure-") for name in figures}
    rows = page.evaluate("document.querySelectorAll('tr.picked').length")
    assert rows == sum(_rows_of(table, best.configuration) for table in document.tables)
    nothing_wrong(page)


def test_a_configuration_picked_in_a_table_is_highlighted_in_the_figures(page, opened, document):
    key = next(figure for figure in document.figures if figure.key == "ranking").points[1].configuration
    row = f'#table-configurations tr[data-configuration="{key}"]'
    page.open_file(opened / "report.html")
    page.evaluate(f"document.querySelector('{row} td').click()")
    chosen = "[...document.querySelectorAll('.point.picked')].map((one) => one.dataset.configuration)"
    assert set(page.evaluate(chosen)) == {key}
    assert key in page.evaluate("document.getElementById('picked').innerText")
    page.press("Escape")
    assert page.evaluate("document.querySelectorAll('.picked').length") == 0
    assert page.evaluate("document.getElementById('picked').hidden") is True
    nothing_wrong(page)


def test_the_keyboard_reaches_every_point_of_a_figure(page, opened, document):
    points = next(figure for figure in document.figures if figure.key == "ranking").points
    page.open_file(opened / "report.html")
    stops = page.evaluate("document.querySelectorAll('#figure-ranking .point[tabindex=\"0\"]').length")
    assert stops == 1  # Tab enters a figure once
    page.evaluate("document.querySelector('#figure-ranking .point').focus()")
    for point in points[1:]:
        page.press("ArrowRight")
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") == point.text
        assert point.text in page.evaluate("hover.innerText")
    page.press("Enter")
    assert page.evaluate("picked") == points[-1].configuration
    nothing_wrong(page)


def test_long_tables_have_pages_that_search_sort_and_links_reach(page, opened):
    def click(selector):
        page.evaluate(f"document.querySelector('#table-configurations {selector}').click()")

    page.open_file(opened / "long.html")
    rows = "[...document.querySelectorAll('#table-configurations tbody tr')]"
    keys = f"{rows}.map((row) => row.dataset.configuration)"
    assert page.evaluate(keys) == [f"{number:08x}" for number in range(ROWS_ON_PAGE)]
    told = page.evaluate("document.querySelector('#table-configurations .pages output').textContent")
    assert told == f"Rows 1 to {ROWS_ON_PAGE} of {ROWS}"
    click(".pages button:last-child")
    assert page.evaluate(keys)[0] == f"{ROWS_ON_PAGE:08x}"
    links = "[...document.querySelectorAll('#table-configurations tbody tr:first-child a[data-runs]')]"
    links += ".map((link) => [link.getAttribute('href'), link.dataset.runs, link.title])"
    page_of_links = page.evaluate(links)
    click(".pages button:first-child")
    assert page_of_links == page.evaluate(links) != []  # every row has the runs of the first
    click(".pages button:last-child")
    last = f"{ROWS - 1:08x}"
    page.evaluate(f"location.hash = 'configuration-{last}'")
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 50))")
    assert last in page.evaluate(keys)
    assert page.evaluate("picked") == last
    page.evaluate(f"tables.forEach((table) => table.search(['{last}']))")
    assert page.evaluate(keys) == [last]
    page.evaluate("tables.forEach((table) => table.search([]))")
    for _ in ("up", "down"):
        click("th:last-child button")
    assert page.evaluate(keys)[0] == last
    nothing_wrong(page)


@pytest.mark.parametrize("size", [(1400, 900), (390, 844)])
@pytest.mark.parametrize("dark", [False, True])
def test_points_lie_over_what_is_drawn(page, opened, document, size, dark):
    """The overlay has the drawing's own coordinates, so a point's place is inside of its figure."""
    page.resize(*size, dark=dark)
    page.open_file(opened / "report.html")
    outside = page.evaluate("""[...document.querySelectorAll(".point path")].filter((path) => {
        const own = path.getBoundingClientRect(), figure = path.closest("svg").getBoundingClientRect();
        return own.left < figure.left - 15 || own.right > figure.right + 15 || own.top < figure.top - 15
            || own.bottom > figure.bottom + 15;
    }).length""")
    assert outside == 0
    assert page.evaluate("document.querySelectorAll('.point path').length") == sum(
        len(figure.points) for figure in document.figures
    )
    nothing_wrong(page)


def _rows_of(table, key):
    names = [column.key for column in table.columns]
    if "configuration" not in names:
        return 0
    place = names.index("configuration")
    return sum(row.cells[place].value == key for row in table.rows[:ROWS_ON_PAGE])
