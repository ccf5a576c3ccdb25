"""Every configuration with its hyperparameters, its means, and the outcomes of its runs."""

from collections.abc import Mapping, Sequence

from nmlab.reports.analysis.configurations import Configuration, baselines, ranks, searched
from nmlab.reports.analysis.marks import ONLY_SEEDS, MarkEvidence, configuration_marks
from nmlab.reports.analysis.metrics import evaluation_metrics
from nmlab.reports.analysis.settings import constant, setting_text, varying, varying_by_method
from nmlab.reports.read.typed_text import Value
from nmlab.reports.tables.cells import (
    CONFIGURATION,
    METHOD,
    RANK,
    marked_means,
    metric_columns,
    pattern_cells,
    pattern_columns,
    rank_cell,
)
from nmlab.reports.values import Cell, Column, ReportTable, Row, Style, without_empty_columns
from nmlab.trials.contract import run_params
from nmlab.trials.contract.run_status import UNFINISHED, WITH_ERROR, TrialStatus

STATUSES = {
    "finished": (TrialStatus.FINISHED,),
    "diverged": (TrialStatus.DIVERGED,),
    "failed": WITH_ERROR,
    "unfinished": UNFINISHED,
}
OUTCOMES = (
    Column("finished", "finished", Style.INTEGER, help="runs in the mean"),
    Column("diverged", "diverged", Style.INTEGER, help="runs whose loss left the finite numbers"),
    Column("failed", "failed", Style.INTEGER, help="runs that ended in an error or out of memory"),
    Column("unfinished", "unfinished", Style.INTEGER, help="runs stopped or not ended"),
)
CAPTION = (
    "Mean and 95% t-interval over the finished seeds of each configuration, best first. Bold: the best, and all that "
    "no test separates from it. Configurations that lack a seed are listed below the complete ones, without a rank and "
    "without a mark."
)
OF_VALIDATION = " Order and ranks follow the means on validation text, which selected; marks are of evaluation text."
MACHINERY = (run_params.MODEL, run_params.DATA, run_params.SEARCH)


def configurations_table(
    configurations: Sequence[Configuration], *, evidence: MarkEvidence = ONLY_SEEDS
) -> ReportTable:
    """Return one row for each configuration, baselines last, with the number of runs of each outcome.

    Args:
        configurations: of one launch, best first.
        evidence: what marks rest on besides the seeds.
    """
    tried = searched(configurations)
    ordered = (*tried, *baselines(configurations))
    of_baselines = varying_by_method(baselines(configurations))
    names = tuple(dict.fromkeys((*varying(tried), *(name for own in of_baselines.values() for name in own))))
    objective = configurations[0].objective
    metrics = metric_columns(evaluation_metrics(configurations, objective=objective), configurations=configurations)
    marks = configuration_marks(ordered, metrics=[column.key for column in metrics], evidence=evidence)
    cells = {metric: marked_means(ordered, metric=metric, marks=own) for metric, own in marks.items()}
    outcomes = _outcomes(ordered)
    places, patterns = ranks(configurations), pattern_columns(ordered)
    rows = []
    for index, item in enumerate(ordered):
        lead = (rank_cell(item, places=places), Cell(item.method), *pattern_cells(item, columns=patterns))
        values = [cells[column.key][index] for column in metrics]
        rows.append(
            _row(item, lead=(*lead, *_setting_cells(item, names, of_baselines)), values=values, outcomes=outcomes)
        )
    hyperparameters = [_setting_column(name, tried) for name in names]
    table = ReportTable(
        key="configurations",
        title="Every configuration",
        caption=CAPTION + (OF_VALIDATION if objective.selects_on_validation else ""),
        columns=(RANK, METHOD, *patterns, *hyperparameters, *metrics, *outcomes, CONFIGURATION),
        rows=tuple(rows),
        notes=_notes(tried),
    )
    return without_empty_columns(table)


def _setting_column(name: str, tried: Sequence[Configuration]) -> Column:
    is_text = any(isinstance(item.settings.get(name), str) for item in tried)
    return Column(name, name, Style.TEXT if is_text else Style.GENERAL, help=f"hyperparameter {name}")


def _setting_cells(
    item: Configuration, names: Sequence[str], of_baselines: Mapping[str, Sequence[str]]
) -> tuple[Cell, ...]:
    """Return the values of the settings; for a baseline only those in which its method's baselines differ."""
    shown = of_baselines[item.method] if item.is_baseline else names
    return tuple(Cell(item.settings.get(name) if name in shown else "") for name in names)


def _outcomes(items: Sequence[Configuration]) -> tuple[Column, ...]:
    """Return the outcomes to count: unfinished runs have a column only where there are any."""
    unfinished = sum(item.count(*UNFINISHED) for item in items)
    return OUTCOMES if unfinished else OUTCOMES[:-1]


def _row(item: Configuration, *, lead: Sequence[Cell], values: Sequence[Cell], outcomes: Sequence[Column]) -> Row:
    counts = [item.count(*STATUSES[column.key]) for column in outcomes]
    cells = (
        *lead,
        *values,
        *(Cell(count, run_ids=item.run_ids) for count in counts),
        Cell(item.key, run_ids=item.run_ids),
    )
    kind = "dense" if item.is_dense else "baseline" if item.is_baseline else "searched"
    return Row(cells, item.run_ids, kind=kind, anchor=item.key, is_flawed=not item.is_complete)


def _notes(tried: Sequence[Configuration]) -> tuple[str, ...]:
    """Return the settings shared by all searched configurations, and by those of each method."""
    shared = _hyperparameters(constant(tried))
    notes = [f"The same in every searched configuration: {setting_text(tried[0], names=shared)}."] if shared else []
    methods = list(dict.fromkeys(item.method for item in tried))
    for method in methods if len(methods) > 1 else ():
        own = [item for item in tried if item.method == method]
        names = [name for name in _hyperparameters(constant(own)) if name not in shared]
        if names:
            notes.append(f"The same in every configuration of {method}: {setting_text(own[0], names=names)}.")
    return tuple(notes)


def _hyperparameters(settings: Mapping[str, Value]) -> list[str]:
    return [name for name in settings if not name.startswith(MACHINERY)]
