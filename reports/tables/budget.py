"""The tables of quality against cost: equal budgets, and the configurations on a front."""

from collections.abc import Sequence

from nmlab.reports.analysis.budgets import EqualBudget, FrontPoint, Reached
from nmlab.reports.analysis.configurations import Configuration, baselines, searched
from nmlab.reports.analysis.metrics import metric_column
from nmlab.reports.tables.cells import CONFIGURATION, METHOD, PATTERN, Settings, has_several, marked
from nmlab.reports.values import Cell, Column, ReportTable, Row, Style, counted, estimate_cell, number_text
from nmlab.reports.values import without_empty_columns as without_empty

BUDGET = Column("budget", "budget", help="what the cheapest trained method spent on one run")
WITHIN = Column("within", "evaluated at step", help="the last evaluation within the budget, of all steps of the run")
FRONTS = Column("fronts", "on the front of", help="costs at which nothing is both cheaper and better", is_prose=True)
BY_VALIDATION = (
    " Masks are measured on validation text on the way, so all numbers here are of that text, which also selected."
)
FRONT_OF_VALIDATION = " The means on validation text decide what is on a front; shown are those on the evaluation text."
UNITS = {"tokens": "tokens", "forwards": "forwards", "seconds": "s"}
COST_COLUMNS = {
    "cost/seconds": Column("cost/seconds", "seconds", Style.SECONDS, help="mean of cost/seconds"),
    "cost/tokens": Column("cost/tokens", "tokens", Style.INTEGER, help="mean of cost/tokens"),
    "memory/peak_bytes": Column("memory/peak_bytes", "peak MiB", Style.MEBIBYTES, help="mean of memory/peak_bytes"),
    "memory/state_bytes": Column("memory/state_bytes", "state MiB", Style.MEBIBYTES, help="memory/state_bytes"),
}


def equal_budget_table(configurations: Sequence[Configuration], *, budgets: Sequence[EqualBudget]) -> ReportTable:
    """Return what each method reached within the same budget: one block of rows for each budget, best first, marked."""
    objective = configurations[0].objective
    column = metric_column(objective.metric, objective=objective)
    settings = Settings.of(searched(configurations), baselines=baselines(configurations))
    several = has_several(configurations, attribute="pattern")
    rows: list[Row] = []
    for budget in budgets:
        means = [estimate_cell(entry.value, run_ids=entry.run_ids) for entry in budget.reached]
        cells = marked(means, marks=budget.marks)
        for entry, cell in zip(budget.reached, cells, strict=True):
            lead = (Cell(budget_text(budget)), Cell(entry.item.pattern if several else ""), Cell(entry.item.method))
            rest = (settings.cell(entry.item), cell, Cell(_within_text(entry)), Cell(entry.item.key))
            kind = "baseline" if entry.item.is_baseline else "searched"
            rows.append(Row((*lead, *rest), run_ids=entry.run_ids, kind=kind))
    table = ReportTable(
        key="equal_budget",
        title="At equal budget",
        caption="What each method reached with the cost of one run of the cheapest trained method: its best "
        "configuration at that point, by the last evaluation within the budget. The cost of the search itself (many "
        f"runs) is not in the budget.{BY_VALIDATION if objective.selects_on_validation else ''}",
        columns=(BUDGET, PATTERN, METHOD, settings.column, column, WITHIN, CONFIGURATION),
        rows=tuple(rows),
        notes=_notes(budgets),
    )
    return without_empty(table)


def pareto_table(configurations: Sequence[Configuration], *, points: Sequence[FrontPoint]) -> ReportTable:
    """Return the configurations on the front of quality against at least one cost."""
    objective = configurations[0].objective
    settings = Settings.of(searched(configurations), baselines=baselines(configurations))
    several = has_several(configurations, attribute="pattern")
    columns = tuple(COST_COLUMNS[cost] for cost in COST_COLUMNS if any(cost in point.costs for point in points))
    rows = []
    for point in (point for point in points if point.on_front):
        item = point.item
        value = estimate_cell(point.value, run_ids=item.run_ids)
        costs = [Cell(point.costs.get(column.key), run_ids=item.run_ids) for column in columns]
        fronts = ", ".join(COST_COLUMNS[cost].title.removesuffix(" MiB") for cost in point.on_front)
        lead = (Cell(item.pattern if several else ""), Cell(item.method), settings.cell(item), value)
        cells = (*lead, *costs, Cell(fronts), Cell(item.key, run_ids=item.run_ids))
        rows.append(Row(cells, run_ids=item.run_ids, kind="baseline" if item.is_baseline else "searched"))
    table = ReportTable(
        key="pareto",
        title="The front of quality against cost",
        caption="Configurations for which no other is both better and cheaper in one of the costs; all others are "
        "dominated. The fronts compare means, without a test. Peak memory of the CPU is that of the whole process."
        + (FRONT_OF_VALIDATION if objective.selects_on_validation else ""),
        columns=(
            PATTERN,
            METHOD,
            settings.column,
            metric_column(objective.reported, objective=objective),
            *columns,
            FRONTS,
            CONFIGURATION,
        ),
        rows=tuple(rows),
        notes=_infeasible_note(points),
    )
    return without_empty(table)


def _infeasible_note(points: Sequence[FrontPoint]) -> tuple[str, ...]:
    broken = sum(point.item.breaks_constraint for point in points)
    if not broken:
        return ()
    return (f"On no front, because a constraint of the search is broken: {counted(broken, noun='configuration')}.",)


def budget_text(budget: EqualBudget) -> str:
    """Return a budget with its unit: ``204,800 tokens``."""
    style = Style.SECONDS if budget.kind == "seconds" else Style.INTEGER
    return f"{number_text(budget.budget, style=style)} {UNITS[budget.kind]}"


def _within_text(entry: Reached) -> str:
    if entry.value is None:
        return "not evaluated within it"
    return f"{entry.step:,} of {entry.steps:,}" if entry.steps else "no steps"


def _notes(budgets: Sequence[EqualBudget]) -> tuple[str, ...]:
    late = [entry for budget in budgets for entry in budget.reached if 0 < entry.step < entry.steps]
    unknown = [entry for budget in budgets for entry in budget.reached if entry.value is None]
    notes = []
    if late:
        notes.append(
            "A run with more steps counts with its last evaluation within the budget; its schedule was for all steps."
        )
    if unknown:
        notes.append("Set intervals.evaluate_every to evaluate runs during training.")
    return tuple(notes)
