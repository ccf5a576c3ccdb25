"""The table of every run, on which the other tables rest."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from nmlab.reports.analysis.configurations import Configuration, baselines, searched
from nmlab.reports.analysis.metrics import evaluation_metrics, metric_column, plain_name
from nmlab.reports.read.collect import StudyRuns
from nmlab.reports.read.frame import records_of
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
        rows += [_row(record, lead, numbers) for record in records_of(item.trials)]
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
    repeated = records_of(runs.trials[runs.trials["status"] == TrialStatus.DUPLICATE])
    return [_row(record, (Cell(str(record["method"])), *blank, Cell("")), numbers) for record in repeated]


def _row(record: dict[Any, Any], lead: Sequence[Cell], numbers: Sequence[Column]) -> Row:
    run_ids = (str(record["run_id"]),)
    cells = (
        Cell(record["run_id"], run_ids=run_ids),
        *lead,
        Cell(_plain(record["seed"]), run_ids=run_ids),
        Cell(str(record["status"]), run_ids=run_ids),
        *(Cell(_plain(record.get(column.key)), run_ids=run_ids) for column in numbers),
        Cell(record["configuration"], run_ids=run_ids),
        Cell(str(record["reason"])),
    )
    return Row(cells, run_ids=run_ids, kind="run", is_flawed=record["status"] != TrialStatus.FINISHED)


def _plain(value: Any) -> float | int | str | None:
    if value is None or pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value  # type: ignore[no-any-return]
