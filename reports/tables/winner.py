"""The table "Is there a winner?": the best searched configuration of each group against every other one."""

from collections.abc import Hashable, Mapping, Sequence

from nmlab.reports.analysis.configurations import Configuration, looked_at, searched
from nmlab.reports.analysis.metrics import (
    difference_style,
    is_compared_by_ratio,
    is_counted,
    metric_column,
    neutral_metrics,
    plain_name,
)
from nmlab.reports.analysis.pairwise import Completion, Confirmed, OtherConfiguration, Winner, untested_reason
from nmlab.reports.read.evaluations import RunEvaluation
from nmlab.reports.read.objective import Objective
from nmlab.reports.tables.best_versus_rest import NOISE, interval_cell, noise_text
from nmlab.reports.tables.cells import CONFIGURATION, METHOD, PATTERN, Settings, has_several, metric_cell
from nmlab.reports.tables.confirmation import confirmed_value
from nmlab.reports.values import Cell, Column, Interval, ReportTable, Row, Style, without_empty_columns

KEY, TITLE = "winner", "Is there a winner?"
BEST = Column("best", "against", Style.CODE, help="the best configuration of the group, by its mean")
STANDING = Column("standing", "how far it got", help="whether all its seeds ran to the end")
P_VALUE = Column(
    "p_adjusted", "p (Holm)", Style.P_VALUE, help="two-sided p-value, adjusted after Holm over the whole search"
)
VERDICT = Column("verdict", "verdict", help="whether a test finds it worse than the best, at 5%")
CAPTION = (
    "The best searched configuration against every other one of the search. P-values are corrected after Holm over the "
    "whole search, because the best was chosen from it. A winner is named if every other configuration that ran to the "
    "end is found worse. Configurations stopped early are compared at the last step at which both were evaluated."
)
ON_VALIDATION = (
    " The means on validation text selected the best; means and tests are of the evaluation text. Both are of the same "
    "seeds, whose luck the correction allows for."
)


def winner_table(
    configurations: Sequence[Configuration],
    *,
    winners: Mapping[Hashable, Winner],
    evaluations: Mapping[str, RunEvaluation],
) -> ReportTable:
    """Return one row for each searched configuration that is compared with the best of its group.

    Args:
        configurations: all configurations, best first.
        winners: the best of each group against all others of the search.
        evaluations: losses by window by run id, which say why something could not be tested.
    """
    objective, tried = configurations[0].objective, searched(configurations)
    settings, several = Settings.of(tried), has_several(tried, attribute="pattern")
    is_ratio = is_compared_by_ratio(objective.reported)
    columns = (
        METHOD,
        PATTERN,
        settings.column,
        metric_column(objective.reported, objective=objective),
        *_selection_columns(objective),
        BEST,
        _difference_column(objective.reported, is_ratio),
        NOISE,
        P_VALUE,
        STANDING,
        VERDICT,
        CONFIGURATION,
    )
    rows = tuple(
        _row(other, winner, settings=settings, evaluations=evaluations, has_pattern=several)
        for winner in winners.values()
        for other in winner.against_all
    )
    notes = tuple(_note(winner, has_pattern=several) for winner in winners.values() if winner.against_all)
    caption = CAPTION + (ON_VALIDATION if objective.selects_on_validation else "")
    return without_empty_columns(ReportTable(KEY, TITLE, caption, columns, rows, notes=notes))


def standing_text(other: OtherConfiguration) -> str:
    """Return how far a configuration got: ``ran to the end``, ``stopped early at step 40``, ``2 of 3 runs``.

    On the way masks are measured on the validation text where the study has one.
    """
    if other.completion is Completion.LACKS_RUNS:
        return f"{len(other.item.finished)} of {other.item.runs_in_all} runs"
    step = other.partial.step if other.partial is not None else None
    if step is None:
        return str(other.completion)
    where = " on the validation text" if other.item.objective.selects_on_validation else ""
    return f"{other.completion}, compared at step {step:,}{where}"


def verdict_text(other: OtherConfiguration, *, evaluations: Mapping[str, RunEvaluation]) -> str:
    """Return ``worse``, ``not separable``, ``looks better`` or ``not tested`` with its reason.

    A configuration that ran to the end looks better only where another text selected the best.
    """
    if other.is_worse:
        return "worse"
    if other.is_better:
        return "looks better, but was not selected" if other.completion is Completion.COMPLETE else "looks better"
    if other.is_tested or is_counted(other.item.objective.reported):
        return "not separable"
    reason = untested_reason(other.comparison, evaluations=evaluations) if other.comparison is not None else ""
    return f"not tested: {reason or 'fewer than two values in common'}"


def _selection_columns(objective: Objective) -> tuple[Column, ...]:
    """Return the column of the searched metric where it is not the reported one."""
    return (metric_column(objective.metric, objective=objective),) if objective.selects_on_validation else ()


def _difference_column(metric: str, is_ratio: bool) -> Column:
    title = f"× the best's {plain_name(metric)}" if is_ratio else f"difference in {plain_name(metric)}"
    style = Style.RATIO if is_ratio else difference_style(metric)
    return Column("difference", title, style, interval=Interval.BRACKET, help="this one against the best; 95% interval")


def _row(
    other: OtherConfiguration,
    winner: Winner,
    *,
    settings: Settings,
    evaluations: Mapping[str, RunEvaluation],
    has_pattern: bool,
) -> Row:
    item, best = other.item, winner.best
    run_ids = (*item.run_ids, *best.run_ids)
    cells = (
        Cell(item.method),
        Cell(item.pattern if has_pattern else ""),
        settings.cell(item),
        metric_cell(item, metric=item.objective.reported),
        *(metric_cell(item, metric=column.key) for column in _selection_columns(item.objective)),
        Cell(best.key),
        interval_cell(other.stated, run_ids),
        Cell(noise_text(other.decisive)),
        Cell(other.p_adjusted if other.is_tested else None, run_ids=run_ids),
        Cell(standing_text(other)),
        Cell(verdict_text(other, evaluations=evaluations)),
        Cell(item.key, run_ids=item.run_ids),
    )
    return Row(cells, run_ids=run_ids, kind="searched", is_flawed=other.completion is not Completion.COMPLETE)


def _note(winner: Winner, *, has_pattern: bool) -> str:
    where = f"{winner.best.pattern}: " if has_pattern else ""
    if winner.is_claimed:
        count = len(winner.complete or winner.against_all)
        return f"{where}{winner.best.key} is the winner: better than all {count} others."
    return (
        f"{where}no winner: {len(winner.undecided)} of {len(winner.complete)} others that ran to the end are not "
        "found worse than the best."
    )


def winner_values(
    winners: Mapping[Hashable, Winner],
    *,
    evaluations: Mapping[str, RunEvaluation],
    configurations: Sequence[Configuration],
    confirmed: Mapping[Hashable, Confirmed],
) -> tuple[dict[str, object], ...]:
    """Return one mapping for each group of comparable masks: the best, whether it is a winner, and all others.

    Args:
        winners: the best of each group against all others of the search.
        evaluations: losses by window by run id, which say why something could not be tested.
        configurations: all of the launch; those of the search are counted group by group.
        confirmed: the best of each group on fresh seeds, where there are any.
    """
    among = looked_at(configurations)
    return tuple(
        {
            **_plain_value(winner, evaluations),
            "looked_at": among[winner.best.key],
            "fresh": confirmed_value(confirmed[group]) if group in confirmed else None,
        }
        for group, winner in winners.items()
    )


def _plain_value(winner: Winner, evaluations: Mapping[str, RunEvaluation]) -> dict[str, object]:
    runner_up = winner.runner_up
    return {
        "pattern": winner.best.pattern,
        "best": winner.best.key,
        "method": winner.best.method,
        "mean": _mean(winner.best),
        **_neutral_means(winner.best),
        "selected_by": winner.best.objective.metric,
        "selected_mean": None if winner.best.selection is None else winner.best.selection.mean,
        "is_claimed": winner.is_claimed,
        "runner_up": None if runner_up is None else runner_up.item.key,
        "undecided": [other.item.key for other in winner.undecided],
        "better_but_not_selected": [other.item.key for other in winner.better_but_not_selected],
        "better_but_incomplete": [other.item.key for other in winner.better_but_incomplete],
        "against_all": [_other(other, evaluations) for other in winner.against_all],
    }


def _neutral_means(best: Configuration) -> dict[str, object]:
    """Return the means on neutral texts by metric, as results are reported; nothing without such texts."""
    found = {metric: best.as_reported.estimate(metric) for metric in neutral_metrics([best])}
    means = {metric: value.mean for metric, value in found.items() if value is not None}
    return {"neutral": means} if means else {}


def _other(other: OtherConfiguration, evaluations: Mapping[str, RunEvaluation]) -> dict[str, object]:
    return {
        "configuration": other.item.key,
        "mean": _mean(other.item),
        "standing": standing_text(other),
        "p_adjusted": other.p_adjusted if other.is_tested else None,
        "verdict": verdict_text(other, evaluations=evaluations),
    }


def _mean(item: Configuration) -> float | None:
    return None if item.value is None else item.value.mean
