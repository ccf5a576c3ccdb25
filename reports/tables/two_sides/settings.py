"""The table of what the sides differ in, and the table of what is compared with nothing."""

from nmlab.reports.analysis.metrics import metric_column
from nmlab.reports.analysis.two_sides import LETTERS, Matching, TwoSides, Unmatched, titles_of
from nmlab.reports.analysis.two_sides.names import settings_text
from nmlab.reports.tables.cells import CONFIGURATION, METHOD, PATTERN, metric_cell, seeds_cell
from nmlab.reports.tables.two_sides.names import SETTING
from nmlab.reports.values import Cell, Column, ReportTable, Row, without_empty_columns

SETTINGS_KEY, SETTINGS_TITLE = "settings_apart", "What A and B differ in"
UNMATCHED_KEY, UNMATCHED_TITLE = "not_compared", "Not compared"
ABOUT, NAME = Column("about", "of"), Column("name", "what", help="the fact or setting")
SIDE = Column("side", "side")
RUNS = Column("runs", "runs", help="finished runs, of all runs of the configuration")
REASON = Column("reason", "why it is not compared", is_prose=True)


def settings_table(found: TwoSides) -> ReportTable:
    """Return one row for each recorded fact in which the sides differ."""
    titles = titles_of(found.labels)
    columns = (
        ABOUT,
        NAME,
        *(Column(letter.lower(), title, is_prose=True) for letter, title in zip(LETTERS, titles, strict=True)),
    )
    rows = tuple(Row((Cell(fact.kind), Cell(fact.name), *map(Cell, fact.values)), run_ids=()) for fact in found.facts)
    caption = (
        "Everything that was recorded of the two sides and differs: code, machine, model and texts, the compared runs, "
        "and the studies. What is not listed is the same or was not recorded."
    )
    return ReportTable(SETTINGS_KEY, SETTINGS_TITLE, caption, columns, rows)


def unmatched_table(found: TwoSides) -> ReportTable:
    """Return one row for each configuration that is in no pair, with the reason."""
    metric = found.metrics[0]
    column = metric_column(metric, objective=found.sides[0].runs.objective)
    columns = (SIDE, METHOD, PATTERN, SETTING, column, RUNS, REASON, CONFIGURATION)
    rows = tuple(_row(item, found.matching, metric) for item in found.matching.unmatched)
    caption = "Configurations of one side that no row above stands for. Means that lack a run are not tested."
    return without_empty_columns(ReportTable(UNMATCHED_KEY, UNMATCHED_TITLE, caption, columns, rows))


def _row(entry: Unmatched, matching: Matching, metric: str) -> Row:
    item = entry.item
    cells = (
        Cell(LETTERS[entry.side]),
        Cell(item.method),
        Cell("" if item.is_dense else item.pattern),
        Cell(settings_text(item, matching=matching)),
        metric_cell(item, metric=metric),
        seeds_cell(item),
        Cell(entry.reason),
        Cell(item.key, run_ids=item.run_ids),
    )
    return Row(cells, run_ids=item.run_ids, kind="searched", is_flawed=not item.is_complete)
