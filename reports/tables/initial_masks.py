"""The initial masks of a launch: each is computed once and shared by all runs that start from it."""

from nmlab.reports.read.collect import InitialMaskRecord, StudyRuns
from nmlab.reports.tables.cells import METHOD, PATTERN
from nmlab.reports.tables.runs import RUN, SEED
from nmlab.reports.values import Cell, Column, ReportTable, Row, Style, without_empty_columns
from nmlab.trials.contract import run_tags

COSTS = (
    Column("cost/seconds", "seconds", Style.SECONDS, help="cost/seconds of computing it alone"),
    Column("cost/forwards", "forwards", Style.INTEGER, help="cost/forwards of computing it alone"),
    Column("cost/backwards", "backwards", Style.INTEGER, help="cost/backwards of computing it alone"),
    Column("cost/tokens", "tokens", Style.INTEGER, help="cost/tokens of computing it alone"),
)
STARTED = Column("started", "runs from here", Style.INTEGER, help="runs that started from this mask")
DIGEST = Column("digest", "digest", help=f"{run_tags.INITIAL_MASK_DIGEST} of the mask and of the runs")


def initial_masks_table(runs: StudyRuns) -> ReportTable:
    """Return one row for each mask that runs started from; the table is empty where no run started from a mask."""
    rows = tuple(_row(mask, runs) for mask in runs.initial_masks)
    table = ReportTable(
        key="initial_masks",
        title="Initial masks",
        caption="Masks that training started from. Each was computed once and shared; every run that started from one "
        "is charged its full cost.",
        columns=(RUN, METHOD, PATTERN, SEED, STARTED, *COSTS, DIGEST),
        rows=rows,
    )
    return without_empty_columns(table)


def _row(mask: InitialMaskRecord, runs: StudyRuns) -> Row:
    from_here = runs.started_from(mask)
    own = (mask.run_id,)
    cells = (
        Cell(mask.run_id, run_ids=own),
        Cell(mask.method),
        Cell(mask.pattern),
        Cell(mask.seed),
        Cell(len(from_here), run_ids=from_here),
        *(Cell(mask.metrics.get(column.key), run_ids=own) for column in COSTS),
        Cell(mask.digest, run_ids=own),
    )
    return Row(cells, run_ids=own, kind="run")
