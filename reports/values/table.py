"""Tables as values: their numbers, the runs they come from, and their marks.

Renderers turn a :class:`ReportTable` into HTML, Markdown, LaTeX and CSV; none of them computes anything.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from nmlab.reports.statistics import MeanEstimate
from nmlab.trials.contract.measures import Direction

MOST_ROWS_ON_PAGES = 400


class Style(StrEnum):
    """How a column's values are written."""

    TEXT = "text"
    CODE = "code"
    RUN = "run"
    INTEGER = "integer"
    GENERAL = "general"
    FIXED2 = "fixed2"
    FIXED4 = "fixed4"
    SIGNED2 = "signed2"
    SIGNED4 = "signed4"
    SECONDS = "seconds"
    MILLISECONDS = "milliseconds"
    MEBIBYTES = "mebibytes"
    P_VALUE = "p_value"
    RATIO = "ratio"


class Interval(StrEnum):
    """How a column writes the interval of a mean."""

    PLUS_MINUS = "plus_minus"
    BRACKET = "bracket"


class Mark(StrEnum):
    """The mark of a cell among comparable rows, as `analysis/marks.py` decides it.

    BEST and TIED (no test finds it worse than the best) are printed bold, SECOND underlined.
    """

    NONE = ""
    BEST = "best"
    TIED = "tied"
    SECOND = "second"


@dataclass(frozen=True, slots=True)
class Column:
    """One column; ``help`` describes its values in a sentence, and text of a prose column may break into lines."""

    key: str
    title: str
    style: Style = Style.TEXT
    direction: Direction = Direction.NONE
    interval: Interval = Interval.PLUS_MINUS
    help: str = ""
    is_prose: bool = False

    @property
    def is_numeric(self) -> bool:
        """Whether the column holds numbers, which stand flush right."""
        return self.style not in (Style.TEXT, Style.CODE, Style.RUN)


@dataclass(frozen=True, slots=True)
class Cell:
    """One value, the interval and number of replicates of a mean, and the runs that it comes from.

    ``shown`` is what pages print instead of the value: a shorter text, or a number as it stands in print.
    ``href`` is a link of the cell other than to runs.
    """

    value: float | int | str | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    run_ids: tuple[str, ...] = ()
    mark: Mark = Mark.NONE
    shown: str = ""
    href: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One row. ``kind`` says what it is about: dense, baseline, initial, searched or run.

    ``configuration`` is the hash of the configuration that it is about, where no column of that name has it.
    """

    cells: tuple[Cell, ...]
    run_ids: tuple[str, ...]
    kind: str = ""
    anchor: str = ""
    is_flawed: bool = False
    configuration: str = ""


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A table with its title, its caption, and the notes that a reader needs to trust it."""

    key: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that every row has one cell for each column."""
        for row in self.rows:
            assert len(row.cells) == len(self.columns), f"table {self.key}: {row} does not fit the columns"

    def column(self, key: str) -> tuple[Cell, ...]:
        """Return one column's cells, top to bottom."""
        index = [column.key for column in self.columns].index(key)
        return tuple(row.cells[index] for row in self.rows)


def for_pages(table: ReportTable, *, most: int = MOST_ROWS_ON_PAGES, where: str = "") -> ReportTable:
    """Return a table cut to its first ``most`` rows, with a note on where all of them are: in the report's files."""
    left = len(table.rows) - most
    if left <= 0:
        return table
    note = f"{left:,} further rows are {where or f'in tables/{table.key}.csv and in report.json'}."
    return replace(table, rows=table.rows[:most], notes=(note, *table.notes))


def without_columns(table: ReportTable, *, keys: Collection[str]) -> ReportTable:
    """Return a table without the columns that have these keys."""
    return _with_columns(table, [index for index, column in enumerate(table.columns) if column.key not in keys])


def with_notes(table: ReportTable, *, notes: Sequence[str]) -> ReportTable:
    """Return a table with these notes before its own."""
    return replace(table, notes=(*notes, *table.notes))


def estimate_cell(estimate: MeanEstimate | None, *, run_ids: Sequence[str] = ()) -> Cell:
    """Return the cell of a mean over seeds; an empty one for None."""
    if estimate is None:
        return Cell(value=None)
    return Cell(value=estimate.mean, low=estimate.low, high=estimate.high, n=estimate.n, run_ids=tuple(run_ids))


def without_empty_columns(table: ReportTable) -> ReportTable:
    """Return the table without the columns that hold no value in any row."""
    kept = [
        index
        for index in range(len(table.columns))
        if any(row.cells[index].value not in (None, "") for row in table.rows)
    ]
    return _with_columns(table, kept)


def _with_columns(table: ReportTable, kept: Sequence[int]) -> ReportTable:
    rows = tuple(replace(row, cells=tuple(row.cells[index] for index in kept)) for row in table.rows)
    return replace(table, columns=tuple(table.columns[index] for index in kept), rows=rows)
