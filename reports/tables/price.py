"""The table "The price of the search": runs and their costs, by how they ended."""

from collections.abc import Sequence

from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.analysis.price import KINDS, PricePart, price_of
from nmlab.reports.values import Cell, Column, ReportTable, Row, Style, without_empty_columns

KEY, TITLE = "price", "The price of the search"
COLUMNS = (
    Column("part", "runs of"),
    Column("runs", "runs", Style.INTEGER, help="runs of any status"),
    Column("cost/seconds", "seconds", Style.SECONDS, help="cost/seconds, summed, as if runs shared nothing"),
    Column("share", "% of seconds", Style.GENERAL, help="share in the seconds of all runs"),
    Column("cost/forwards", "forwards", Style.INTEGER, help="cost/forwards, summed"),
    Column("cost/tokens", "tokens", Style.INTEGER, help="cost/tokens, summed"),
    Column("unknown", "cost unknown", Style.INTEGER, help="runs of which no cost is known"),
)
CAPTION = "Sums over all runs, however they ended; those of one configuration are in the table of costs."


def price_table(configurations: Sequence[Configuration]) -> ReportTable:
    """Return one row for each way in which runs of the search ended, then fresh seeds, baselines and the sum."""
    parts = price_of(configurations)
    rows = tuple(_row(part, whole=parts[-1]) for part in parts)
    return without_empty_columns(ReportTable(KEY, TITLE, CAPTION, COLUMNS, rows))


def _row(part: PricePart, *, whole: PricePart) -> Row:
    seconds, total = part.sums[KINDS[0]], whole.sums[KINDS[0]]
    share = round(100 * seconds / total, 1) if total else None
    sums = {kind: Cell(part.sums[kind] or None, run_ids=part.run_ids) for kind in KINDS}
    cells = (
        Cell(part.name),
        Cell(len(part.run_ids), run_ids=part.run_ids),
        sums["cost/seconds"],
        Cell(share, run_ids=part.run_ids),
        sums["cost/forwards"],
        sums["cost/tokens"],
        Cell(part.unknown or None, run_ids=part.run_ids),
    )
    return Row(cells, run_ids=part.run_ids, kind="searched")
