"""The tables of every run, on which the other tables rest, and of the initial masks that runs share."""

from collections.abc import Sequence

from nmlab.reports.analysis.configurations import Configuration, baselines, searched
from nmlab.reports.analysis.metrics import evaluation_metrics, metric_column, plain_name
from nmlab.reports.read.collect import InitialMaskRecord, StudyRuns
from nmlab.reports.read.trials import TrialRecord
from nmlab.reports.tables.cells import CONFIGURATION, METHOD, PATTERN, Settings, pattern_cells, pattern_columns
from nmlab.reports.values import Cell, Column, ReportTable, Row, Style, without_empty_columns
from nmlab.trials.contract import run_tags
from nmlab.trials.contract.run_status import TrialStatus

RUN = Column("run", "run", Style.RUN, help="MLflow run id")
SEED = Column("seed", "seed", Style.GENERAL)
PART = Column("part", "part", help="confirmation: a fresh seed, which took no part in the search")
STATUS = Column("status", "status", help="how the run ended")
REASON = Column("reason", "reason", help="why a run did not finish", is_prose=True)
SECONDS = Column("cost/seconds", "seconds", Style.SECONDS, help="cost/seconds")
COSTS_ALONE = (
    Column("cost/seconds", "seconds", Style.SECONDS, help="cost/seconds of computing it alone"),
    Column("cost/forwards", "forwards", Style.INTEGER, help="cost/forwards of computing it alone"),
    Column("cost/backwards", "backwards", Style.INTEGER, help="cost/backwards of computing it alone"),
    Column("cost/tokens", "tokens", Style.INTEGER, help="cost/tokens of computing it alone"),
)
STARTED = Column("started", "runs from here", Style.INTEGER, help="runs that started from this mask")
DIGEST = Column("digest", "digest", help=f"{run_tags.INITIAL_MASK_DIGEST} of the mask and of the runs")


def runs_table(runs: StudyRuns, *, configurations: Sequence[Configuration]) -> ReportTable:
    """Return one row for each child run, in the order of the configurations and then by seed."""
    tried = searched(configurations)
    ordered = (*tried, *baselines(configurations))
    settings = Settings.of(tried, baselines=baselines(configurations))
    numbers, patterns = _number_columns(runs, configurations), pattern_columns(ordered)
    rows = []
    for item in ordered:
        lead = (Cell(item.method), *pattern_cells(item, columns=patterns), settings.cell(item))
        rows += [_row(trial, lead, numbers) for trial in item.every_trial]
    rows += _duplicate_rows(runs, patterns, numbers)
    columns = (RUN, METHOD, *patterns, settings.column, SEED, PART, STATUS, *numbers, CONFIGURATION, REASON)
    caption = "One row for each configuration and seed, whatever its outcome."
    return without_empty_columns(ReportTable("runs", "Every run", caption, columns, tuple(rows)))


def _number_columns(runs: StudyRuns, configurations: Sequence[Configuration]) -> tuple[Column, ...]:
    metrics = evaluation_metrics(configurations, objective=runs.objective)
    first = metric_column(runs.objective.initial, title=f"initial {plain_name(runs.objective.metric)}")
    last = [metric_column(name, objective=runs.objective) for name in metrics]
    return (first, *last, SECONDS)


def _duplicate_rows(runs: StudyRuns, patterns: Sequence[Column], numbers: Sequence[Column]) -> list[Row]:
    """Return the rows of duplicate runs of a trial, which belong to no configuration."""
    blank = (Cell(""),) * len(patterns)
    repeated = [trial for trial in runs.trials if trial.status == TrialStatus.DUPLICATE]
    return [_row(trial, (Cell(trial.method), *blank, Cell("")), numbers) for trial in repeated]


def _row(trial: TrialRecord, lead: Sequence[Cell], numbers: Sequence[Column]) -> Row:
    run_ids = (trial.run_id,)
    cells = (
        Cell(trial.run_id, run_ids=run_ids),
        *lead,
        Cell(trial.seed, run_ids=run_ids),
        Cell("confirmation" if trial.is_confirmation else ""),
        Cell(str(trial.status), run_ids=run_ids),
        *(Cell(trial.metrics.get(column.key), run_ids=run_ids) for column in numbers),
        Cell(trial.configuration, run_ids=run_ids),
        Cell(trial.reason),
    )
    return Row(cells, run_ids=run_ids, kind="run", is_flawed=not trial.is_finished)


def initial_masks_table(runs: StudyRuns) -> ReportTable:
    """Return one row for each mask that runs started from; the table is empty where no run started from a mask."""
    rows = tuple(_mask_row(mask, runs) for mask in runs.initial_masks)
    table = ReportTable(
        key="initial_masks",
        title="Initial masks",
        caption="Masks that training started from. Each was computed once and shared; every run that started from one "
        "is charged its full cost.",
        columns=(RUN, METHOD, PATTERN, SEED, STARTED, *COSTS_ALONE, DIGEST),
        rows=rows,
    )
    return without_empty_columns(table)


def _mask_row(mask: InitialMaskRecord, runs: StudyRuns) -> Row:
    from_here = runs.started_from(mask)
    own = (mask.run_id,)
    cells = (
        Cell(mask.run_id, run_ids=own),
        Cell(mask.method),
        Cell(mask.pattern),
        Cell(mask.seed),
        Cell(len(from_here), run_ids=from_here),
        *(Cell(mask.metrics.get(column.key), run_ids=own) for column in COSTS_ALONE),
        Cell(mask.digest, run_ids=own),
    )
    return Row(cells, run_ids=own, kind="run")
