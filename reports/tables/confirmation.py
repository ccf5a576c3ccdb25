"""The table "The search against fresh seeds": what the search found of the finalists, and what new seeds find."""

from collections.abc import Hashable, Mapping, Sequence

from nmlab.reports.analysis.configurations import Configuration, baselines, comparable_group, searched
from nmlab.reports.analysis.finalists import shared_text
from nmlab.reports.analysis.metrics import difference_style, is_compared_by_ratio, metric_column, plain_name
from nmlab.reports.analysis.pairwise import Confirmed, PairwiseComparison, optimism_of
from nmlab.reports.read.evaluations import RunEvaluation
from nmlab.reports.read.objective import Objective
from nmlab.reports.tables.best_versus_rest import NOISE, interval_cell, noise_text, verdict_text
from nmlab.reports.tables.cells import (
    CONFIGURATION,
    METHOD,
    PATTERN,
    Settings,
    fresh_cell,
    fresh_column,
    has_several,
    metric_cell,
    seeds_cell,
)
from nmlab.reports.values import Cell, Column, Interval, ReportTable, Row, Style, estimate_cell, without_empty_columns

KEY, TITLE = "confirmation", "The search against fresh seeds"
SEEDS = Column("seeds", "fresh seeds", help="finished runs on fresh seeds, of all of them")
P_VALUE = Column("p_adjusted", "p (Holm)", Style.P_VALUE, help="two-sided p-value, after Holm over the other finalists")
VERDICT = Column("verdict", "against the selected one", help="by paired tests over fresh seeds, at 5%")
CAPTION = (
    "The best configurations of the search on seeds that took no part in it, in the order of the search. Search minus "
    "fresh is how far the search was off: of the best of many, mostly optimistic. Its interval is that of the mean "
    "over fresh seeds; the mean of the search counts as the number that it is, because seeds of a selected "
    "configuration are no random sample."
)
OF_TEXT_ALONE = "The search selected on the text that is reported: fresh seeds do not show what suits this text alone."


def confirmation_table(
    configurations: Sequence[Configuration],
    *,
    confirmed: Mapping[Hashable, Confirmed],
    evaluations: Mapping[str, RunEvaluation],
) -> ReportTable:
    """Return one row for each configuration that ran on fresh seeds: those of the search, then the baselines.

    Args:
        configurations: all of a launch, best first.
        confirmed: the best of each group on fresh seeds.
        evaluations: losses by window by run id, which say why something could not be tested.
    """
    objective, tried = configurations[0].objective, searched(configurations)
    again = [item for item in (*tried, *baselines(configurations)) if item.confirmation is not None]
    settings, several = Settings.of(tried, baselines=baselines(configurations)), has_several(again, attribute="pattern")
    compared = {own.side.item.key: own for found in confirmed.values() for own in found.others}
    leaders = {found.best.key for found in confirmed.values()}
    rows = []
    for item in again:
        lead = (Cell(item.method), Cell(item.pattern if several else ""), settings.cell(item))
        verdict = "selected" if item.key in leaders else _verdict(compared.get(item.key), evaluations)
        rows.append(_row(item, lead=lead, comparison=compared.get(item.key), verdict=verdict))
    table = ReportTable(
        KEY,
        TITLE,
        CAPTION,
        (METHOD, PATTERN, settings.column, *_columns(objective)),
        tuple(rows),
        notes=_notes(again, shared=shared_text(configurations)),
    )
    return without_empty_columns(table)


def confirmed_value(found: Confirmed) -> dict[str, object]:
    """Return what fresh seeds say about the best of a group as plain values."""
    by_key = {own.side.item.key: own for own in found.others}
    return {
        "verdict": str(found.verdict),
        "better": [own.side.item.key for own in found.better],
        "finalists": [_finalist(item, by_key.get(item.key)) for item in found.finalists],
    }


def _finalist(item: Configuration, comparison: PairwiseComparison | None) -> dict[str, object]:
    own, fresh, optimism = (
        item.value,
        item.as_reported.value if item.is_confirmed else None,
        optimism_of(item),
    )
    return {
        "configuration": item.key,
        "search_mean": None if own is None else own.mean,
        "fresh_mean": None if fresh is None else fresh.mean,
        "fresh_seeds": 0 if fresh is None else fresh.n,
        "search_minus_fresh": None if optimism is None else [optimism.mean, optimism.low, optimism.high],
        "p_adjusted": None if comparison is None else comparison.p_adjusted,
    }


def _columns(objective: Objective) -> tuple[Column, ...]:
    metric = objective.reported
    name, is_ratio = plain_name(metric), is_compared_by_ratio(metric)
    search = metric_column(metric, objective=objective, title=f"{name} in the search")
    return (
        search,
        fresh_column(objective),
        Column(
            "optimism",
            "search minus fresh",
            difference_style(metric),
            interval=Interval.BRACKET,
            help="mean of the search minus mean over fresh seeds, with the 95% t-interval of the latter",
        ),
        SEEDS,
        Column(
            "difference",
            f"× the selected one's {name}" if is_ratio else f"difference in {name}",
            Style.RATIO if is_ratio else difference_style(metric),
            interval=Interval.BRACKET,
            help="this one against the selected one on fresh seeds; 95% interval",
        ),
        NOISE,
        P_VALUE,
        VERDICT,
        CONFIGURATION,
    )


def _row(item: Configuration, *, lead: Sequence[Cell], comparison: PairwiseComparison | None, verdict: str) -> Row:
    assert item.confirmation is not None
    run_ids = (*item.run_ids, *item.confirmation.run_ids)
    stated = None if comparison is None else comparison.as_stated(comparison.decisive)
    cells = (
        *lead,
        metric_cell(item, metric=item.objective.reported),
        fresh_cell(item),
        estimate_cell(optimism_of(item), run_ids=run_ids),
        seeds_cell(item.confirmation),
        interval_cell(stated, run_ids),
        Cell(None if comparison is None else noise_text(comparison.decisive)),
        Cell(None if comparison is None else comparison.p_adjusted, run_ids=run_ids),
        Cell(verdict),
        Cell(item.key, run_ids=run_ids),
    )
    kind = "baseline" if item.is_baseline else "searched"
    return Row(cells, run_ids=run_ids, kind=kind, is_flawed=not item.confirmation.is_complete)


def _verdict(comparison: PairwiseComparison | None, evaluations: Mapping[str, RunEvaluation]) -> str:
    return "not compared" if comparison is None else verdict_text(comparison, evaluations=evaluations)


def _notes(again: Sequence[Configuration], *, shared: str) -> tuple[str, ...]:
    groups = {comparable_group(item) for item in again}
    notes = ["The intervals are 95% each, not corrected for their number."]
    if any(item.is_baseline for item in again):
        notes.append("Baselines were not selected: their difference shows how far means of few seeds move by chance.")
    if len(groups) > 1:
        notes.append("Masks of different patterns, models or texts are not compared with each other.")
    if shared:
        notes.append(f"{shared[0].upper()}{shared[1:]}: fresh seeds compare no other value.")
    if again and not again[0].objective.selects_on_validation:
        notes.append(OF_TEXT_ALONE)
    return tuple(notes)
