"""The table of costs: what one run of each side of every pair cost, as far as the sides differ."""

from dataclasses import replace

from nmlab.reports.analysis.pairwise import Side
from nmlab.reports.analysis.totals import total_of, total_text
from nmlab.reports.analysis.two_sides import LETTERS, MatchedPair, TwoSides
from nmlab.reports.statistics import MeanEstimate
from nmlab.reports.tables.cells import mean_cell
from nmlab.reports.tables.two_sides.names import RowNames
from nmlab.reports.values import Cell, Column, ReportTable, Row, Style, counted, without_empty_columns

KEY, TITLE = "costs", "Cost"
COSTS = (
    Column("cost/seconds", "seconds", Style.SECONDS, help="cost/seconds of one run, as if it shared nothing"),
    Column("cost/tokens", "tokens", Style.INTEGER, help="cost/tokens of one run"),
    Column("cost/forwards", "forwards", Style.INTEGER, help="cost/forwards of one run"),
    Column("cost/backwards", "backwards", Style.INTEGER, help="cost/backwards of one run"),
    Column("memory/peak_bytes", "peak MiB", Style.MEBIBYTES, help="memory/peak_bytes"),
    Column("memory/state_bytes", "state MiB", Style.MEBIBYTES, help="memory/state_bytes: the trial's own state"),
)


def costs_table(found: TwoSides) -> ReportTable:
    """Return one row for each pair, with the costs in which the sides of any pair differ."""
    pairs = found.matching.pairs
    names = RowNames.of(found.matching)
    known = [cost for cost in COSTS if any(_means(pair, cost) for pair in pairs)]
    apart = [cost for cost in known if any(_differs(pair, cost) for pair in pairs)]
    shown = apart or known
    columns = (*names.columns, *(column for cost in shown for column in _columns(cost)))
    rows = tuple(_row(pair, names, shown) for pair in pairs) if shown else ()
    equal = [cost.title for cost in known if cost not in shown]
    notes = (f"Equal on both sides of every row: {', '.join(equal)}.",) if equal else ()
    table = ReportTable(KEY, TITLE, _caption(found), columns, rows, notes=notes)
    return without_empty_columns(table)


def totals_text(found: TwoSides) -> str:
    """Return what all runs of each side cost together, finished or not: ``A 12 s in 9 runs, B 14 s in 9 runs``."""
    totals = [total_of(side.configurations) for side in found.sides]
    return ", ".join(
        f"{letter} {total_text(total)} in {counted(total.runs, noun='run')}"
        for letter, total in zip(LETTERS, totals, strict=True)
    )


def _caption(found: TwoSides) -> str:
    return f"Means over finished runs of a configuration. All runs of each side, finished or not: {totals_text(found)}."


def _columns(cost: Column) -> tuple[Column, ...]:
    sides = (replace(cost, key=f"{cost.key}_{each.lower()}", title=f"{cost.title}, {each}") for each in LETTERS)
    ratio = Column(f"{cost.key}_ratio", "B ÷ A", Style.RATIO, help=f"{cost.key} of B divided by that of A")
    return (*sides, ratio)


def _row(pair: MatchedPair, names: RowNames, costs: list[Column]) -> Row:
    cells = [cell for cost in costs for cell in _cells(pair, cost.key)]
    return Row((*names.cells(pair), *cells), run_ids=pair.run_ids, kind="searched")


def _cells(pair: MatchedPair, metric: str) -> tuple[Cell, ...]:
    own, other = (_plain(mean_cell(Side(item), metric=metric)) for item in pair.sides)
    ratio = None
    if isinstance(own.value, float) and isinstance(other.value, float) and own.value > 0:
        ratio = other.value / own.value
    return own, other, Cell(ratio, run_ids=pair.run_ids)


def _plain(cell: Cell) -> Cell:
    """Return a mean without an interval of no width, which counted costs have."""
    return replace(cell, low=None, high=None, n=None) if cell.low == cell.high else cell


def _means(pair: MatchedPair, cost: Column) -> list[MeanEstimate]:
    found = (item.estimate(cost.key) for item in pair.sides)
    return [mean for mean in found if mean is not None]


def _differs(pair: MatchedPair, cost: Column) -> bool:
    return len({mean.mean for mean in _means(pair, cost)}) > 1 or len(_means(pair, cost)) == 1
