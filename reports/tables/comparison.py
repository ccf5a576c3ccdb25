"""The tables of a comparison report, built from the configurations of one launch."""

from nmlab.reports.analysis.analysis import Analysis
from nmlab.reports.analysis.marks import MarkEvidence
from nmlab.reports.tables.best_versus_rest import best_versus_rest_table
from nmlab.reports.tables.budget import equal_budget_table, pareto_table
from nmlab.reports.tables.claims import claims_table
from nmlab.reports.tables.confirmation import confirmation_table
from nmlab.reports.tables.cost import cost_table
from nmlab.reports.tables.effects import effects_table
from nmlab.reports.tables.learned import learned_table
from nmlab.reports.tables.memory import memory_table
from nmlab.reports.tables.published import published_table
from nmlab.reports.tables.runs import initial_masks_table, runs_table
from nmlab.reports.tables.settings import configurations_table
from nmlab.reports.tables.summary import summary_table
from nmlab.reports.tables.tasks import tasks_table
from nmlab.reports.tables.winner import winner_table
from nmlab.reports.values import ReportTable

__all__ = [
    "best_versus_rest_table",
    "comparison_tables",
    "configurations_table",
    "confirmation_table",
    "cost_table",
    "effects_table",
    "initial_masks_table",
    "learned_table",
    "memory_table",
    "runs_table",
    "summary_table",
    "tasks_table",
    "winner_table",
]


def comparison_tables(analysis: Analysis) -> tuple[ReportTable, ...]:
    """Return every table of the report that has a row, in the order of the page."""
    configurations, names = analysis.configurations, analysis.names
    evidence = MarkEvidence(analysis.evaluations, tuple(analysis.winners.values()))
    built = (
        summary_table(
            configurations,
            comparisons=analysis.comparisons,
            winners=evidence.winners,
            confirmed=analysis.confirmed,
        ),
        confirmation_table(configurations, confirmed=analysis.confirmed, evaluations=analysis.evaluations),
        winner_table(configurations, winners=analysis.winners, evaluations=analysis.evaluations),
        effects_table(analysis.effects),
        claims_table(analysis.judgements, notes=_not_run(analysis)),
        best_versus_rest_table(
            configurations, names=names, comparisons=analysis.decisive_comparisons, evaluations=analysis.evaluations
        ),
        tasks_table(configurations, names=names, comparisons=analysis.comparisons, evaluations=analysis.evaluations),
        *_published_tables(analysis),
        learned_table(configurations, evidence=evidence),
        configurations_table(configurations, evidence=evidence),
        equal_budget_table(configurations, budgets=analysis.budgets),
        pareto_table(configurations, points=analysis.front),
        cost_table(configurations),
        memory_table(configurations),
        initial_masks_table(analysis.runs),
        runs_table(analysis.runs, configurations=configurations),
    )
    return tuple(table for table in built if table.rows)


def _published_tables(analysis: Analysis) -> tuple[ReportTable, ...]:
    """Return the published tables that the study reproduces and of which it ran at least one row, with our numbers."""
    run = {name: pairs for name, pairs in analysis.pairs.items() if any(pair.has_counterpart for pair in pairs)}
    return tuple(published_table(pairs, reproduces=name) for name, pairs in run.items())


def _not_run(analysis: Analysis) -> tuple[str, ...]:
    """Return the published tables of which no row has a number of ours, and why."""
    names = [name for name, pairs in analysis.pairs.items() if not any(pair.has_counterpart for pair in pairs)]
    return (
        (f"No printed row of {', '.join(names)} has a counterpart here: the settings or measures differ.",)
        if names
        else ()
    )
