"""The table of every run, on which the other tables rest."""

from collections.abc import Sequence

from nmlab.reports.analysis.configurations import Configuration, baselines, searched
from nmlab.reports.analysis.metrics import evaluation_metrics, metric_column, plain_name
from nmlab.reports.read.collect import StudyRuns
from nmlab.reports.read.trials import TrialRecord
from nmlab.reports.tables.cells import CONFIGURATION, METHOD, Settings, pattern_cells, pattern_columns
from nmlab.reports.values import Cell, Column, ReportTable, Row, Style, without_empty_columns
from nmlab.trials.contract.run_status import TrialStatus

RUN = Column("run", "run", Style.RUN, help="MLflow run id")
SEED = Column("seed", "seed", Style.GENERAL)
STATUS = Column("status", "status", help="how the run ended")
REASON = Column("reason", "reason", help="why a run did not finish", is_prose=True)
SECONDS = Column("cost/seconds", "seconds", Style.SECONDS, help="cost/seconds")


def runs_table(runs: StudyRuns, *, configurations: Sequence[Configuration]) -> ReportTable:
    """Return one row for each child run, in the order of the configurations and then by seed."""
    tried = searched(configurations)
    ordered = (*tried, *baselines(configurations))
    settings = Settings.of(tried, baselines=baselines(configurations))
    numbers, patterns = _number_columns(runs, configurations), pattern_columns(ordered)
    rows = []
    for item in ordered:
        lead = (Cell(item.method), *pattern_cells(item, columns=patterns), settings.cell(item))
        rows += [_row(trial, lead, numbers) for trial in item.trials]
    rows += _duplicate_rows(runs, patterns, numbers)
    columns = (RUN, METHOD, *patterns, settings.column, SEED, STATUS, *numbers, CONFIGURATION, REASON)
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
        Cell(str(trial.status), run_ids=run_ids),
        *(Cell(trial.metrics.get(column.key), run_ids=run_ids) for column in numbers),
        Cell(trial.configuration, run_ids=run_ids),
        Cell(trial.reason),
    )
    return Row(cells, run_ids=run_ids, kind="run", is_flawed=not trial.is_finished)
