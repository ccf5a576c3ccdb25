"""The cost of every configuration: seconds, forwards, memory, and the parts of a step's time."""

from collections.abc import Sequence

from nmlab.reports.analysis.budgets import PEAK, peaks_differ
from nmlab.reports.analysis.configurations import Configuration, baselines, searched
from nmlab.reports.analysis.totals import (
    SECONDS,
    SPENT,
    STEP_PARTS,
    step_shares,
    total_of,
    totals_by_method,
    totals_line,
)
from nmlab.reports.tables.cells import (
    CONFIGURATION,
    METHOD,
    SEEDS,
    Settings,
    metric_cell,
    pattern_cells,
    pattern_columns,
    seeds_cell,
)
from nmlab.reports.values import Cell, Column, ReportTable, Row, Style, number_text, without_empty_columns
from nmlab.trials.contract.run_status import TrialStatus

COSTS = (
    Column("cost/seconds", "seconds", Style.SECONDS, help="cost/seconds of one run, as if it shared nothing"),
    Column(
        "cost/initial_seconds", "start s", Style.SECONDS, help="cost/initial_seconds: of these, the mask it starts from"
    ),
    Column(
        "cost/spent_seconds", "spent s", Style.SECONDS, help="cost/spent_seconds: of these, not computed by another run"
    ),
    Column("cost/forwards", "forwards", Style.INTEGER, help="cost/forwards of one run"),
    Column("cost/initial_forwards", "start forwards", Style.INTEGER, help="cost/initial_forwards: of these, the start"),
    Column("cost/backwards", "backwards", Style.INTEGER, help="cost/backwards of one run"),
    Column("cost/tokens", "tokens", Style.INTEGER, help="cost/tokens of one run"),
    Column("cost/trainable_params", "trainable", Style.INTEGER, help="cost/trainable_params: trained numbers"),
    Column("memory/peak_bytes", "peak MiB", Style.MEBIBYTES, help="memory/peak_bytes"),
    Column("memory/state_bytes", "state MiB", Style.MEBIBYTES, help="memory/state_bytes: the trial's own state"),
    Column("time/step_s", "step ms", Style.MILLISECONDS, help="time/step_s: one training step"),
)
PARTS = dict(zip(STEP_PARTS, ("sample", "forward", "update"), strict=True))
CAPTION = "Means over finished runs, with a 95% t-interval where runs differ."
SPLIT = Column("split", " · ".join(PARTS.values()), help="shares of these parts of a step in their sum")


def cost_table(configurations: Sequence[Configuration]) -> ReportTable:
    """Return the mean cost of a finished run of every configuration, in the order of the other tables."""
    tried = searched(configurations)
    ordered = [item for item in (*tried, *baselines(configurations)) if item.count(TrialStatus.FINISHED)]
    settings, costs, patterns = (
        Settings.of(tried, baselines=baselines(configurations)),
        _costs_spent(ordered),
        pattern_columns(configurations),
    )
    rows = []
    for item in ordered:
        lead = (Cell(item.method), *pattern_cells(item, columns=patterns), settings.cell(item))
        rows.append(_row(item, lead=lead, costs=costs))
    table = ReportTable(
        key="cost",
        title="Cost",
        caption=f"{CAPTION} {totals_by_method(configurations)}".strip(),
        columns=(METHOD, *patterns, settings.column, *costs, SPLIT, SEEDS, CONFIGURATION),
        rows=tuple(rows),
        notes=(*_notes(configurations), *_about_peaks(ordered)),
    )
    return without_empty_columns(table)


def _costs_spent(items: Sequence[Configuration]) -> tuple[Column, ...]:
    """Return the kinds of cost that are not zero for every configuration, peaks of memory only beyond their noise."""
    shown = [column for column in COSTS if column.key != PEAK or _are_peaks_shown(items)]
    spent = {column.key: [item.estimate(column.key) for item in items] for column in shown}
    return tuple(column for column in shown if any(found and found.mean for found in spent[column.key]))


def _are_peaks_shown(items: Sequence[Configuration]) -> bool:
    """Return whether peaks of memory differ by more than noise, or the search has them as a limit or an objective."""
    limited = any(own.metric == PEAK for item in items for own in item.objective.constraints)
    return limited or any(item.objective.metric == PEAK for item in items) or peaks_differ(items)


def _about_peaks(items: Sequence[Configuration]) -> tuple[str, ...]:
    """Return the range of peaks of memory that have no column, because they differ by no more than their noise."""
    known = [peak for item in items for peak in item.by_run(PEAK).values()]
    if not known or _are_peaks_shown(items):
        return ()
    low, high = (number_text(end, style=Style.MEBIBYTES) for end in (min(known), max(known)))
    if low == high:
        return (f"Peak memory of the whole process is {low} MiB in every run.",)
    return (f"Peak memory of the whole process, {low} to {high} MiB, differs by no more than its noise.",)


def _row(item: Configuration, *, lead: Sequence[Cell], costs: Sequence[Column]) -> Row:
    cells = (
        *lead,
        *(_cost_cell(item, column.key) for column in costs),
        _split_cell(item),
        seeds_cell(item),
        Cell(item.key, run_ids=item.run_ids),
    )
    kind = "dense" if item.is_dense else "baseline" if item.is_baseline else "searched"
    return Row(cells, run_ids=item.run_ids, kind=kind, is_flawed=not item.is_complete)


def _cost_cell(item: Configuration, metric: str) -> Cell:
    """Return the mean of a cost; a count that is the same in every run needs no interval."""
    cell = metric_cell(item, metric=metric)
    if (cell.low is not None and cell.low == cell.high) or cell.n == 1:
        return Cell(cell.value, run_ids=cell.run_ids)
    return cell


def _split_cell(item: Configuration) -> Cell:
    found = step_shares(item)
    if found is None:
        return Cell(None)
    shares = {PARTS[metric]: f"{share:.0f}%" for metric, share in found.items()}
    run_ids = tuple(dict.fromkeys(run for metric in PARTS for run in item.runs_with(metric)))
    return Cell(
        ", ".join(f"{name} {share}" for name, share in shares.items()),
        run_ids=run_ids,
        shown=" · ".join(shares.values()),
    )


def _notes(configurations: Sequence[Configuration]) -> tuple[str, ...]:
    line = totals_line(configurations)
    if not line:
        return ()
    alone, spent = (total_of(configurations, metric=metric) for metric in (SECONDS, SPENT))
    if spent.known < alone.known or round(spent.value, 2) >= round(alone.value, 2):
        return (line,)
    shared = (
        "Every run is charged the full cost of its method, initial masks and gradients included. Runs shared some of "
        f"that work: only {number_text(spent.value, style=Style.SECONDS)} s were spent."
    )
    return (line, shared)
