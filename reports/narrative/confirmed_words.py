"""The sentences on the best configuration on fresh seeds: the verdict, who is ahead, and how far the search was off."""

from collections.abc import Mapping, Sequence

from nmlab.reports.analysis.configurations import Configuration, searched
from nmlab.reports.analysis.metrics import is_counted, plain_name, style_of
from nmlab.reports.analysis.pairwise import (
    Confirmed,
    FreshVerdict,
    PairwiseComparison,
    optimism_of,
    reasons_text,
    untested_reason,
)
from nmlab.reports.analysis.statements import change_text, mean_text, named, p_value_text
from nmlab.reports.narrative.winner_words import listed, short_name
from nmlab.reports.read.evaluations import RunEvaluation
from nmlab.reports.values import Style, bracket_text, counted, number_text


def confirmed_sentences(
    confirmed: Confirmed, *, members: Sequence[Configuration], evaluations: Mapping[str, RunEvaluation]
) -> str:
    """Return the sentences on the best of a group on fresh seeds.

    Args:
        confirmed: the best of the search against the other finalists.
        members: the configurations of the group.
        evaluations: losses by window by run id, which say why something could not be tested.
    """
    best, tried = confirmed.best, searched(members)
    reached = f"{plain_name(best.objective.reported)} {mean_text(best.as_reported)} on fresh seeds"
    among = f"Best of {counted(len(tried), noun='configuration')} by the search"
    text = f"{among}: {named(best, among=tried)} reaches {reached}"
    found = [f"{text}{_missing(best)}{_verdict(confirmed, tried, evaluations)}."]
    found += [_about(other, tried) for other in confirmed.better]
    found += [_ahead(other, tried) for other in confirmed.ahead if not other.is_better]
    if confirmed.lost:
        lost = listed(confirmed.lost, name=lambda item: short_name(item, tried))
        found.append(f"No run on fresh seeds finished of {lost}.")
    return " ".join([*found, _optimism(best)])


def _missing(best: Configuration) -> str:
    again = best.as_reported
    return "" if again.is_complete else f" ({len(again.finished)} of {again.runs_in_all} fresh runs finished)"


def _verdict(confirmed: Confirmed, tried: Sequence[Configuration], evaluations: Mapping[str, RunEvaluation]) -> str:
    others = len(confirmed.others)
    if not others:
        return "; no other configuration finished on fresh seeds"
    every = {1: "the other finalist", 2: "both other finalists"}.get(others, f"all {others} other finalists")
    if is_counted(confirmed.best.objective.reported):
        return "; counted, and the same on any seeds"
    if confirmed.verdict is FreshVerdict.UNTESTED:
        reasons = (untested_reason(item, evaluations=evaluations) for item in confirmed.others)
        return f"; no test was possible against {every}: {reasons_text(reasons)}"
    if confirmed.verdict is FreshVerdict.BETTER:
        return f"; tests at 5%, corrected after Holm, find it better than {every}"
    if confirmed.verdict is FreshVerdict.NO_DIFFERENCE:
        return f"; {FreshVerdict.NO_DIFFERENCE} from {every}{_detectable(confirmed.undecided)}"
    shown = listed(confirmed.undecided, name=lambda other: short_name(other.side.item, tried))
    if confirmed.undecided:
        return (
            f"; not separable from {len(confirmed.undecided)} of the {counted(others, noun='other finalist')}: {shown}"
        )
    return "; tests at 5%, corrected after Holm, separate it from every other finalist"


def _detectable(undecided: Sequence[PairwiseComparison]) -> str:
    """Return the largest of the smallest differences that the tests detect."""
    found = [item.detectable for item in undecided if item.detectable is not None]
    if not found:
        return ""
    style = Style.RATIO if undecided[0].is_ratio else style_of(undecided[0].metric)
    sign = "× " if undecided[0].is_ratio else ""
    return f" (detectable in 80% of such studies: {sign}{number_text(max(found), style=style)})"


def _about(other: PairwiseComparison, tried: Sequence[Configuration]) -> str:
    """Return a sentence on another finalist that the tests find better, which does not make it the winner."""
    assert other.p_adjusted is not None
    item = other.side.item
    return (
        f"On fresh seeds {short_name(item, tried)} is better: {mean_text(item)}, {p_value_text(other.p_adjusted)}. The "
        "search did not select it, and to select it now would be a choice by these seeds."
    )


def _ahead(other: PairwiseComparison, tried: Sequence[Configuration]) -> str:
    item = other.side.item
    return f"On fresh seeds {short_name(item, tried)} has the better mean, {mean_text(item)}, which no test separates."


def _optimism(best: Configuration) -> str:
    """Return how far the mean of the search is from that over fresh seeds."""
    found = optimism_of(best)
    assert found is not None
    change = change_text(found.mean, objective=best.objective, of="that on fresh seeds")
    text = f"Its mean in the search, {mean_text(best)}, is {change}"
    if found.low is None or found.high is None:
        return f"{text} (one fresh seed, so no interval)."
    shown = bracket_text(found.mean, low=found.low, high=found.high, style=style_of(best.objective.reported))
    return f"{text}. The difference is {shown}, with its 95% interval."
